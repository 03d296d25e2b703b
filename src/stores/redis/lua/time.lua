-- Purpose: the clock of the revocation log.
-- Guarantee: that of the server which holds the head; a Cluster asks it by the key.
-- KEYS: 1 head.
-- Reply: ms since the epoch.
local now = redis.call('TIME')
return now[1] * 1000 + math.floor(now[2] / 1000)
