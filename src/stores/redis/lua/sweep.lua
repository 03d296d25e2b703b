-- Purpose: removes revocation entries that have expired a while ago, at most so many a call.
-- Guarantee: an entry and its expiry leave together; no event is written, since every index expires entries by itself.
-- KEYS: 1 entries; 2 expiry.
-- ARGV: 1 time in ms or ''; 2 most entries; 3 ms for which they are kept after they have expired.
-- Reply: number removed.
local now = tonumber(ARGV[1])
if not now then
  local time = redis.call('TIME')
  now = time[1] * 1000 + math.floor(time[2] / 1000)
end
local gone = redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', string.format('%.0f', now - ARGV[3]), 'LIMIT', 0, tonumber(ARGV[2]))
for g = 1, #gone do
  redis.call('HDEL', KEYS[1], gone[g])
  redis.call('ZREM', KEYS[2], gone[g])
end
return #gone
