-- KEYS: sorted set, companion. ARGV: stamp, ttl in ms or '', content, limit. Returns 1, or 0 for what is too old to stay
local stamp = ARGV[1]
local all = redis.call('HGET', KEYS[2], '~all') or ''
if all > stamp then return outdated(all) end
local at, settles = ending(KEYS[1], KEYS[2], stamp, ARGV[2])
local entry = stamp .. ARGV[3]
redis.call('ZADD', KEYS[1], text(time_of(stamp)), entry)
redis.call('ZREMRANGEBYRANK', KEYS[1], 0, text(-1 - tonumber(ARGV[4])))
if not redis.call('ZSCORE', KEYS[1], entry) then return 0 end
expire(KEYS[1], KEYS[2], stamp, at, settles)
return 1
