-- One message a storm. Events only change what is known of their services; a message is made when it is sent, tells what happened
-- since the one before, and what is down by then. There is one message under way at most: what could not be sent is part of the next.
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

-- Bytes of a message, title included. Telegram takes 4,096 UTF-16 units, discord 2,000 characters, a block of slack 3,000 characters,
-- ntfy 4,096 bytes; no text has more of any of these than it has bytes. The rest is for what a driver puts around it.
local LONGEST = { telegram = 4000, slack = 2900, discord = 1800, ntfy = 3900 }
local LONGEST_TITLE = 140
-- Services that are told with all their lines, that are told at all, and that are kept in mind.
local DETAILED, NAMED, KEPT = 3, 12, 100
-- Log lines of a service, and bytes of each.
local LINES, LINE = 5, 160
-- Under a steady stream a message goes out after so many quiet times.
local PATIENCE = 4
-- Seconds: the longest time between two messages of a storm; when a storm is over; waits between attempts, and what a service can ask
-- for; how long one that refuses is left alone; when a message is called late.
local LONGEST_INTERVAL, CALM = 3600, 600
local FIRST_WAIT, LONGEST_WAIT, LONGEST_ASKED, REFUSED_WAIT = 1, 300, 3600, 3600
local LATE = 300

-- One line of printable text, whatever a service wrote.
local function plain(text, most) return s3.text.truncate((tostring(text):gsub("%c+", " ")), most) end

local function nothing() return { services = {}, kept = 0, others = {}, events = 0, crashes = 0 } end

-- What is to be told, the older part first.
local function joined(old, new)
  if old.events == 0 then return new end
  for name, row in pairs(new.services) do
    local before = old.services[name]
    if before then
      row.crashes = row.crashes + before.crashes
      row.why, row.lines = row.why or before.why, row.lines or before.lines
    end
    if before or old.kept < KEPT then
      if not before then old.kept = old.kept + 1 end
      old.services[name] = row
    end
  end
  for _, line in ipairs(new.others) do
    if #old.others < NAMED then old.others[#old.others + 1] = line end
  end
  old.events, old.crashes = old.events + new.events, old.crashes + new.crashes
  return old
end

-- What happened since the last message, and what is in the one that is under way. Both are kept, so that what was not told when the
-- host ends is told by the next one; what was under way then may be told twice.
local open, sending = joined(s3.kv.get("sending") or nothing(), s3.kv.get("open") or nothing()), nil

-- What a service wrote may be too much to be kept; what counts is not.
local function put(key, batch)
  if s3.kv.set(key, batch) then return end
  local lean = {}
  for name, value in pairs(batch) do lean[name] = value end
  lean.services = {}
  for name, row in pairs(batch.services) do lean.services[name] = { type = row.type, crashes = row.crashes } end
  s3.kv.set(key, lean)
end

-- Kept at once, and in a storm once a second.
local kept_at, is_keeping = -math.huge, false

local function keep()
  local now = s3.mono()
  if now - kept_at >= 1 then
    kept_at = now
    put("open", open)
  elseif not is_keeping then
    is_keeping = true
    s3.after(1, function()
      is_keeping = false
      keep()
    end)
  end
end

local function why_of(data)
  if data.message then return data.message end
  if data.oom then return "out of memory (" .. (data.signal or "SIGKILL") .. ")" end
  if data.signal then return "signal " .. data.signal .. (data.core and ", core dumped" or "") end
  if data.code then return "exit " .. math.tointeger(data.code) end
  return data.output or data.reason
end

