-- Purpose: the head from which the entries may be read.
-- Guarantee: only of a log that is whole: its entries carry the mark of this epoch, which goes when they are lost as a whole.
-- KEYS: 1 head; 2 entries.
-- ARGV: 1 time in ms or ''; 2 field of the mark; 3 seq from which on a head is none; 4 the caller's token (rebuild.lua).
-- Reply: the head; 'building' while another replica rebuilds the log; nil when there is none, or none that is whole.
local now = tonumber(ARGV[1])
if not now then
  local time = redis.call('TIME')
  now = time[1] * 1000 + math.floor(time[2] / 1000)
end
local stored = redis.pcall('GET', KEYS[1])
if type(stored) ~= 'string' then return false end
local builder, expires = string.match(stored, '^!([%w_-]+):(%d+):')
if builder then return builder ~= ARGV[4] and tonumber(expires) >= now and 'building' end
local epoch, seq = string.match(stored, '^([%w_-]+):(%d+)$')
if not epoch or tonumber(seq) >= tonumber(ARGV[3]) then return false end
local mark = redis.pcall('HGET', KEYS[2], ARGV[2])
return type(mark) == 'string' and string.find(mark, '"id":"' .. epoch .. '"', 1, true) and stored or false
