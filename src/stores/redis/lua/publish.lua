-- Stores a published document unless one of a higher sequence number is there, and tells all replicas.
-- KEYS: hash of documents of the kind. ARGV: name, seq, document, channel, notice, and perhaps the document that gives way
-- whatever its number. Returns 1 when stored, else 0.
local held = redis.call('HGET', KEYS[1], ARGV[1])
if held then
  local seq = tonumber(string.match(held, '^(%d+) '))
  local gives_way = ARGV[6] and string.match(held, '^[^ ]* (.*)$') == ARGV[6]
  if seq and seq > tonumber(ARGV[2]) and not gives_way then return 0 end
end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2] .. ' ' .. ARGV[3])
redis.call('PUBLISH', ARGV[4], ARGV[5])
return 1