local function note(event)
  local count, now = event.count or 1, s3.now()
  open.since = open.since or now
  open.events = open.events + count
  -- What will not go on by itself, and its end, do not wait for the storm to pass.
  if event.type == "gave_up" or event.type == "recovered" then open.is_urgent = true end
  local data = event.data
  if not event.service then
    local what = data.errors and data.errors[1] or why_of(data) or ""
    if #open.others < NAMED then open.others[#open.others + 1] = plain(event.type .. ": " .. tostring(what), 300) end
    return keep()
  end
  if event.type == "crash" then open.crashes = open.crashes + count end
  local row = open.services[event.service]
  if not row then
    if open.kept >= KEPT then return keep() end
    row = { crashes = 0 }
    open.services[event.service], open.kept = row, open.kept + 1
  end
  row.type = event.type
  if event.type == "crash" then row.crashes = row.crashes + count end
  local why = why_of(data)
  if event.type == "health" then why = data.to .. (data.output and ": " .. data.output or "") end
  if why then row.why = plain(why, 200) end
  local tail = data.log_tail
  if tail and #tail > 0 then
    row.lines = {}
    for at = math.max(1, #tail - (open.kept <= NAMED and LINES or 1) + 1), #tail do row.lines[#row.lines + 1] = plain(tail[at], LINE) end
  end
  keep()
end

local WORD = {
  crash = "crashed", gave_up = "gave up", recovered = "recovered", hold = "is held", stop = "had to be killed", health = "changed health",
}

local function word_of(row) return WORD[row.type] or row.type end

local function is_down(view) return view.state == "failed" or view.state == "backoff" or view.hold ~= nil end

-- What section3 does about a service next.
local function next_of(view)
  if not view then return "the service is not configured any more" end
  if view.hold then return ("held by %s%s"):format(view.hold.by, view.hold["until"] and " until " .. view.hold["until"] or "") end
  if view.state == "failed" then return "stays down until it is started" end
  if view.state == "backoff" then return "starts again" .. (view.next_start_at and " at " .. view.next_start_at or "") end
  if view.state == "running" or view.state == "starting" then
    if view.crashes > 0 then return view.state .. " again, not yet counted as recovered" end
    return view.health == "unhealthy" and "running, unhealthy" or "nothing, it is " .. view.state
  end
  return "nothing, it is " .. view.state
end

-- As many names as fit into so many bytes.
local function listed(names, most)
  local shown = names[1]
  for at = 2, #names do
    if #shown + 2 + #names[at] > most then return ("%s and %d more"):format(shown, #names - at + 1) end
    shown = shown .. ", " .. names[at]
  end
  return shown
end

local function how_long(seconds) return s3.text.human_ms(seconds // 1 * 1000) end

-- Every message has the same parts in the same order: what, where, since when, how often, why, what happens next, what to run.
-- Returns the title, the text, and whether something is down.
local function compose(batch, most)
  local views, down, unknown = {}, {}, nil
  local list, err = s3.services.list()
  if not list then unknown = plain(err.message, 100) end
  for _, view in ipairs(list or {}) do
    views[view.name] = view
    if is_down(view) then down[#down + 1] = view.name end
  end
  table.sort(down)
  local names = {}
  for name in pairs(batch.services) do names[#names + 1] = name end
  table.sort(names, function(a, b)
    local x, y = batch.services[a], batch.services[b]
    if x.crashes ~= y.crashes then return x.crashes > y.crashes end
    return a < b
  end)
  local now, only = s3.now(), #names == 1 and #batch.others == 0 and names[1] or nil

  local what
  if only then
    what = only .. " " .. word_of(batch.services[only])
  elseif #names > 0 then
    what = ("%d services, %d crashes"):format(#names, batch.crashes)
  else
    what = batch.others[1] or ("%d events"):format(batch.events)
  end
  local head = { "what: " .. plain(what, 200) }
  if unknown then
    head[#head + 1] = "still down: not known, " .. unknown
  elseif #down > 0 then
    head[#head + 1] = ("still down (%d): %s"):format(#down, listed(down, most // 3))
  else
    head[#head + 1] = "nothing is down now"
  end
  head[#head + 1] = "where: " .. s3.host
  head[#head + 1] = ("since: %s (%s ago)"):format(s3.time.format(batch.since, "%F %T UTC"), how_long(now - batch.since))
  head[#head + 1] = ("how often: %d crashes, %d events"):format(batch.crashes, batch.events)
  if batch.failed and now - batch.since > LATE then
    head[#head + 1] = "this is late: " .. plain(batch.failed, 200)
  end

  local foot = {}
  if only then
    foot[#foot + 1] = "next: " .. next_of(views[only])
    foot[#foot + 1] = ("run: section3 tail -n 50 %s"):format(only)
  else
    local starting, staying = 0, 0
    for _, name in ipairs(down) do
      if views[name].state == "backoff" and not views[name].hold then starting = starting + 1 else staying = staying + 1 end
    end
    foot[#foot + 1] = ("next: %d start again by themselves, %d stay down until they are started or released"):format(starting, staying)
    foot[#foot + 1] = "run: section3 status"
  end
  local text, tail = table.concat(head, "\n"), "\n" .. table.concat(foot, "\n")

  -- The reasons get what is left.
  local reasons = {}
  for at, name in ipairs(names) do
    if at > NAMED then break end
    local row = batch.services[name]
    local line = only and "why: " .. (row.why or "not known")
      or ("why: %s %s%s%s"):format(name, word_of(row), row.crashes > 1 and (", %d times"):format(row.crashes) or "", row.why and ": " .. row.why or "")
    reasons[#reasons + 1] = line
    local lines = row.lines or {}
    for index = math.max(1, #lines - (at <= DETAILED and LINES or 1) + 1), #lines do reasons[#reasons + 1] = "  | " .. lines[index] end
  end
  for _, line in ipairs(batch.others) do reasons[#reasons + 1] = "why: " .. line end
  if #names > NAMED then reasons[#reasons + 1] = ("why: ... and %d more services"):format(#names - NAMED) end
  local room = most - #text - #tail
  for _, line in ipairs(reasons) do
    if #line + 1 + 8 > room then
      text = text .. "\n  ..."
      break
    end
    text, room = text .. "\n" .. line, room - #line - 1
  end
  return s3.text.truncate(s3.host .. ": " .. plain(what, 200), LONGEST_TITLE), s3.text.truncate(text .. tail, most), #down > 0
end

-- Characters in UTF-16, as telegram counts.
local function units(text)
  local count = 0
  for _, code in utf8.codes(text) do count = count + (code > 0xFFFF and 2 or 1) end
  return count
end

-- The request of each service, by its documentation. Nothing that a service wrote is read as markup.
local driver = {}

function driver.telegram(title, text)
  local base = (config.url or "https://api.telegram.org"):gsub("/+$", "")
  return base .. "/bot" .. s3.secret(config.token) .. "/sendMessage", {
    chat_id = config.chat, text = title .. "\n" .. text, link_preview_options = { is_disabled = true },
    -- Preformatted: no names, commands and addresses are looked for in it. Without `parse_mode` nothing else is markup.
    entities = s3.json.array { { type = "pre", offset = units(title) + 1, length = units(text) } },
  }
end

function driver.slack(title, text)
  -- The text is what a notification shows; it is read as markup, the blocks are not.
  local short = title:gsub("&", "&amp;"):gsub("<", "&lt;"):gsub(">", "&gt;")
  local function block(kind, words) return { type = kind, text = { type = "plain_text", text = words, emoji = false } } end
  return config.address and s3.secret(config.address) or config.url,
    { text = short, mrkdwn = false, blocks = s3.json.array { block("header", title), block("section", text) } }
end

function driver.discord(title, text)
  local short = title:gsub("[%*_~`|<>%[%]\\#:@]", "\\%0")
  -- A code block has no markup but its own end. 4: no previews of addresses.
  local code = text:gsub("```", "'''")
  return config.address and s3.secret(config.address) or config.url,
    { content = short .. "\n```\n" .. code .. "\n```", allowed_mentions = { parse = s3.json.array {} }, flags = 4 }
end

function driver.ntfy(title, text, is_down)
  local headers = config.token and { Authorization = "Bearer " .. s3.secret(config.token) } or nil
  return config.url or "https://ntfy.sh",
    { topic = config.topic, title = title, message = text, priority = is_down and 4 or 3, tags = s3.json.array { is_down and "warning" or "white_check_mark" } },
    headers
end

-- `Retry-After` is seconds or a date.
local function seconds_of(value)
  local date = not tonumber(value) and s3.time.parse(value)
  return tonumber(value) or date and date - s3.now() or nil
end

-- How long a refused one asks to wait: telegram and discord say it in the body, all in the header.
local function asked_for(answer)
  local said = s3.json.decode(answer.body)
  local wait
  if type(said) == "table" then
    wait = tonumber(said.retry_after) or type(said.parameters) == "table" and tonumber(said.parameters.retry_after)
  end
  wait = wait or seconds_of(answer.headers["retry-after"] or "")
  return wait and math.min(wait, LONGEST_ASKED)
end

local sent, last_error, refusals = 0, nil, 0

-- One attempt. Returns the answer; or nothing, why, and how long to wait.
local function attempt(title, text, is_down)
  local url, json, headers = driver[config.kind](title, text, is_down)
  local answer, err = s3.http.request { method = "POST", url = url, json = json, headers = headers, timeout = config.timeout }
  if answer and answer.ok then
    sent, refusals = sent + 1, 0
    return answer
  end
  last_error = answer and ("%s answered %d: %s"):format(config.kind, answer.status, plain(answer.body, 200)) or err.message
  local wait = math.min(FIRST_WAIT * 2 ^ refusals, LONGEST_WAIT) * (0.5 + math.random() / 2)
  refusals = refusals + 1
  if answer then
    local may_pass = answer.status == 408 or answer.status == 429 or answer.status >= 500
    -- A wrong token does not become right in a second.
    wait = may_pass and math.max(asked_for(answer) or 0, wait) or REFUSED_WAIT
  elseif not err.retryable then
    wait = REFUSED_WAIT
  end
  return nil, last_error, wait
end

local last_event, first_event = 0, nil
-- When the last message went out, how long the next one waits after it, and before when nothing is tried.
local sent_at, gap, closed_until = nil, config.interval, 0
local is_sending, timer = false, nil
local arm

-- What was under way is to be told again: one change of what is kept, so that no end of the host loses it or counts it twice.
local function take_back()
  if sending then open, sending = joined(sending, open), nil end
  put("open", open)
  s3.kv.delete "sending"
end

local function send()
  local batch = open
  sending, open = batch, nothing()
  first_event = nil
  put("sending", batch)
  put("open", open)
  local good, answer, reason, wait = pcall(function()
    local title, text, is_down = compose(batch, LONGEST[config.kind] - LONGEST_TITLE)
    return attempt(title, text, is_down)
  end)
  if good and answer then
    local now = s3.mono()
    gap = sent_at and now - sent_at < CALM + gap and math.min(gap * 2, math.max(LONGEST_INTERVAL, config.interval)) or config.interval
    sent_at = now
  else
    if not good then reason, wait = tostring(answer), REFUSED_WAIT end
    last_error = reason
    if s3.now() - batch.since > config.keep_for then
      s3.log.error(("a message of %d events was not sent: %s"):format(batch.events, reason))
    else
      if not batch.failed then s3.log.warn(("a message waits, %s: %s"):format(how_long(wait), reason)) end
      batch.failed = reason
      take_back()
    end
    closed_until = s3.mono() + wait
  end
  sending = nil
  s3.kv.delete "sending"
end

local function step()
  timer = nil
  is_sending = true
  s3.spawn(function()
    -- Also where a limit ends the run in the middle: nobody knows then whether the message was sent.
    local _ <close> = setmetatable({}, { __close = function()
      is_sending = false
      if sending then take_back() end
      arm()
    end })
    send()
  end)
end

-- Sets the timer for the next message: when it is quiet, or when the message is due all the same. Never sooner after the one before
-- than `gap`, or `interval` where it cannot wait. A wait is a timer: a run that sleeps would hold up a reload.
arm = function()
  if timer then timer:cancel() end
  timer = nil
  if is_sending or open.events == 0 then return end
  local due = math.min(last_event + config.wait, (first_event or last_event) + PATIENCE * config.wait)
  if sent_at then due = math.max(due, sent_at + (open.is_urgent and config.interval or gap)) end
  timer = s3.after(math.max(math.max(due, closed_until) - s3.mono(), 0), step)
end

s3.on(config.events, { name = "collect", service = config.service }, function(event)
  last_event = s3.mono()
  first_event = first_event or last_event
  note(event)
  arm()
end)

if open.events > 0 then
  s3.spawn(function()
    take_back()
    arm()
  end)
end

s3.command("test", { summary = "sends a message now" }, function()
  local answer, reason, wait = attempt(s3.host .. ": a test of section3", "this chat works", false)
  if not answer then return nil, ("%s; try again in %s"):format(reason, how_long(wait)) end
  return { status = answer.status, ms = answer.ms }
end)

s3.command("status", { summary = "what waits to be told, and how the last message fared" }, function()
  return {
    waiting = open.events, since = open.since and s3.time.format(open.since), sending = is_sending, sent = sent, last_error = last_error,
  }
end)
