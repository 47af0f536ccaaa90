-- Looks at what the process tree of each service uses. Over a limit for long enough: an event custom.resource, and what the
-- settings say besides. Back under it: another event.
local s3 = require "section3"
local config = s3.config

-- The setting, what of `usage` it limits, and how it is written.
local LIMITS = {
  { "memory", "rss_bytes", function(value) return s3.text.human_bytes(value) end },
  { "cpu", "cpu_percent", function(value) return ("%.0f%%"):format(value) end },
  { "fds", "fds", function(value) return ("%d"):format(value) end },
  { "processes", "processes", function(value) return ("%d"):format(value) end },
}

-- Per service: its run, the CPU time at the last look; per limit since when it is over and whether that was told.
local seen = {}

local function matches(name)
  for _, glob in ipairs(config.services) do
    local pattern = "^" .. glob:gsub("[%-%.]", "%%%0"):gsub("%*", ".*"):gsub("%?", ".") .. "$"
    if name:find(pattern) then return true end
  end
  return false
end

-- What a service uses now; its CPU as a share of one, since the last look.
local function measured(service, now)
  local found = s3.services.get(service.name)
  local usage = found and found.usage
  if not usage then return nil end
  local last = seen[service.name]
  if not last or last.run ~= found.run then
    last = { run = found.run, over = {}, acted_at = last and last.acted_at }
    seen[service.name] = last
  elseif last.at and now > last.at then
    -- Processes that ended took their time with them.
    usage.cpu_percent = math.max(0, usage.cpu_ms - last.cpu_ms) / (now - last.at) / 10
  end
  last.at, last.cpu_ms = now, usage.cpu_ms
  return usage, last
end

local function rests(memory, now) return memory.acted_at and now - memory.acted_at < config.cooldown end

local function act(service, memory, metric, text, now)
  if config.action == "event" then return "event" end
  if rests(memory, now) then return "cooldown" end
  memory.acted_at = now
  local done, err
  if config.action == "restart" then
    s3.log.warn(("restarting %s: %s %s"):format(service.name, metric, text))
    done, err = s3.services.restart(service.name)
  else
    s3.log.warn(("sending %s to %s: %s %s"):format(config.signal, service.name, metric, text))
    done, err = s3.services.signal(service.name, config.signal)
  end
  if done then return config.action end
  s3.log.error(("cannot %s %s: %s"):format(config.action, service.name, err.message))
  return "failed"
end

local function judge(service, usage, memory, now)
  for _, limit in ipairs(LIMITS) do
    local name, field, show = limit[1], limit[2], limit[3]
    local value, most = usage[field], config[name]
    if most and value then
      local over = memory.over[name]
      if value <= most then
        memory.over[name] = nil
        if over and over.action then
          s3.emit("resource", { service = service.name, metric = name, state = "ok", value = value, limit = most })
        end
      else
        over = over or { since = now }
        memory.over[name] = over
        -- Told once; what could not be done then, or did not help, is tried again after the cooldown.
        local is_due = not over.action or (config.action ~= "event" and not rests(memory, now))
        if now - over.since >= config["for"] and is_due then
          local text = ("%s, allowed are %s"):format(show(value), show(most))
          over.action = act(service, memory, name, text, now)
          s3.emit("resource", {
            service = service.name, metric = name, state = "over", value = value, limit = most, action = over.action, text = text,
            for_ms = (now - over.since) * 1000 // 1,
          })
        end
      end
    end
  end
end

local function look()
  local services, err = s3.services.list()
  if not services then return nil, err.message end
  local there = {}
  for _, service in ipairs(services) do
    if service.pid and matches(service.name) then
      there[service.name] = true
      local now = s3.mono()
      local usage, memory = measured(service, now)
      if usage then judge(service, usage, memory, now) end
    end
  end
  for name in pairs(seen) do
    if not there[name] then seen[name].at, seen[name].over = nil, {} end
  end
  return true
end

s3.every(config.interval, { name = "look", timeout = "5m" }, function()
  local done, reason = look()
  if not done then return false, reason end
end)

s3.command("usage", { summary = "what each service uses now" }, function()
  local all = s3.json.array {}
  for _, service in ipairs(assert(s3.services.list())) do
    local found = service.pid and s3.services.get(service.name)
    if found and found.usage then
      all[#all + 1] = { name = service.name, usage = found.usage }
    end
  end
  return all
end)
