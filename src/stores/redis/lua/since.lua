-- Purpose: the events of the revocation log after a head.
-- Guarantee: all of them, without a gap, or nil: another epoch, no log, a log that is behind, or a stream cut too short.
-- KEYS: 1 head; 2 log.
-- ARGV: 1 epoch; 2 seq; 3 most events.
-- Reply: list of {type, value}, or nil.
local epoch, seq = string.match(redis.call('GET', KEYS[1]) or '', '^([%w_-]+):(%d+)$')
seq = tonumber(seq)
local from = tonumber(ARGV[2])
if epoch ~= ARGV[1] or seq < from or seq - from > tonumber(ARGV[3]) then return false end
if seq == from then return {} end
local events = redis.call('XRANGE', KEYS[2], string.format('%.0f-0', from + 1), '+')
if #events ~= seq - from then return false end
local reply = {}
for e = 1, #events do reply[e] = events[e][2] end
return reply
