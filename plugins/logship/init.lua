-- Uploads each rotated log once. A rotated log changes its name with every rotation (web.log.1, web.log.2, ...), so it is
-- pinned first by a hard link, whose file is always the same one, and from then on called by what never changes: when it was
-- last written and its inode. The same file has the same name at every attempt, so a receiver sees it once however often the
-- upload is repeated.
local s3 = require "section3"
local config = s3.config

-- Beside the logs: a hard link cannot leave its file system. No service can be called like that: its log ends in `.log`.
local SHELF = "logship"
-- How long it is remembered what was shipped; a log that lies around for longer is shipped again under the same name.
local REMEMBERED = "90d"

local busy, again = false, false

local function matches(name)
  for _, glob in ipairs(config.services) do
    local pattern = "^" .. glob:gsub("[%-%.]", "%%%0"):gsub("%*", ".*"):gsub("%?", ".") .. "$"
    if name:find(pattern) then return true end
  end
  return false
end

local function run(words)
  local result, err = s3.exec { cmd = words, timeout = config.timeout }
  if not result then return nil, err.message end
  if result.code ~= 0 then return nil, words[1] .. ": " .. s3.text.truncate(result.stderr, 300) end
  return true
end

local function exists(path) return s3.fs.stat(path) ~= nil end

-- Pins one rotated log, if it was not shipped yet; what it is called is known only then.
local function pin(service, path, shelf)
  local pinned = ("%s/%s.new"):format(shelf, service)
  s3.fs.remove(pinned)
  local done, why = run { "ln", "-T", path, pinned }
  if not done then
    -- Gone meanwhile: it has the next number now, and is found there.
    if exists(path) then s3.log.warn("cannot pin " .. path .. ": " .. why) end
    return
  end
  local file = assert(s3.fs.stat(pinned))
  local name = ("%s-%s-%d"):format(service, s3.time.format(file.mtime, "%Y%m%dT%H%M%S.%L"), file.inode)
  local target = ("%s/%s.log"):format(shelf, name)
  if s3.kv.get("shipped:" .. name) or exists(target) or exists(target .. ".gz") then
    s3.fs.remove(pinned)
  else
    assert(s3.fs.rename(pinned, target))
  end
end

local function upload(name, service, path)
  local url = ("%s/%s/%s/%s.log.gz"):format((config.url:gsub("/+$", "")), s3.host, service, name)
  -- In small letters: one header has one name.
  local headers = { ["content-type"] = "application/gzip" }
  for key, value in pairs(config.headers or {}) do headers[key:lower()] = value end
  if config.token then headers["authorization"] = "Bearer " .. s3.secret(config.token) end
  local answer, err = s3.http.request {
    method = "PUT", url = url, file = path, headers = headers, timeout = config.timeout,
    retry = { attempts = config.attempts, base = config.base, cap = "60s" },
  }
  if not answer then return nil, err.message end
  if not answer.ok then return nil, "the receiver answered " .. answer.status end
  return true
end

-- Compresses and uploads what is pinned. Returns how many were shipped, and why the first of the others was not.
local function ship(shelf)
  local shipped, problem = 0, nil
  local files = s3.fs.list(shelf) or {}
  for index = #files, 1, -1 do
    local file = files[index]
    local name = file.name:match "^(.+)%.log$"
    if name then
      -- Cut short by the end of the host, it is made anew.
      local done, why = run { "gzip", "-f", file.path }
      if not done then problem = problem or why end
    end
  end
  files = s3.fs.list(shelf) or {}
  for index = #files, 1, -1 do
    local file = files[index]
    local name = file.name:match "^(.+)%.log%.gz$"
    local service = name and name:match "^(.+)%-%d+T[%d%.]+%-%d+$"
    if service then
      local done, why = true, nil
      if not s3.kv.get("shipped:" .. name) then done, why = upload(name, service, file.path) end
      if done then
        s3.kv.set("shipped:" .. name, true, { ttl = REMEMBERED })
        s3.fs.remove(file.path)
        shipped = shipped + 1
      else
        problem = problem or name .. ": " .. why
      end
    end
  end
  return shipped, problem
end

local function folder_of(path) return path:match "^(.*)/[^/]*$" end

local function round()
  local services, err = s3.services.list()
  if not services then return nil, err.message end
  local shelf
  for _, service in ipairs(services) do
    local folder = service.log and folder_of(service.log.path)
    if folder and not shelf then
      shelf = folder .. "/" .. SHELF
      assert(s3.fs.mkdir(shelf))
    end
    if folder and matches(service.name) then
      for number = 1, 100 do
        local path = ("%s/%s.log.%d"):format(folder, service.name, number)
        if not exists(path) then break end
        pin(service.name, path, shelf)
      end
    end
  end
  if not shelf then return 0 end
  return ship(shelf)
end

-- One round at a time; what is rotated meanwhile is in the next one, which follows at once.
local function ship_all()
  if busy then
    again = true
    return 0
  end
  busy = true
  -- Also where a limit ends the run in the middle: nothing would ever be shipped again.
  local _ <close> = setmetatable({}, { __close = function() busy = false end })
  local total, problem = 0, nil
  repeat
    again = false
    local shipped, why = round()
    total, problem = total + (shipped or 0), why
  until not again
  return total, problem
end

s3.on("rotate", { name = "rotated", timeout = "10m" }, function()
  local _, problem = ship_all()
  if problem then return false, problem end
end)

s3.every(config.leftovers, { name = "leftovers", timeout = "10m", immediate = true }, function()
  local _, problem = ship_all()
  if problem then return false, problem end
end)

s3.command("ship", { summary = "looks for what was not shipped and ships it" }, function()
  local shipped, problem = ship_all()
  if problem then return nil, problem end
  return { shipped = shipped }
end)
