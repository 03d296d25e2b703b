-- Purpose: puts one revocation entry and moves the head.
-- Guarantee: entry, expiry, event, head and notice together; seq without gaps; refuses where there is no log, while one is
--   being rebuilt, and where the log is behind what the caller has seen (data was lost).
-- KEYS: 1 head; 2 entries; 3 expiry; 4 log.
-- ARGV: 1 time in ms or ''; 2 channel; 3 events kept; 4 epoch and 5 seq the caller has seen ('' and 0 for none);
--   6 entry id; 7 until in ms or '' for ever; 8 entry as JSON; 9 seq from which on a head is none;
--   10 ms for which entries are kept after they have expired.
-- Reply: {seq, revoked at in ms, epoch}, or nil when refused.
local now = tonumber(ARGV[1])
if not now then
  local time = redis.call('TIME')
  now = time[1] * 1000 + math.floor(time[2] / 1000)
end
local stored = redis.pcall('GET', KEYS[1])
local epoch, seq = string.match(type(stored) == 'string' and stored or '', '^([%w_-]+):(%d+)$')
seq = tonumber(seq)
if not epoch or seq >= tonumber(ARGV[9]) or (epoch == ARGV[4] and seq < tonumber(ARGV[5])) then return false end

for _, gone in ipairs(redis.call('ZRANGEBYSCORE', KEYS[3], '-inf', string.format('%.0f', now - ARGV[10]), 'LIMIT', 0, 100)) do
  redis.call('HDEL', KEYS[2], gone)
  redis.call('ZREM', KEYS[3], gone)
end

seq = seq + 1
local id, value = ARGV[6], string.format('%.0f:%.0f:', seq, now) .. ARGV[8]
local head = string.format('%s:%.0f', epoch, seq)
redis.call('HSET', KEYS[2], id, value)
if ARGV[7] == '' then
  redis.call('ZREM', KEYS[3], id)
else
  redis.call('ZADD', KEYS[3], ARGV[7], id)
end
redis.call('XADD', KEYS[4], 'MAXLEN', '~', ARGV[3], string.format('%.0f-0', seq), 'put', value)
redis.call('SET', KEYS[1], head)
redis.call('PUBLISH', ARGV[2], 'revocations ' .. head)
return { seq, now, epoch }
