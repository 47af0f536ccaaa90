-- Compresses each rotated log and uploads it, and keeps the newest few here. What could not be uploaded is tried again each hour.
--
-- Where to: SHIP_LOGS_URL in the supervisor's environment, or the address below; a log becomes URL/HOST/NAME.gz by PUT.
-- Needs gzip.
local s3 = require "section3"

local URL = s3.env "SHIP_LOGS_URL" or "https://logs.example.net"
local KEEP = 3

-- Compresses and uploads one file; its new path.
local function ship(path)
  if not path:find "%.gz$" then
    local done, err = s3.exec { cmd = { "gzip", "-f", path }, timeout = "5m" }
    if not done then return nil, err end
    if done.code ~= 0 then return nil, "gzip: " .. done.stderr end
    path = path .. ".gz"
  end
  local name = path:match "[^/]+$"
  local res, err = s3.http.put(URL .. "/" .. s3.host .. "/" .. name, {
    file = path,
    timeout = "2m",
    headers = { ["Content-Type"] = "application/gzip" },
    retry = { attempts = 4, base = "2s" },
  })
  if not res then return nil, err end
  if not res.ok then return nil, "the upload of " .. name .. " was answered " .. res.status end
  s3.kv.set("shipped:" .. name, s3.now(), { ttl = "30d" })
  return path
end

-- Removes what was uploaded, but for the newest few of each service.
local function tidy(dir)
  local kept = {}
  for _, file in ipairs(s3.fs.list(dir, "*.ship.gz") or {}) do -- newest first
    local service = file.name:match "^(.+)%-%d+T%d+Z"
    if service and s3.kv.get("shipped:" .. file.name) then
      kept[service] = (kept[service] or 0) + 1
      if kept[service] > KEEP then s3.fs.remove(file.path) end
    end
  end
end

s3.on("rotate", { name = "ship", timeout = "10m" }, function(ev)
  local path = ev.data.path
  local dir = path:match "^(.*)/"
  -- Under a name of its own the next rotation does not move it while it is on its way.
  local own = ("%s/%s-%s.ship"):format(dir, ev.service or "section3", (ev.time:gsub("[^%dTZ]", "")))
  local moved, err = s3.fs.rename(path, own)
  if not moved then return false, err end
  local done, reason = ship(own)
  if not done then return false, reason end
  tidy(dir)
end)

s3.every("1h", { name = "leftovers", timeout = "10m" }, function()
  local dirs = {}
  for _, service in ipairs(assert(s3.services.list())) do
    if service.log then dirs[service.log.path:match "^(.*)/"] = true end
  end
  for dir in pairs(dirs) do
    for _, file in ipairs(s3.fs.list(dir, "*.ship*") or {}) do
      if not s3.kv.get("shipped:" .. file.name) then
        local done, reason = ship(file.path)
        if not done then s3.log.warn("still not uploaded: " .. reason, { file = file.name }) end
      end
    end
    tidy(dir)
  end
end)
