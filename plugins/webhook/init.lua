-- Sends each event as one request: the events of one service in their order, a failed attempt again after a while, and every
-- attempt signed anew where a key is given (Standard Webhooks: webhook-id, webhook-timestamp, webhook-signature).
local s3 = require "section3"
local config = s3.config

local LONGEST_WAIT = 60

-- A receiver that says 410 wants nothing any more. Kept, so that a restart does not ask it again.
local function is_off() return s3.kv.get "gone" == config.url end

-- The base64 behind `whsec_` is the key.
local function signature(id, seconds, body)
  local parts = {}
  for _, name in ipairs(config.sign or {}) do
    local key = assert(s3.crypto.base64_decode(s3.secret(name), "whsec_"))
    parts[#parts + 1] = "v1," .. s3.crypto.hmac_sha256(key, id .. "." .. seconds .. "." .. body, "base64")
  end
  return table.concat(parts, " ")
end

local function headers(id, body)
  local all = {}
  for name, value in pairs(config.headers or {}) do all[name] = value end
  all["Content-Type"] = "application/json"
  all["Idempotency-Key"] = id
  all["webhook-id"] = id
  if config.token then all["Authorization"] = "Bearer " .. s3.secret(config.token) end
  if config.sign then
    local seconds = string.format("%d", s3.now() // 1)
    all["webhook-timestamp"] = seconds
    all["webhook-signature"] = signature(id, seconds, body)
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
  local tail = event.data and event.data.log_tail
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

local function may_pass(status) return status == 408 or status == 425 or status == 429 or status >= 500 end

-- Returns the answer, or nothing and why.
local function deliver(event)
  local body, wait, reason = body_of(event), config.base, nil
  for attempt = 1, config.attempts do
    local answer, err = s3.http.request {
      method = "POST", url = config.url, headers = headers(event.id, body), body = body, timeout = config.timeout,
    }
    if answer and answer.ok then return answer end
    if answer and answer.status == 410 then
      s3.kv.set("gone", config.url)
      return nil, "the receiver is gone for good (410): nothing more is sent there; `section3 x webhook resume` ends that"
    end
    reason = answer and "the receiver answered " .. answer.status or err.message
    if answer and not may_pass(answer.status) then return nil, reason end
    if attempt < config.attempts then
      local asked = answer and tonumber(answer.headers["retry-after"])
      s3.sleep(math.min(math.max(asked or 0, wait * (0.5 + math.random() / 2)), LONGEST_WAIT))
      wait = math.min(wait * 2, LONGEST_WAIT)
    end
  end
  return nil, ("%s, %d attempts"):format(reason, config.attempts)
end

s3.on(config.events, { name = "send", service = config.service, severity = config.severity, timeout = "10m" }, function(event)
  if is_off() then return end
  local answer, reason = deliver(event)
  if not answer then return false, reason end
end)

s3.command("test", { summary = "sends an event of its own now" }, function()
  local now = s3.now()
  local event = {
    v = 1, id = ("webhook-test-%d"):format(now * 1000 // 1), type = "custom.webhook-test", time = s3.time.format(now), host = s3.host,
    severity = "info", actor = "plugin:webhook", synthetic = true, data = {},
  }
  local answer, reason = deliver(event)
  if not answer then return nil, reason end
  return { status = answer.status, ms = answer.ms }
end)

s3.command("resume", { summary = "sends again to a receiver that had said 410" }, function()
  return { resumed = s3.kv.delete "gone" }
end)
