-- Purpose: takes back charges of requests that another lane of a Cluster refused (check.lua charged this one already).
-- Guarantee: best effort, and never more than was charged: a charge that cannot be told any more stays.
-- KEYS: one counter per charged rate; the same one as often as it was charged.
-- ARGV: 1 time of the charges in ms; then per key: 0 sliding or 1 log, window in ms.
-- Reply: number of charges taken back.
local call, pack, unpack_bytes = redis.call, struct.pack, struct.unpack
local FORMAT, BYTES = '<I6I4I4', 14
local time = tonumber(ARGV[1])

local function give_back_sliding(key, window)
  local raw = call('GET', key)
  if not raw or #raw ~= BYTES then return 0 end
  local index, cur, prev = unpack_bytes(FORMAT, raw)
  local charged = math.floor(time / window)
  if index == charged and cur > 0 then
    cur = cur - 1
  elseif index == charged + 1 and prev > 0 then
    prev = prev - 1
  else
    return 0
  end
  call('SETRANGE', key, 0, pack(FORMAT, index, cur, prev))
  return 1
end

local given = 0
for k = 1, #KEYS do
  if ARGV[2 * k] == '1' then
    given = given + call('LREM', KEYS[k], -1, string.format('%.0f', time))
  else
    given = given + give_back_sliding(KEYS[k], tonumber(ARGV[2 * k + 1]))
  end
end
return given
