-- One fixed request, formatted once, sent by every connection; or a thousand preflights in turn, formatted before
-- the load begins. Totals on one line at the end.
-- Arguments: the method; "fixed" or "varied"; the length of the body. Fields come from the command line (-H).

local varied, turn = {}, 0
local methods = { "PUT", "GET", "POST" }
local headers = { "authorization", "content-type", "authorization,content-type" }

function init(args)
  wrk.method = args[1]
  local size = tonumber(args[3])
  if size > 0 then
    local open = '{"orders": [{"id": 4711, "state": "shipped", "total": "129.90"}], "note": "'
    wrk.body = open .. string.rep("x", size - #open - 2) .. '"}'
  end
  if args[2] == "varied" then
    for number = 0, 999 do
      wrk.headers["Origin"] = string.format("https://pr-%d.preview.example.com", number)
      wrk.headers["Access-Control-Request-Method"] = methods[number % 3 + 1]
      wrk.headers["Access-Control-Request-Headers"] = headers[math.floor(number / 3) % 3 + 1]
      varied[number + 1] = wrk.format()
    end
    request = function()
      turn = turn % 1000 + 1
      return varied[turn]
    end
  end
end

function done(summary, latency, requests)
  local errors = summary.errors
  io.write(string.format(
    "totals units=%d bytes=%d duration_us=%d p50_us=%d p99_us=%d" ..
    " connect=%d read=%d write=%d timeout=%d status=%d\n",
    summary.requests, summary.bytes, summary.duration, latency:percentile(50), latency:percentile(99),
    errors.connect, errors.read, errors.write, errors.timeout, errors.status))
end
