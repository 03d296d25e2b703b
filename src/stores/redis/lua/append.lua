-- Purpose: puts one revocation entry and moves the head. Where one was made later, or is the same (by the durable store's order,
--   in which replicas need not come here), it stays, unless the new one refuses more: then that counts as the later one.
-- Guarantee: entry, expiry, event, head and notice together; seq without gaps; refuses where there is no log, while one is
--   being rebuilt, and where the log is behind what the caller has seen (data was lost).
-- KEYS: 1 head; 2 entries; 3 expiry; 4 log.
-- ARGV: 1 time in ms or ''; 2 channel; 3 events kept; 4 epoch and 5 seq the caller has seen ('' and 0 for none);
--   6 entry id; 7 until in ms or '' for ever; 8 entry as JSON; 9 seq from which on a head is none;
--   10 ms for which entries are kept after they have expired; 11 not before in ms or ''; 12 when it was made in ms or ''.
-- Reply: {epoch, seq of the head, what is stored}, or nil when refused.
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

local id = ARGV[6]
local until_ms, not_before_ms, made_at_ms = tonumber(ARGV[7]), tonumber(ARGV[11]), tonumber(ARGV[12])
local held = made_at_ms and redis.call('HGET', KEYS[2], id)
local held_at_ms, json = string.match(held or '', '^%d+:(%d+):(.*)$')
local readable, entry = pcall(cjson.decode, json)
if not readable or type(entry) ~= 'table' then entry = nil end
held_at_ms = entry and (tonumber(entry.madeAtMs) or tonumber(held_at_ms))
local draft = ARGV[8]
if held_at_ms and held_at_ms >= made_at_ms then
  local held_until_ms, held_from_ms = tonumber(entry.untilMs) or math.huge, tonumber(entry.notBeforeMs) or math.huge
  local new_until_ms, new_from_ms = until_ms or math.huge, not_before_ms or math.huge
  local held_refuses_no_less = held_until_ms >= new_until_ms and held_from_ms >= new_from_ms
  local new_refuses_no_less = new_until_ms >= held_until_ms and new_from_ms >= held_from_ms
  if held_refuses_no_less or not new_refuses_no_less then return { epoch, seq, held } end
  draft = string.gsub(draft, '"madeAtMs":%d+}$', string.format('"madeAtMs":%.0f}', held_at_ms + 1))
end

seq = seq + 1
local value = string.format('%.0f:%.0f:', seq, now) .. draft
local head = string.format('%s:%.0f', epoch, seq)
redis.call('HSET', KEYS[2], id, value)
if until_ms then
  redis.call('ZADD', KEYS[3], ARGV[7], id)
else
  redis.call('ZREM', KEYS[3], id)
end
redis.call('XADD', KEYS[4], 'MAXLEN', '~', ARGV[3], string.format('%.0f-0', seq), 'put', value)
redis.call('SET', KEYS[1], head)
redis.call('PUBLISH', ARGV[2], 'revocations ' .. head)
return { epoch, seq, value }
