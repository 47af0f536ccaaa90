-- One Telegram message for each storm of crashes, at once when a service gives up.
--
-- Needs the chat below (or TELEGRAM_CHAT in the supervisor's environment), and the bot's token as a secret:
--   secrets: {telegram_token: {file: /run/secrets/telegram_token}}
local s3 = require "section3"

local CHAT = s3.env "TELEGRAM_CHAT" or "-1001234567890"
local API = s3.env "TELEGRAM_API" or "https://api.telegram.org"
local MAX_SERVICES = 12

-- What happened to each service, in the order of the first event of each.
local function by_service(events)
  local rows, seen = {}, {}
  for _, ev in ipairs(events) do
    local name = ev.service or ev.type
    local row = seen[name]
    if not row then
      row = { name = name, crashes = 0 }
      seen[name], rows[#rows + 1] = row, row
    end
    row.last = ev.type
    if ev.type == "crash" then
      row.crashes = row.crashes + (ev.count or 1)
      row.why = ev.data.signal or (ev.data.code and "exit " .. ev.data.code) or ev.data.message
    end
  end
  return rows
end

local function render(events)
  local rows = by_service(events)
  local lines = { ("%s: %d services, %d events"):format(s3.host, #rows, #events) }
  for i, row in ipairs(rows) do
    if i > MAX_SERVICES then
      lines[#lines + 1] = ("... and %d more"):format(#rows - MAX_SERVICES)
      break
    end
    local crashes = row.crashes > 0 and (", %d crashes"):format(row.crashes) or ""
    lines[#lines + 1] = ("%s: %s%s%s"):format(row.name, row.last, crashes, row.why and " (" .. row.why .. ")" or "")
  end
  return s3.text.truncate(table.concat(lines, "\n"), 4000) -- Telegram takes 4096 characters
end

s3.on({ "crash", "gave_up", "recovered", "custom.disk_low" }, {
  name = "telegram",
  timeout = "10m",
  batch = { wait = "10s", max_wait = "1m", max = 500, flush_on = "gave_up" },
}, function(events)
  local res, err = s3.http.post(API .. "/bot" .. s3.secret "telegram_token" .. "/sendMessage", {
    json = { chat_id = CHAT, text = render(events) },
    retry = {
      attempts = 10,
      base = "1s",
      cap = "1m",
      after = function(answer) -- 429 says in its body how long to wait
        local said = s3.json.decode(answer.body)
        local parameters = type(said) == "table" and said.parameters
        return type(parameters) == "table" and parameters.retry_after or nil
      end,
    },
  })
  if not res then return false, err end
  if not res.ok then return false, "Telegram answered " .. res.status .. ": " .. s3.text.truncate(res.body, 200) end
end)
