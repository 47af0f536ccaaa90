-- One message a storm. Events only change what is known of their service; one sender waits until it is quiet (or until the
-- message is due all the same), then tells what happened since the last message and what is still down now.
local s3 = require "section3"
local config = s3.config

-- What a manifest cannot say: which settings go together.
local NEEDS = { telegram = { "token", "chat" }, ntfy = { "topic" }, slack = {}, discord = {} }
for _, name in ipairs(NEEDS[config.kind]) do
  if not config[name] then error(("`kind: %s` needs `%s`"):format(config.kind, name), 0) end
end
if (config.kind == "slack" or config.kind == "discord") and not (config.address or config.url) then
  error(("`kind: %s` needs `address`, the name of a secret with the webhook's address"):format(config.kind), 0)
end

-- Bytes of a message; the least that one of the services takes: discord 2,000 characters, ntfy and telegram 4,096.
local LONGEST = { telegram = 4000, slack = 8000, discord = 1900, ntfy = 3800 }
-- Services that a message names one by one.
local NAMED = 12
-- Under a steady stream a message goes out after so many quiet times.
local PATIENCE = 4
local LONGEST_WAIT = 300

-- Waits of one message together; what runs beside is ended after 10 minutes.
local WAITED = 480

local function nothing() return { services = {}, others = {}, events = 0 } end

-- Two lists of what is to be told as one; the second is the newer one.
local function joined(old, new)
  for name, row in pairs(new.services) do
    local before = old.services[name]
    row.crashes = row.crashes + (before and before.crashes or 0)
    row.line = row.line or before and before.line
    old.services[name] = row
  end
  for _, line in ipairs(new.others) do
    if #old.others < NAMED then old.others[#old.others + 1] = line end
  end
  old.events = old.events + new.events
  return old
end

-- What happened since the last message, and what is in the one that is under way. Both are kept, so that what was not told
-- when the host ends is told by the next one.
local open = joined(s3.kv.get("sending", nothing()), s3.kv.get("open", nothing()))
local last_event, first_event, sent_at = 0, nil, nil
-- `waiting`, `sending` or nothing.
local phase

local WORD = {
  crash = "crashed", gave_up = "gave up", recovered = "recovered", hold = "is held", stuck = "cannot be ended", health = "health",
}

local function why_of(data)
  if data.message then return data.message end
  if data.oom then return "out of memory" end
  if data.signal then return "signal " .. data.signal end
  if data.code then return "exit " .. math.tointeger(data.code) end
  return data.reason or data.output
end

local function note(event)
  open.events = open.events + (event.count or 1)
  if not event.service then
    local text = event.type .. ": " .. tostring(event.data.errors and event.data.errors[1] or why_of(event.data) or "")
    if #open.others < NAMED then open.others[#open.others + 1] = s3.text.truncate(text, 300) end
  else
    local row = open.services[event.service] or { crashes = 0 }
    open.services[event.service] = row
    local why = why_of(event.data)
    if event.type == "health" then why = event.data.to .. ": " .. event.data.output end
    row.type, row.why = event.type, s3.text.truncate(tostring(why or row.why or ""), 200)
    if event.type == "crash" then row.crashes = row.crashes + (event.count or 1) end
    local tail = event.data.log_tail
    if tail and #tail > 0 then row.line = s3.text.truncate(tail[#tail], 200) end
  end
  s3.kv.set("open", open)
end

