-- KEYS: string, companion. ARGV: those of register.lua, which comes next, then the fence
redis.call('STRLEN', KEYS[1]) -- nothing is noted of what is no string
-- Whoever comes with a lower fence than was seen has lost what it held.
local seen = redis.call('HGET', KEYS[2], '~fence') or '0'
if tonumber(ARGV[7]) < tonumber(seen) then return redis.error_reply('FENCED a later holder has written') end
if ARGV[7] ~= seen then redis.call('HSET', KEYS[2], '~fence', ARGV[7]) end
