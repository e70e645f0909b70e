-- KEYS: sorted set, companion. ARGV: stamp, ttl in ms or '', content, limit. Returns 1, or 0 for what is too old to stay
local stamp = ARGV[1]
local all, noted, kept = unpack(redis.call('HMGET', KEYS[2], '~all', '~ttl', '~kept'))
if all and all > stamp then return outdated(all) end
local at, note = ending(KEYS[1], stamp, ARGV[2], noted)
local entry = stamp .. ARGV[3]
redis.call('ZADD', KEYS[1], time_of(stamp), entry)
local removed = redis.call('ZREMRANGEBYRANK', KEYS[1], 0, -1 - ARGV[4])
if removed > 0 and not redis.call('ZSCORE', KEYS[1], entry) then return 0 end
if note then redis.call('HSET', KEYS[2], '~ttl', note) end
expire(KEYS[1], KEYS[2], kept, at)
return 1