-- What is down now, not what was when the events were told: a late message is still true.
local function down_now()
  local list, err = s3.services.list()
  if not list then return {}, err.message end
  local names = {}
  for _, service in ipairs(list) do
    if service.state == "failed" or service.state == "backoff" then names[#names + 1] = service.name end
  end
  table.sort(names)
  return names
end

local function named(names)
  local shown = table.concat(names, ", ", 1, math.min(#names, 40))
  return #names > 40 and ("%s and %d more"):format(shown, #names - 40) or shown
end

local function compose(batch)
  local down, unknown = down_now()
  local names = {}
  for name in pairs(batch.services) do names[#names + 1] = name end
  table.sort(names, function(a, b)
    local x, y = batch.services[a], batch.services[b]
    if x.crashes ~= y.crashes then return x.crashes > y.crashes end
    return a < b
  end)
  local crashes = 0
  for _, row in pairs(batch.services) do crashes = crashes + row.crashes end
  local title = s3.host .. ": "
  if #names == 1 then
    title = title .. names[1] .. " " .. (WORD[batch.services[names[1]].type] or batch.services[names[1]].type)
  elseif #names > 1 then
    title = title .. ("%d services, %d crashes"):format(#names, crashes)
  else
    title = title .. ("%d events"):format(batch.events)
  end
  local lines = {}
  if unknown then
    lines[#lines + 1] = "what is down now is not known: " .. unknown
  elseif #down > 0 then
    lines[#lines + 1] = ("still down (%d): %s"):format(#down, named(down))
  else
    lines[#lines + 1] = "nothing is down now"
  end
  for index, name in ipairs(names) do
    if index > NAMED then
      lines[#lines + 1] = ("... and %d more services"):format(#names - NAMED)
      break
    end
    local row = batch.services[name]
    local line = name .. " " .. (WORD[row.type] or row.type)
    if row.crashes > 1 then line = line .. (", %d crashes"):format(row.crashes) end
    if row.why ~= "" then line = line .. " (" .. row.why .. ")" end
    lines[#lines + 1] = line
    if row.line then lines[#lines + 1] = "    " .. row.line end
  end
  for _, line in ipairs(batch.others) do lines[#lines + 1] = line end
  if #names == 1 then lines[#lines + 1] = "look: section3 tail -n 50 " .. names[1] end
  return s3.text.truncate(title, 200), table.concat(lines, "\n"), #down > 0
end

local function slack_text(text) return (text:gsub("&", "&amp;"):gsub("<", "&lt;"):gsub(">", "&gt;")) end

-- The request of each service, by its documentation.
local driver = {}

function driver.telegram(title, text)
  local base = (config.url or "https://api.telegram.org"):gsub("/+$", "")
  return base .. "/bot" .. s3.secret(config.token) .. "/sendMessage",
    { chat_id = config.chat, text = title .. "\n" .. text, disable_web_page_preview = true }
end

function driver.slack(title, text)
  return config.address and s3.secret(config.address) or config.url, { text = "*" .. slack_text(title) .. "*\n" .. slack_text(text) }
end

function driver.discord(title, text)
  -- A log line may hold @everyone.
  return config.address and s3.secret(config.address) or config.url,
    { content = "**" .. title .. "**\n" .. text, allowed_mentions = { parse = s3.json.array {} } }
end

function driver.ntfy(title, text, is_down)
  local headers = config.token and { Authorization = "Bearer " .. s3.secret(config.token) } or nil
  return config.url or "https://ntfy.sh",
    { topic = config.topic, title = title, message = text, priority = is_down and 4 or 3, tags = { is_down and "warning" or "white_check_mark" } },
    headers
end

-- How long a refused one asks to wait: telegram and discord say it in the body, slack and ntfy in the header.
local function asked(answer)
  local said = s3.json.decode(answer.body)
  if type(said) == "table" then
    local wait = said.retry_after or type(said.parameters) == "table" and said.parameters.retry_after
    if tonumber(wait) then return tonumber(wait) end
  end
  return tonumber(answer.headers["retry-after"] or "")
end

-- Sends what `render` says at each attempt. Returns the answer, or nothing and why.
local function deliver(render)
  local wait, waited, reason = 1, 0, nil
  for attempt = 1, config.attempts do
    local title, text, is_down = render()
    text = s3.text.truncate(text, LONGEST[config.kind] - #title)
    local url, json, headers = driver[config.kind](title, text, is_down)
    local answer, err = s3.http.request { method = "POST", url = url, json = json, headers = headers, timeout = config.timeout }
    if answer and answer.ok then return answer end
    reason = answer and ("%s answered %d: %s"):format(config.kind, answer.status, s3.text.truncate(answer.body, 200)) or err.message
    if answer and answer.status ~= 408 and answer.status ~= 429 and answer.status < 500 then return nil, reason end
    local pause = math.min(answer and asked(answer) or wait, LONGEST_WAIT)
    waited, wait = waited + pause, math.min(wait * 2, LONGEST_WAIT)
    if attempt == config.attempts or waited > WAITED then break end
    s3.sleep(pause)
  end
  return nil, reason
end

local function send()
  local batch = nothing()
  local answer, reason = deliver(function()
    -- What came during the last attempt is in this one.
    batch, open = joined(batch, open), nothing()
    s3.kv.set("sending", batch)
    s3.kv.set("open", open)
    return compose(batch)
  end)
  s3.kv.delete "sending"
  if not answer then s3.log.error("no message was sent: " .. reason) end
end

local step

local function wake()
  if phase or open.events == 0 then return end
  phase = "waiting"
  step()
end

-- Waits until it is quiet, or until the message is due all the same; and never sends sooner after the one before than asked.
step = function()
  local now = s3.mono()
  local due = math.min(last_event + config.wait, (first_event or now) + PATIENCE * config.wait)
  if sent_at then due = math.max(due, sent_at + config.interval) end
  if due > now then return s3.after(due - now, step) end
  phase, first_event = "sending", nil
  s3.spawn(function()
    local good, err = pcall(send)
    phase, sent_at = nil, s3.mono()
    if not good then s3.log.error("no message was sent: " .. tostring(err)) end
    wake()
  end)
end

s3.on(config.events, { name = "collect", service = config.service }, function(event)
  last_event = s3.mono()
  first_event = first_event or last_event
  note(event)
  wake()
end)

if open.events > 0 then s3.spawn(wake) end

s3.command("test", { summary = "sends a message now" }, function()
  local answer, reason = deliver(function() return s3.host .. ": a test of section3", "this chat works", false end)
  if not answer then return nil, reason end
  return { status = answer.status, ms = answer.ms }
end)
