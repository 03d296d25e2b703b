-- Purpose: the check of a whole event-loop turn: the revocation head, and all limits of up to 256 requests.
-- Guarantee: atomic; per request all or nothing over its enforced rates; a request whose key is broken is spoiled alone;
--   requests of one batch on one key are charged one after the other; no counter lives longer than two windows.
--   A lane of a Cluster holds counters only: its call reads no head, and says at what time it charged (give-back.lua).
--   A master that Sentinels named must take writes, or the call is an error: without replicas (NOREPLICAS) or demoted
--   (READONLY) it may have been replaced, and its head is an old one.
--   When Redis refuses writes (OOM, MISCONF, NOREPLICAS, READONLY) nothing is charged and the head is still answered.
--   A clock that is set back by more than a window frees nobody: what was counted counts from now on, once.
--   Arithmetic as in stores/memory/window.ts, operation by operation, so that both answer alike.
-- KEYS: 1 head (none for a lane); then one counter per rate, in the order of requests, charges, rates.
-- ARGV: 1 time in ms or '' for Redis' own; 2 '1' to charge, '0' only to look, '3' and '2' the same for a lane, '5' and '4' the
--   same on a master that Sentinels named; 3 number of the call; 4 number of shapes; per shape: number of rates, then per rate
--   algorithm (0 sliding, 1 log), group (0 enforced, n the n-th shadow charge), limit, window in ms;
--   then one shape number per request.
-- Reply: head or nil (for a lane the time in ms); per request either (remaining, reset) per rate, or one string with its error;
--   the number of the call, so that no answer is taken for that of another call.
local call, pack, unpack_bytes = redis.call, struct.pack, struct.unpack
local floor, ceil, max, min = math.floor, math.ceil, math.max, math.min
local FORMAT, BYTES = '<I6I4I4', 14

local now = tonumber(ARGV[1])
if not now then
  local time = call('TIME')
  now = time[1] * 1000 + floor(time[2] / 1000)
end

local mode = tonumber(ARGV[2])
local charging, lane = mode % 2 == 1, mode == 2 or mode == 3
if mode >= 4 then
  -- Deleting what is not there is refused like every write, and is neither one nor sent to replicas.
  local tried = redis.pcall('DEL', KEYS[1] .. ':none')
  local code = type(tried) == 'table' and string.match(tried.err or '', '^%-?(%u+)')
  if code == 'NOREPLICAS' or code == 'READONLY' then return redis.error_reply(code .. ' not believed') end
end
local shapes, arg = {}, 5
for s = 1, tonumber(ARGV[4]) do
  local rates = {}
  local count = tonumber(ARGV[arg])
  for r = 1, count do
    local at = arg + 4 * (r - 1)
    rates[r] = {
      log = ARGV[at + 1] == '1',
      group = tonumber(ARGV[at + 2]),
      limit = tonumber(ARGV[at + 3]),
      window = tonumber(ARGV[at + 4])
    }
  end
  shapes[s] = rates
  arg = arg + 1 + 4 * count
end

local loaded, dirty = {}, {}

local function load_sliding(key, window)
  local index, cur, prev, fresh, moved = floor(now / window), 0, 0, true, false
  local raw = call('GET', key)
  if raw then
    if #raw ~= BYTES then error('counter malformed') end
    local stored, stored_cur, stored_prev = unpack_bytes(FORMAT, raw)
    if index < stored - 1 then
      cur, moved = stored_cur + stored_prev, true
    elseif index <= stored then
      index, cur, prev, fresh = stored, stored_cur, stored_prev, false
    elseif index == stored + 1 then
      prev = stored_cur
    end
  end
  local since = now - index * window
  local at = {
    index = index, cur = cur, prev = prev, fresh = fresh, hits = 0, window = window,
    elapsed = max(0, since), ahead = max(0, -since)
  }
  -- A ninth field of every counter would double its table.
  if moved then at.moved = true end
  return at
end

local function load_log(key, window)
  local at = { log = true, key = key, len = 0, gone = 0, time = now, hits = 0, window = window }
  local newest = call('LINDEX', key, -1)
  if not newest then return at end
  if tonumber(newest) > now + window then
    at.moved, at.len = true, call('LLEN', key)
    return at
  end
  at.time = max(now, tonumber(newest))
  local hit = call('LINDEX', key, 0)
  while hit and tonumber(hit) <= at.time - window do
    at.gone = at.gone + 1
    hit = call('LINDEX', key, at.gone)
  end
  if charging and at.gone > 0 then
    call('LTRIM', key, at.gone, -1)
    at.gone = 0
  end
  at.len = call('LLEN', key) - at.gone
  return at
end

