-- Purpose: takes one revocation entry back and moves the head.
-- Guarantee: entry, expiry, event, head and notice together; nothing happens when there is no such entry, or one made later.
-- KEYS: 1 head; 2 entries; 3 expiry; 4 log.
-- ARGV: 1 channel; 2 events kept; 3 entry id; 4 seq from which on a head is none; 5 ms by which the entry was made, or ''.
-- Reply: the stored entry when taken back, 0 when there was none, nil when there is no log.
local stored = redis.pcall('GET', KEYS[1])
local epoch, seq = string.match(type(stored) == 'string' and stored or '', '^([%w_-]+):(%d+)$')
if not epoch or tonumber(seq) >= tonumber(ARGV[4]) then return false end
local value = redis.call('HGET', KEYS[2], ARGV[3])
if not value then return 0 end
local up_to_ms = tonumber(ARGV[5])
if up_to_ms then
  local logged_at_ms, json = string.match(value, '^%d+:(%d+):(.*)$')
  local readable, entry = pcall(cjson.decode, json)
  local made_at_ms = readable and type(entry) == 'table' and tonumber(entry.madeAtMs) or tonumber(logged_at_ms)
  if made_at_ms and made_at_ms > up_to_ms then return 0 end
end

seq = tonumber(seq) + 1
local head = string.format('%s:%.0f', epoch, seq)
redis.call('XADD', KEYS[4], 'MAXLEN', '~', ARGV[2], string.format('%.0f-0', seq), 'undo', value)
redis.call('HDEL', KEYS[2], ARGV[3])
redis.call('ZREM', KEYS[3], ARGV[3])
redis.call('SET', KEYS[1], head)
redis.call('PUBLISH', ARGV[1], 'revocations ' .. head)
return value
