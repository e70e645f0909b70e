-- KEYS: key, companion. ARGV: stamp, ttl in ms
if redis.call('EXISTS', KEYS[1]) == 0 then return 0 end
local value, all, noted, kept = unpack(redis.call('HMGET', KEYS[2], '~value', '~all', '~ttl', '~kept'))
if (value or '') > ARGV[1] or (all or '') > ARGV[1] then return 1 end
local at, note = ending(KEYS[1], ARGV[1], ARGV[2], noted)
if note then redis.call('HSET', KEYS[2], '~ttl', note) end
expire(KEYS[1], KEYS[2], kept, at)
return 1