local function load(key, rate)
  local at = loaded[key]
  if not at then
    at = rate.log and load_log(key, rate.window) or load_sliding(key, rate.window)
    loaded[key] = at
    -- Written even where nothing is charged: who is refused would else be counted from "now" at every call, for ever.
    if at.moved and charging then dirty[#dirty + 1] = key end
  end
  return at
end

local function fits(prev, cur, limit, window, elapsed)
  return prev * (window - elapsed) / window + cur + 1 <= limit
end

local function has_room(at, limit)
  if at.log then return at.len + at.hits + 1 <= limit end
  return fits(at.prev, at.cur, limit, at.window, at.elapsed)
end

local function first_fit(prev, cur, limit, window, from)
  if cur + 1 > limit then return window end
  if prev == 0 then return from end
  local at = min(window, max(from, ceil(window - (limit - 1 - cur) * window / prev)))
  while at < window and not fits(prev, cur, limit, window, at) do at = at + 1 end
  while at > from and fits(prev, cur, limit, window, at - 1) do at = at - 1 end
  return at
end

local function reset_log(at, limit)
  local count = at.len + at.hits
  if count == 0 then return at.window end
  local place = max(0, count - limit)
  local leaving = place < at.len and tonumber(call('LINDEX', at.key, at.gone + place)) or at.time
  return min(at.window, leaving + at.window - now)
end

local function reset_sliding(at, limit, room)
  local window, elapsed = at.window, at.elapsed
  if room then return min(2 * window, at.ahead + window - elapsed) end
  local here = first_fit(at.prev, at.cur, limit, window, elapsed)
  local wait
  if here < window then
    wait = here - elapsed
  else
    wait = window - elapsed + first_fit(at.cur, 0, limit, window, 0)
  end
  return min(2 * window, at.ahead + wait)
end

local function remaining(at, limit, room)
  if not room then return 0 end
  if at.log then return limit - at.len - at.hits end
  return max(1, floor(limit - (at.prev * (at.window - at.elapsed) / at.window + at.cur)))
end

local reply = { false }
local counters, over = {}, {}

-- One request: look at every rate, then charge all or nothing, then tell. Errors can only come from looking.
local function decide(rates, first_key)
  local refused = false
  for r = 1, #rates do over[rates[r].group] = nil end
  for r = 1, #rates do
    local rate = rates[r]
    local at = load(KEYS[first_key + r - 1], rate)
    counters[r] = at
    if not has_room(at, rate.limit) then
      over[rate.group] = true
      if rate.group == 0 then refused = true end
    end
  end
  if charging and not refused then
    for r = 1, #rates do
      local at = counters[r]
      if not over[rates[r].group] then
        if at.hits == 0 and not at.moved then dirty[#dirty + 1] = KEYS[first_key + r - 1] end
        at.hits = at.hits + 1
        if not at.log then at.cur = at.cur + 1 end
      end
    end
  end
  local out = #reply
  for r = 1, #rates do
    local at, rate = counters[r], rates[r]
    local room = has_room(at, rate.limit)
    reply[out + 1] = (over[rate.group] and not room) and -1 or remaining(at, rate.limit, room)
    reply[out + 2] = at.log and reset_log(at, rate.limit) or reset_sliding(at, rate.limit, room)
    out = out + 2
  end
end

local key = lane and 1 or 2
for request = arg, #ARGV do
  local rates = shapes[tonumber(ARGV[request])]
  local before = #reply
  local ok, problem = pcall(decide, rates, key)
  if not ok then
    for spoiled = #reply, before + 1, -1 do reply[spoiled] = nil end
    reply[before + 1] = tostring(type(problem) == 'table' and problem.err or problem)
  end
  key = key + #rates
end

-- A counter that is already there keeps its expiry: SETRANGE costs half of what setting it again does.
local function write(name)
  local at = loaded[name]
  if at.log then
    local hit = string.format('%.0f', at.time)
    if at.moved then
      call('DEL', name)
      -- One by one, 100,000 would hold Redis up for 0.3 s.
      local some = {}
      for n = 1, min(at.len, 1000) do some[n] = hit end
      for left = at.len, 1, -1000 do call('RPUSH', name, unpack(some, 1, min(left, 1000))) end
    end
    for _ = 1, at.hits do call('RPUSH', name, hit) end
    -- From the newest hit on: a clock that is behind would let Redis drop the hits of before at once when it is set right.
    call('PEXPIRE', name, at.time - now + at.window)
  elseif at.fresh then
    call('PSETEX', name, 2 * at.window, pack(FORMAT, at.index, at.cur, at.prev))
  else
    call('SETRANGE', name, 0, pack(FORMAT, at.index, at.cur, at.prev))
  end
end

for d = 1, #dirty do
  local ok, problem = pcall(write, dirty[d])
  if not ok then
    local text = tostring(type(problem) == 'table' and problem.err or problem)
    reply = { false }
    for request = arg, #ARGV do
      if #shapes[tonumber(ARGV[request])] > 0 then reply[#reply + 1] = text end
    end
    break
  end
end

reply[#reply + 1] = tonumber(ARGV[3])
if lane then
  reply[1] = now
  return reply
end
local head = redis.pcall('GET', KEYS[1])
if type(head) == 'string' then reply[1] = head end
return reply
