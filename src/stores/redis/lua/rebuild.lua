-- Purpose: makes a revocation log where there is none or where it lost its end, and adds entries it does not hold.
-- Guarantee: replicas that race make one epoch; with several calls (more entries than fit one) the head stays hidden, as
--   '!token:until:epoch:seq', until the maker's last call, or until another replica takes over after `until`; the others add
--   nothing meanwhile. The entries are marked with the epoch: that they were lost as a whole shows even when the head stayed.
--   What is meant to complete a log, or an earlier call, adds nothing once that is lost: a log of the rest would pass for whole.
-- KEYS: 1 head; 2 entries; 3 expiry; 4 log.
-- ARGV: 1 time in ms or ''; 2 channel; 3 events kept; 4 field of the mark; 5 seq from which on a head is none; 6 new epoch;
--   7 epoch and 8 seq the caller has seen ('' and 0 for none); 9 the caller's token; 10 '1' on its last call; 11 epoch
--   and 12 seq that must be there ('' and 0 for none): of the log as the caller has read it, or as the call before answered;
--   then per entry: id, until in ms or '', revoked at in ms, JSON.
-- Reply: {epoch, seq, 'building' while another replica makes it, 'lost' when that is gone, 'hidden'
--   before the last call of several, else 'made', how many were told}.
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

local mark = redis.pcall('HGET', KEYS[2], ARGV[4])
-- Of another type: whoever wrote it, it is not ours.
if type(mark) == 'table' then redis.call('DEL', KEYS[2]) end
local marked = epoch and type(mark) == 'string' and string.find(mark, '"id":"' .. epoch .. '"', 1, true)
if ARGV[11] ~= '' and (not marked or epoch ~= ARGV[11] or seq < tonumber(ARGV[12])) then return { '', 0, 'lost', 0 } end
local most = tonumber(ARGV[5])
if not marked or seq >= most or (epoch == ARGV[7] and seq < tonumber(ARGV[8])) then
  epoch, seq = ARGV[6], math.max(seq, tonumber(ARGV[8]))
  if seq >= most / 2 then seq = 0 end
  builder, expires = ARGV[9], now + BUILD_MS
  redis.call('DEL', KEYS[4])
  if type(redis.pcall('ZCARD', KEYS[3])) == 'table' then redis.call('DEL', KEYS[3]) end
  redis.call('HSET', KEYS[2], ARGV[4],
    '0:0:{"kind":"key","issuer":"urn:doorward:log","id":"' .. epoch .. '","untilMs":"forever","reason":"marks a whole log"}')
elseif builder and (builder == ARGV[9] or tonumber(expires) < now) then
  builder, expires = ARGV[9], now + BUILD_MS
end
if builder and builder ~= ARGV[9] then return { epoch, seq, 'building', 0 } end

-- By the order of the durable store: Redis' own time may have been set back, and is of what came late.
local function made_at_ms(revoked, json)
  local readable, entry = pcall(cjson.decode, json)
  return readable and type(entry) == 'table' and tonumber(entry.madeAtMs) or tonumber(revoked) or 0
end

for at = 13, #ARGV, 4 do
  local id, expiry, revoked = ARGV[at], ARGV[at + 1], tonumber(ARGV[at + 2])
  local held = redis.call('HGET', KEYS[2], id)
  if not held or made_at_ms(revoked, ARGV[at + 3]) > made_at_ms(string.match(held, '^%d+:(%d+):(.*)$')) then
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

if ARGV[10] == '1' then builder = nil end
local head = string.format('%s:%.0f', epoch, seq)
if builder then
  redis.call('SET', KEYS[1], string.format('!%s:%.0f:', builder, expires) .. head)
  return { epoch, seq, 'hidden', 0 }
end
redis.call('SET', KEYS[1], head)
return { epoch, seq, 'made', redis.call('PUBLISH', ARGV[2], 'revocations ' .. head) }
