-- A dead-man's switch: somebody else raises the alarm when nothing is heard from here any more.
local s3 = require "section3"
local config = s3.config

local function matters(name)
  for _, glob in ipairs(config.services) do
    -- A glob as a Lua pattern: everything but `*` and `?` stands for itself.
    local pattern = "^" .. glob:gsub("[%-%.]", "%%%0"):gsub("%*", ".*"):gsub("%?", ".") .. "$"
    if name:find(pattern) then return true end
  end
  return false
end

-- What is not well, as `name: state`. A service that was stopped on purpose or has done its work is well.
local function trouble()
  local list, err = s3.services.list()
  if not list then return { "the supervisor does not answer: " .. err.message } end
  local bad = {}
  for _, service in ipairs(list) do
    if matters(service.name) then
      if service.state == "failed" or service.state == "backoff" then
        bad[#bad + 1] = service.name .. ": " .. service.state
      elseif service.health == "unhealthy" then
        bad[#bad + 1] = service.name .. ": unhealthy"
      end
    end
  end
  return bad
end

local function tell(url, text)
  return s3.http.request {
    method = "POST", url = url, body = text, headers = { ["Content-Type"] = "text/plain; charset=utf-8" },
    timeout = config.timeout, retry = { attempts = config.attempts, base = "500ms", cap = "5s" },
  }
end

local function fail_url()
  if config.fail_url then return config.fail_url end
  return (config.url:gsub("/+$", "")) .. "/fail"
end

local function beat()
  local bad = trouble()
  if #bad == 0 then
    local answer, err = tell(config.url, "all is well on " .. s3.host)
    return answer, err, "success"
  end
  if config.on_problem == "silence" then return nil, nil, "silence", bad end
  local answer, err = tell(fail_url(), s3.host .. "\n" .. table.concat(bad, "\n"))
  return answer, err, "failure", bad
end

local function reason(answer, err)
  if not answer then return err and err.message end
  if not answer.ok then return "the switch answered " .. answer.status end
end

s3.every(config.interval, { name = "beat", immediate = true, timeout = "10m" }, function()
  local answer, err, kind = beat()
  local why = kind ~= "silence" and reason(answer, err)
  if why then return false, why end
end)

s3.command("beat", { summary = "beats now and says what it told" }, function()
  local answer, err, kind, bad = beat()
  local why = kind ~= "silence" and reason(answer, err)
  if why then return nil, why end
  return { told = kind, trouble = s3.json.array(bad or {}) }
end)
