-- Purpose: the events of the revocation log after a head.
-- Guarantee: all of them, without a gap, or nil: another epoch, no log, one that is behind or lost its entries as a whole
--   (rebuild.lua marks them), or a stream cut too short.
-- KEYS: 1 head; 2 log; 3 entries.
-- ARGV: 1 epoch; 2 seq; 3 most events; 4 field of the mark.
-- Reply: list of {type, value}, or nil.
local stored = redis.pcall('GET', KEYS[1])
local epoch, seq = string.match(type(stored) == 'string' and stored or '', '^([%w_-]+):(%d+)$')
seq = tonumber(seq)
local from = tonumber(ARGV[2])
if epoch ~= ARGV[1] or seq < from or seq - from > tonumber(ARGV[3]) then return false end
local mark = redis.pcall('HGET', KEYS[3], ARGV[4])
if type(mark) ~= 'string' or not string.find(mark, '"id":"' .. epoch .. '"', 1, true) then return false end
if seq == from then return {} end
local events = redis.pcall('XRANGE', KEYS[2], string.format('%.0f-0', from + 1), '+')
if events.err or #events ~= seq - from then return false end
local reply = {}
for e = 1, #events do reply[e] = events[e][2] end
return reply
