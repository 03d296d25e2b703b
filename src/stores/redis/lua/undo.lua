-- Purpose: takes one revocation entry back and moves the head.
-- Guarantee: entry, expiry, event, head and notice together; nothing happens when there is no such entry.
-- KEYS: 1 head; 2 entries; 3 expiry; 4 log.
-- ARGV: 1 channel; 2 events kept; 3 entry id; 4 seq from which on a head is none.
-- Reply: the stored entry when taken back, 0 when there was none, nil when there is no log.
local stored = redis.pcall('GET', KEYS[1])
local epoch, seq = string.match(type(stored) == 'string' and stored or '', '^([%w_-]+):(%d+)$')
if not epoch or tonumber(seq) >= tonumber(ARGV[4]) then return false end
local value = redis.call('HGET', KEYS[2], ARGV[3])
if not value then return 0 end

seq = tonumber(seq) + 1
local head = string.format('%s:%.0f', epoch, seq)
redis.call('XADD', KEYS[4], 'MAXLEN', '~', ARGV[2], string.format('%.0f-0', seq), 'undo', value)
redis.call('HDEL', KEYS[2], ARGV[3])
redis.call('ZREM', KEYS[3], ARGV[3])
redis.call('SET', KEYS[1], head)
redis.call('PUBLISH', ARGV[1], 'revocations ' .. head)
return value
