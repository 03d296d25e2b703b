-- Purpose: forgets the counters of one charge and tells every replica to drop refusals it remembers.
-- Guarantee: counters and notice together.
-- KEYS: one counter per rate.
-- ARGV: 1 notice channel; 2 limit key.
-- Reply: number of counters there were.
local had = redis.call('DEL', unpack(KEYS))
redis.call('PUBLISH', ARGV[1], 'limit_reset ' .. ARGV[2])
return had
