-- Purpose: says that a replica is alive, and counts those that are.
-- Guarantee: a replica that has not called for `lifetime` is not counted; the set dies with the last replica.
-- KEYS: 1 replicas.
-- ARGV: 1 instance id; 2 lifetime in ms, 0 to leave.
-- Reply: number of live replicas.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local lifetime = tonumber(ARGV[2])
if lifetime == 0 then
  redis.call('ZREM', KEYS[1], ARGV[1])
else
  redis.call('ZADD', KEYS[1], string.format('%.0f', now + lifetime), ARGV[1])
  redis.call('PEXPIRE', KEYS[1], lifetime)
end
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', '(' .. string.format('%.0f', now))
return redis.call('ZCARD', KEYS[1])
