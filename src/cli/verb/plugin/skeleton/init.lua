local s3 = require "section3"
local config = s3.config

-- Whether one of the last lines of a service's log matches.
local function said(service, pattern)
  local lines, err = s3.services.logs(service, { lines = 50 })
  if not lines then return nil, err.message end
  for _, line in ipairs(lines) do
    if s3.re.match(line, pattern) then return line end
  end
  return false
end

-- health: {plugin: NAME.alive}
s3.check("alive", function(about)
  local line, err = said(about.service, config.fatal)
  if line == nil then return false, err end
  if line then return false, "it said: " .. line end
  return true
end)

-- ready: {plugin: NAME.warm}
s3.probe("warm", function(about)
  if said(about.service, config.warm) then return true end
  return false, "no line matches " .. config.warm
end)

-- section3 x NAME look SERVICE
s3.command("look", { summary = "the state of a service", args = { "service" } }, function(args)
  local service, err = s3.services.get(args.service)
  if not service then return nil, err.message end
  return { name = service.name, state = service.state }
end)

-- decisions: [NAME]
s3.decide("restart", function(case)
  if case.exit and case.exit.code == config.bad_config then
    return { action = "hold", ["for"] = "1h", reason = "its configuration is wrong" }
  end
  -- Nothing returned is no opinion: the service's own policy holds.
end)
