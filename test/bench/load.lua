-- Load for wrk: one GET per token of the file args[1], round and round, prepared before the clock starts.
-- args[2] == "forged": every request carries the first token with a signature never seen before.
local requests, at, forged = {}, 0, nil

local function headers(token)
  return {
    ["Authorization"] = "Bearer " .. token,
    ["Accept"] = "application/json",
    ["Accept-Encoding"] = "gzip, br",
    ["User-Agent"] = "bench/1.0",
  }
end

function init(args)
  for token in io.lines(args[1]) do
    if args[2] == "forged" then
      local signed, signature = token:match("^(.*%.)([^.]*)$")
      local whole = wrk.format("GET", nil, headers(signed .. "@@@@@@@@" .. signature:sub(9)))
      local from, to = whole:find("@@@@@@@@", 1, true)
      math.randomseed(os.time())
      forged = { whole:sub(1, from - 1), whole:sub(to + 1), math.random(0, 0x7fffffff) }
      return
    end
    requests[#requests + 1] = wrk.format("GET", nil, headers(token))
  end
end

function request()
  at = at + 1
  if forged then
    return forged[1] .. string.format("%08x", (forged[3] + at) % 0x7fffffff) .. forged[2]
  end
  if at > #requests then at = 1 end
  return requests[at]
end

function done(summary, latency)
  local e = summary.errors
  io.write(string.format(
    'RESULT {"requests":%d,"durationUs":%d,"refused":%d,"failed":%d,"p50Us":%d,"p99Us":%d}\n',
    summary.requests, summary.duration, e.status, e.connect + e.read + e.write + e.timeout,
    latency:percentile(50), latency:percentile(99)))
end
