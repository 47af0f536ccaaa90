-- Sends each event as one request. What the receiver does not take now is kept, tried again for hours, and overtaken by no later
-- event of its service. Every attempt is signed anew where a key is given (Standard Webhooks).
local s3 = require "section3"
local config = s3.config

-- The longest wait between two attempts, and the longest that a receiver can ask for; seconds.
local LONGEST_WAIT, LONGEST_ASKED = 300, 3600
-- Queues that are sent from at once. A script has 8 requests at once; the events that are new need some of them.
local SENDERS = 4
-- One run of a sender; a run beside the others is ended after 10 minutes.
local TURN = 300

-- The base64 behind `whsec_` is the key.
local function key_of(name)
  local key, err = s3.crypto.base64_decode(s3.secret(name), "whsec_")
  if not key then error(("the secret `%s` is no signing key: %s"):format(name, err.message), 0) end
  return key
end

-- A key that is none is said now, not with the first crash. Events are kept until it is one.
for _, name in ipairs(config.sign or {}) do
  local good, why = pcall(key_of, name)
  if not good then s3.log.error(tostring(why)) end
end

-- What the settings name otherwise is ours all the same. In small letters: one header has one name.
local function headers(id, body)
  local all = {}
  for name, value in pairs(config.headers or {}) do all[name:lower()] = value end
  for name, secret in pairs(config.secret_headers or {}) do all[name:lower()] = s3.secret(secret) end
  if config.token then all["authorization"] = "Bearer " .. s3.secret(config.token) end
  all["content-type"] = "application/json"
  all["idempotency-key"] = id
  all["webhook-id"] = id
  if config.sign then
    local seconds = string.format("%d", s3.now() // 1)
    local signatures = {}
    for at, name in ipairs(config.sign) do
      signatures[at] = "v1," .. s3.crypto.hmac_sha256(key_of(name), id .. "." .. seconds .. "." .. body, "base64")
    end
    all["webhook-timestamp"] = seconds
    all["webhook-signature"] = table.concat(signatures, " ")
  end
  return all
end

local function copy(value)
  if type(value) ~= "table" then return value end
  local all = {}
  for key, inner in pairs(value) do all[key] = copy(inner) end
  return all
end

-- The event as JSON. What is too long loses its oldest log lines first, then all that is free in it.
local function body_of(event)
  local body = s3.json.encode(event)
  if #body <= config.max_bytes then return body end
  event = copy(event)
  local tail = event.data.log_tail
  while tail and #tail > 0 and #body > config.max_bytes do
    for _ = 1, math.max(1, #tail // 4) do table.remove(tail, 1) end
    event.data.log_tail = s3.json.array(tail)
    body = s3.json.encode(event)
  end
  if #body > config.max_bytes then
    event.data = { truncated = true }
    body = s3.json.encode(event)
  end
  return body
end

-- Numbers for `status`, since the plugin was loaded.
local sent, refused, dropped, last_error = 0, 0, 0, nil
-- A receiver that says 410 wants nothing any more. Forgotten when the plugin is loaded anew, which asks it once more.
local is_gone = false

local GONE = "the receiver is gone for good (410): nothing more is sent there; `section3 x webhook resume` ends that"

-- `Retry-After` is seconds or a date.
local function seconds_of(value)
  local date = not tonumber(value) and s3.time.parse(value)
  return tonumber(value) or date and date - s3.now() or nil
end

-- One attempt: `taken`, `refused`, `gone` or `later`, why, and how long it asks to be left alone.
local function attempt(letter)
  local answer, err = s3.http.request {
    method = "POST", url = config.url, headers = headers(letter.id, letter.body), body = letter.body, timeout = config.timeout,
  }
  if answer and answer.ok then
    sent = sent + 1
    return "taken", nil, nil, answer
  end
  last_error = answer and "the receiver answered " .. answer.status or err.message
  if not answer then return err.retryable and "later" or "refused", last_error end
  if answer.status == 410 then return "gone", GONE end
  if answer.status ~= 408 and answer.status ~= 425 and answer.status ~= 429 and answer.status < 500 then
    refused = refused + 1
    return "refused", last_error
  end
  local asked = seconds_of(answer.headers["retry-after"] or "")
  return "later", last_error, asked and math.min(asked, LONGEST_ASKED)
end

-- The same where a secret cannot be read, say: it may be there again later.
local function try(letter)
  local good, verdict, reason, asked = pcall(attempt, letter)
  if good then return verdict, reason, asked end
  last_error = tostring(verdict)
  return "later", last_error
end

-- What waits, a queue for each service: `letters`, oldest first; `failures` in a row; `due`, when the first is tried again;
-- `is_asked`, whether that is the receiver's wish; `is_busy` while it is being sent from.
local queues = {}
local serial = 0

local function queue_of(service)
  local queue = queues[service]
  if not queue then
    queue = { letters = {}, failures = 0, due = 0 }
    queues[service] = queue
  end
  return queue
end

for _, key in ipairs(s3.kv.keys "out:") do
  local letter = s3.kv.get(key)
  letter.key, serial = key, tonumber(key:sub(5))
  table.insert(queue_of(letter.service).letters, letter)
end

local function remove_first(service)
  local queue = queues[service]
  s3.kv.delete(table.remove(queue.letters, 1).key)
  if #queue.letters == 0 then queues[service] = nil end
end

local function remove_oldest()
  local oldest
  for service, queue in pairs(queues) do
    if not queue.is_busy and (not oldest or queue.letters[1].key < queues[oldest].letters[1].key) then oldest = service end
  end
  if not oldest then return false end
  remove_first(oldest)
  dropped = dropped + 1
  return true
end

local function switch_off()
  is_gone = true
  for service, queue in pairs(queues) do
    for _, letter in ipairs(queue.letters) do s3.kv.delete(letter.key) end
    dropped = dropped + #queue.letters
    queues[service] = nil
  end
  return GONE
end

local function put(service, letter)
  local queue = queue_of(service)
  for _, other in ipairs(queue.letters) do
    -- Delivered again after an end of the host.
    if other.id == letter.id then return queue end
  end
  serial = serial + 1
  letter.key = ("out:%015d"):format(serial)
  local kept, err
  repeat
    kept, err = s3.kv.set(letter.key, { id = letter.id, service = service, body = letter.body, since = letter.since })
  until kept or err.code ~= "full" or not remove_oldest()
  if not kept then s3.log.warn(("event %s is kept in memory only: %s"):format(letter.id, err.message)) end
  -- The oldest may have been the last one of this queue.
  queue = queue_of(service)
  table.insert(queue.letters, letter)
  return queue
end

local function postpone(queue, asked)
  local wait = math.min(config.retry * 2 ^ queue.failures, LONGEST_WAIT)
  queue.failures = queue.failures + 1
  queue.is_asked = asked ~= nil
  -- Many that failed together do not come back together.
  queue.due = s3.mono() + math.max(asked or 0, wait * (0.5 + math.random() / 2))
end

local senders, timer = 0, nil
local arm

-- Sends from one queue until it is empty, or until something in it has to wait.
local function send_from(service)
  local began = s3.mono()
  while queues[service] and s3.mono() - began < TURN do
    local queue = queues[service]
    local letter = queue.letters[1]
    if s3.now() - letter.since > config.keep_for then
      dropped = dropped + 1
      s3.log.error(("event %s was not taken in time: %s"):format(letter.id, last_error or "nobody tried"))
      remove_first(service)
    else
      local verdict, reason, asked = try(letter)
      -- A 410 to another queue meanwhile.
      if is_gone then return end
      if verdict == "gone" then return s3.log.error(switch_off()) end
      if verdict == "later" then return postpone(queue, asked) end
      if verdict == "refused" then s3.log.error(("event %s: %s"):format(letter.id, reason)) end
      queue.failures = 0
      remove_first(service)
      -- The receiver is back for the others too.
      for _, other in pairs(queues) do
        if not other.is_asked then other.due = 0 end
      end
    end
  end
end

local function tick()
  timer = nil
  local now = s3.mono()
  for service, queue in pairs(queues) do
    if senders < SENDERS and not queue.is_busy and queue.due <= now then
      senders, queue.is_busy = senders + 1, true
      s3.spawn(function()
        local good, err = pcall(send_from, service)
        senders, queue.is_busy = senders - 1, false
        if not good then
          s3.log.error(tostring(err))
          postpone(queue)
        end
        arm()
      end)
    end
  end
  arm()
end

-- Sets the timer for whatever is due next. Waits are timers: a run that sleeps would hold up a reload.
arm = function()
  local due
  for _, queue in pairs(queues) do
    if not queue.is_busy and (not due or queue.due < due) then due = queue.due end
  end
  if timer then timer:cancel() end
  timer = due and senders < SENDERS and s3.after(math.max(due - s3.mono(), 0), tick) or nil
end

if next(queues) then s3.spawn(arm) end

-- One run a service at a time: while this one tries, nothing of its service can get into the queue.
s3.on(config.events, { name = "send", service = config.service, severity = config.severity, timeout = "10m" }, function(event)
  if is_gone then
    dropped = dropped + 1
    return
  end
  local service = event.service or ""
  local letter = { id = event.id, body = body_of(event), since = s3.now() }
  local verdict, reason, asked
  if not queues[service] then
    verdict, reason, asked = try(letter)
    if verdict == "taken" then return end
    if verdict == "gone" then return false, switch_off() end
    if verdict == "refused" then return false, reason end
    if not next(queues) then
      s3.log.warn(("%s; events are kept and tried again for %s"):format(reason, s3.text.human_ms(config.keep_for * 1000)))
    end
  end
  local queue = put(service, letter)
  if verdict then postpone(queue, asked) end
  arm()
end)

s3.command("test", { summary = "sends an event of its own now" }, function()
  local now = s3.now()
  local event = {
    v = 1, id = ("webhook-test-%d"):format(now * 1000 // 1), type = "custom.webhook-test", time = s3.time.format(now), host = s3.host,
    severity = "info", actor = "plugin:webhook", synthetic = true, data = {},
  }
  local _, reason, _, answer = attempt { id = event.id, body = body_of(event) }
  if not answer then return nil, reason end
  return { status = answer.status, ms = answer.ms }
end)

s3.command("status", { summary = "what waits, and what became of the others" }, function()
  local waiting, oldest = 0, nil
  for _, queue in pairs(queues) do
    waiting = waiting + #queue.letters
    oldest = math.min(oldest or math.huge, queue.letters[1].since)
  end
  return {
    waiting = waiting, oldest = oldest and s3.time.format(oldest), sent = sent, refused = refused, dropped = dropped, gone = is_gone,
    last_error = last_error,
  }
end)

s3.command("resume", { summary = "sends again to a receiver that had said 410" }, function()
  local resumed = is_gone
  is_gone = false
  return { resumed = resumed }
end)
