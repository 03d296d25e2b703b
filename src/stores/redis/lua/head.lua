-- Purpose: the head of the revocation log.
-- Guarantee: what stands there and is no text counts as none.
-- KEYS: 1 head.
-- Reply: the text, or nil.
local stored = redis.pcall('GET', KEYS[1])
return type(stored) == 'string' and stored
