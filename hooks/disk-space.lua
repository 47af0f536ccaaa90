-- Says when a disk fills up, once, and again when there is room: the event custom.disk_low or custom.disk_ok, and a line in
-- section3.log. Other hooks can listen to these events; telegram.lua does.
--
-- Which disks: DISK_PATHS in the supervisor's environment, separated by spaces, or "/". From how many percent on: DISK_LIMIT, or 90.
-- Needs df.
local s3 = require "section3"

local PATHS = s3.env "DISK_PATHS" or "/"
local LIMIT = tonumber(s3.env "DISK_LIMIT" or 90)
if not LIMIT then error("DISK_LIMIT is a number of percent, found " .. s3.env "DISK_LIMIT", 0) end

local function check(path)
  local df, err = s3.exec { cmd = { "df", "-P", path }, env = { LC_ALL = "C" }, timeout = "10s" }
  if not df then return nil, err end
  -- Filesystem 1024-blocks Used Available Capacity Mounted on
  local free, percent = df.stdout:match "\n.-%s%d+%s+%d+%s+(%d+)%s+(%d+)%%"
  if not percent then return nil, ("df %s: exit %s: %s"):format(path, df.code, df.stderr) end
  local low = tonumber(percent) >= LIMIT
  if low == (s3.kv.get("low:" .. path) or false) then return true end
  s3.kv.set("low:" .. path, low)
  local data = { path = path, percent = tonumber(percent), free_bytes = tonumber(free) * 1024 }
  s3.emit(low and "disk_low" or "disk_ok", data)
  local line = ("%s is %s%% full, %s free"):format(path, percent, s3.text.human_bytes(data.free_bytes))
  if low then s3.log.warn(line) else s3.log.info(line) end
  return true
end

-- One that cannot be looked at hides no other.
local function check_all()
  local problem
  for path in PATHS:gmatch "%S+" do
    local done, why = check(path)
    if not done then problem = problem or why end
  end
  if problem then error(problem, 0) end
end

s3.on("daemon_ready", { name = "disks-at-start" }, check_all)
s3.every("1m", { name = "disks" }, check_all)
