-- A chain of crashes begins with a crash and ends with `recovered`, `gave_up` or `stop`. Each chain has one folder
-- LOG_DIR/crashreport/SERVICE-TIME-SEQ with one report.json, written anew with each event of the chain.
local s3 = require "section3"
local config = s3.config

local FOLDER = "crashreport"
-- Events and exits in a report: the first ones tell the cause, the last ones the state.
local MOST = 50

-- What passwords look like. The name stays, the value goes.
local SECRETS = {
  { "(?i)(authorization:\\s*(?:bearer|basic|token)\\s+)[^\\s\"']+", "${1}[redacted]" },
  { "(?i)(bearer\\s+)[a-z0-9._~+/=-]{8,}", "${1}[redacted]" },
  { "(?i)((?:[a-z0-9_-]*(?:password|passwd|passphrase|secret|token|api[_-]?key|access[_-]?key|private[_-]?key|credential)s?[a-z0-9_-]*)[\"']?\\s*[:=]\\s*[\"']?)[^\\s\"',;&]+", "${1}[redacted]" },
  { "([a-zA-Z][a-zA-Z0-9+.-]*://[^\\s/:@]*:)[^\\s/@]+@", "${1}[redacted]@" },
  { "\\b(?:AKIA|ASIA)[A-Z0-9]{16}\\b", "[redacted]" },
  { "\\b(?:ghp|gho|ghs|github_pat|glpat|xox[abps]|sk|rk|whsec)[_-][A-Za-z0-9_-]{10,}", "[redacted]" },
  { "\\beyJ[A-Za-z0-9_-]+\\.[A-Za-z0-9_-]+\\.[A-Za-z0-9_-]*", "[redacted]" },
}

local function redacted(text)
  for _, rule in ipairs(SECRETS) do text = s3.re.gsub(text, rule[1], rule[2]) end
  for _, pattern in ipairs(config.redact) do text = s3.re.gsub(text, pattern, "[redacted]") end
  return text
end

-- Names of keys stay: what stands behind them is looked at as text.
local function clean(value)
  if type(value) == "string" then return redacted(value) end
  if type(value) ~= "table" then return value end
  local all = {}
  for key, inner in pairs(value) do all[key] = clean(inner) end
  return all
end

local function add(list, item)
  if #list >= MOST then table.remove(list, MOST // 2) end
  list[#list + 1] = item
end

local function folder_of(path) return path:match "^(.*)/[^/]*$" end

-- What belongs to a chain: the service, its dependencies, its log, now.
local function surroundings(report)
  local service, err = s3.services.get(report.service)
  if not service then
    report.missing = err.message
    return nil
  end
  report.service_state = service.state
  report.environment = s3.json.array(service.env or {})
  report.dependencies = s3.json.array {}
  for _, name in ipairs(service.depends_on or {}) do
    local other = s3.services.get(name)
    report.dependencies[#report.dependencies + 1] =
      { name = name, state = other and other.state or "unknown", ready = other and other.ready, health = other and other.health }
  end
  if config.lines > 0 then
    local lines = s3.services.logs(report.service, { lines = config.lines }) or {}
    local tail = s3.json.array {}
    for _, line in ipairs(lines) do tail[#tail + 1] = redacted(line) end
    report.log_tail = tail
  end
  return service
end

-- Removes the oldest reports beyond `keep`.
local function sweep(shelf)
  local folders = s3.fs.list(shelf) or {}
  for index = config.keep + 1, #folders do
    s3.fs.remove(folders[index].path .. "/report.json")
    s3.fs.remove(folders[index].path)
  end
end

local function write(report, path)
  report.written_at = s3.time.format()
  return s3.fs.write(path .. "/report.json", s3.json.encode(report) .. "\n")
end

local function begun(event)
  return {
    version = 1, service = event.service, host = event.host, section3 = s3.version, opened_at = event.time, outcome = "open", crashes = 0,
    first_event = event.id, exits = s3.json.array {}, events = s3.json.array {},
  }
end

local END = { recovered = true, gave_up = true, stop = true }

s3.on({ "start", "exit", "crash", "backoff", "recovered", "gave_up", "stop", "health", "hold", "stuck" },
  { name = "chain", service = config.service }, function(event)
  if not event.service then return end
  local key = "chain:" .. event.service
  local chain = s3.kv.get(key)
  -- An exit comes right before its crash; whether it is one is known only then.
  if not chain and event.type == "exit" then
    s3.kv.set("exit:" .. event.service, { id = event.id, type = event.type, time = event.time, run = event.run, data = clean(event.data) },
      { ttl = "1m" })
    return
  end
  if not chain and event.type ~= "crash" then return end
  local report, path
  if chain then
    path = chain.path
    report = s3.json.decode(s3.fs.read(path .. "/report.json") or "")
  end
  if not report then
    local service, err = s3.services.get(event.service)
    if not (service and service.log) then return false, err or "its log is not known" end
    local shelf = folder_of(service.log.path) .. "/" .. FOLDER
    path = ("%s/%s-%s-%d"):format(shelf, event.service, event.time:gsub("[:%-]", ""):gsub("%.%d+Z$", "Z"), event.seq)
    assert(s3.fs.mkdir(path))
    report = begun(event)
    local exit = s3.kv.get("exit:" .. event.service)
    if exit and exit.run == event.run then
      add(report.exits, { run = exit.run, at = exit.time, exit = exit.data })
      add(report.events, exit)
    end
    s3.kv.delete("exit:" .. event.service)
    s3.kv.set(key, { path = path })
    sweep(shelf)
  end
  local data = clean(event.data)
  add(report.events, { id = event.id, type = event.type, time = event.time, run = event.run, cause = event.cause, data = data })
  if event.type == "exit" then add(report.exits, { run = event.run, at = event.time, exit = data }) end
  if event.type == "crash" then
    report.crashes = report.crashes + (event.count or 1)
    -- A launch that failed has no exit.
    if data.stage then add(report.exits, { run = event.run, at = event.time, launch = { stage = data.stage, message = data.message } }) end
  end
  if END[event.type] then
    report.outcome, report.closed_at = event.type, event.time
    s3.kv.delete(key)
  end
  surroundings(report)
  local done, err = write(report, path)
  if not done then return false, err end
end)

s3.command("list", { summary = "the chains that are open now" }, function()
  local list = s3.json.array {}
  for _, key in ipairs(s3.kv.keys "chain:") do
    list[#list + 1] = { service = key:sub(7), path = s3.kv.get(key).path }
  end
  return list
end)
