-- Tells a supervise sidecar of each crash, each service that gave up, and each that recovered.
--
-- Where: SIDECAR_URL in the supervisor's environment, or the address below. While the sidecar is away the events of one
-- service wait for each other, so that none overtakes another; after ten minutes an event is given up and counted as failed.
local s3 = require "section3"

local URL = s3.env "SIDECAR_URL" or "unix:/run/supervise.sock:/v1/events"

s3.on({ "crash", "gave_up", "recovered" }, { name = "sidecar", timeout = "10m" }, function(ev)
  local service = s3.services.get(ev.service)
  local res, err = s3.http.post(URL, {
    timeout = "2s",
    headers = { ["Idempotency-Key"] = ev.id }, -- the same for each try, and when the event comes again after a restart
    json = {
      id = ev.id, type = ev.type, time = ev.time, host = ev.host,
      service = ev.service, run = ev.run, state = service and service.state,
      exit = { code = ev.data.code, signal = ev.data.signal },
      crashes = ev.data.crashes, tail = ev.data.log_tail,
    },
    retry = { attempts = 50, base = "200ms", cap = "15s" },
  })
  if not res then return false, err end
  if not res.ok then return false, "the sidecar answered " .. res.status end
end)
