-- One fixed request, formatted once, sent by every connection; totals on one line at the end.
-- Arguments: the method, and a body or nothing. Header fields come from the command line (-H).

function init(args)
  wrk.method = args[1]
  wrk.body = args[2]
end

function done(summary, latency, requests)
  local errors = summary.errors
  io.write(string.format(
    "totals requests=%d bytes=%d duration_us=%d p50_us=%d p99_us=%d" ..
    " connect=%d read=%d write=%d timeout=%d status=%d\n",
    summary.requests, summary.bytes, summary.duration, latency:percentile(50), latency:percentile(99),
    errors.connect, errors.read, errors.write, errors.timeout, errors.status))
end
