-- A dead-man's switch: somebody else raises the alarm when nothing is heard from here any more.
local s3 = require "section3"
local config = s3.config

-- `/fail` goes behind the path, not behind a query.
local function fail_url()
  if config.fail_url then return config.fail_url end
  local path, query = config.url:match "^([^?]*)(.*)$"
  return path:gsub("/+$", "") .. "/fail" .. query
end

-- What is not well, as `name: what`. A service that was stopped on purpose, has done its work or is starting is well.
local function trouble()
  local bad, seen = {}, {}
  for _, glob in ipairs(config.services) do
    local list, err = s3.services.list(glob)
    if not list then return { "the supervisor does not answer: " .. err.message } end
    -- A name that nobody has is a misspelled one, and nothing would watch what was meant.
    if #list == 0 and glob ~= "*" then bad[#bad + 1] = ("no service is called `%s`"):format(glob) end
    for _, service in ipairs(list) do
      local what
      if service.state == "failed" or service.state == "backoff" then
        what = service.state
      elseif service.hold then
        what = "held by " .. service.hold.by
      elseif service.health == "unhealthy" then
        what = "unhealthy"
      end
      if what and not seen[service.name] then bad[#bad + 1] = service.name .. ": " .. what end
      seen[service.name] = true
    end
  end
  return bad
end

local function tell(url, text)
  local answer, err = s3.http.request {
    method = config.method, url = url, body = config.method == "POST" and text or nil,
    headers = config.method == "POST" and { ["Content-Type"] = "text/plain; charset=utf-8" } or nil,
    timeout = config.timeout, retry = { attempts = config.attempts, base = "500ms", cap = "5s" },
  }
  if not answer then return err.message end
  if not answer.ok then return "the switch answered " .. answer.status end
end

-- Tells how it is now. Returns what it told, what is wrong, and why it could not.
local function beat()
  local bad = trouble()
  if #bad == 0 then return "success", bad, tell(config.url, "all is well on " .. s3.host) end
  if config.on_problem == "skip" then return "nothing", bad end
  return "failure", bad, tell(fail_url(), s3.host .. "\n" .. table.concat(bad, "\n"))
end

-- One beat at a time: an older success must not arrive behind a newer failure. Whoever comes meanwhile has it told once more.
local is_busy, is_wanted = false, false

local function beat_in_turn()
  is_wanted = true
  if is_busy then return end
  is_busy = true
  -- Also where a limit ends the run in the middle: no beat would ever be the next one.
  local _ <close> = setmetatable({}, { __close = function() is_busy = false end })
  local told, bad, why
  while is_wanted do
    is_wanted = false
    told, bad, why = beat()
  end
  return told, bad, why
end

s3.every(config.interval, { name = "beat", immediate = true, timeout = "10m" }, function()
  local _, _, why = beat_in_turn()
  if why then error(why, 0) end
end)

-- What will not come back by itself is told before the next beat; many at once are told once.
s3.on("gave_up", { name = "gave-up", batch = { wait = "200ms", max_wait = "1s", max = 1000 }, timeout = "10m" }, function()
  local _, _, why = beat_in_turn()
  if why then return false, why end
end)

s3.command("beat", { summary = "beats now and says what it told" }, function()
  while is_busy do s3.sleep "20ms" end
  local told, bad, why = beat_in_turn()
  if why then return nil, why end
  return { told = told, trouble = s3.json.array(bad) }
end)
