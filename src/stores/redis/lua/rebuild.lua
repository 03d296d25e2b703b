-- Purpose: makes a revocation log where there is none or where it lost its end, and adds entries it does not hold.
-- Guarantee: replicas that race make one epoch; with several calls (more entries than fit one) the head stays hidden, as
--   '!token:until:epoch:seq', until the maker's last call, or until another replica takes over after `until`.
-- KEYS: 1 head; 2 entries; 3 expiry; 4 log.
-- ARGV: 1 time in ms or ''; 2 channel; 3 events kept; 4 new epoch; 5 epoch and 6 seq the caller has seen ('' and 0 for
--   none); 7 the caller's token; 8 '1' on its last call; then per entry: id, until in ms or '', revoked at in ms, JSON.
-- Reply: {epoch, seq, 1 when the head is visible}.
local BUILD_MS = 10000
local now = tonumber(ARGV[1])
if not now then
  local time = redis.call('TIME')
  now = time[1] * 1000 + math.floor(time[2] / 1000)
end
local stored = redis.pcall('GET', KEYS[1])
if type(stored) ~= 'string' then stored = '' end
local epoch, seq = string.match(stored, '^([%w_-]+):(%d+)$')
local builder, expires
if not epoch then
  builder, expires, epoch, seq = string.match(stored, '^!([%w_-]+):(%d+):([%w_-]+):(%d+)$')
end
seq = tonumber(seq) or 0

if not epoch or (epoch == ARGV[5] and seq < tonumber(ARGV[6])) then
  epoch, seq = ARGV[4], math.max(seq, tonumber(ARGV[6]))
  builder, expires = ARGV[7], now + BUILD_MS
  redis.call('DEL', KEYS[4])
elseif builder and tonumber(expires) < now then
  builder, expires = ARGV[7], now + BUILD_MS
end

for at = 9, #ARGV, 4 do
  local id, expiry, revoked = ARGV[at], ARGV[at + 1], tonumber(ARGV[at + 2])
  local held = redis.call('HGET', KEYS[2], id)
  if not held or tonumber(string.match(held, '^%d+:(%d+):')) < revoked then
    seq = seq + 1
    local value = string.format('%.0f:%.0f:', seq, revoked) .. ARGV[at + 3]
    redis.call('HSET', KEYS[2], id, value)
    if expiry == '' then
      redis.call('ZREM', KEYS[3], id)
    else
      redis.call('ZADD', KEYS[3], expiry, id)
    end
    redis.call('XADD', KEYS[4], 'MAXLEN', '~', ARGV[3], string.format('%.0f-0', seq), 'restore', value)
  end
end

if builder == ARGV[7] and ARGV[8] == '1' then builder = nil end
local head = string.format('%s:%.0f', epoch, seq)
if builder then
  redis.call('SET', KEYS[1], string.format('!%s:%.0f:', builder, expires) .. head)
else
  redis.call('SET', KEYS[1], head)
  redis.call('PUBLISH', ARGV[2], 'revocations ' .. head)
end
return { epoch, seq, builder and 0 or 1 }
