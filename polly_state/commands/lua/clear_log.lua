-- KEYS: sorted set, companion. ARGV: stamp
local stamp = ARGV[1]
redis.call('ZCARD', KEYS[1])
local newest = redis.call('HGET', KEYS[2], '~all') or ''
if newest <= stamp then
    local time = text(time_of(stamp))
    redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', '(' .. time)
    for _, entry in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], time, time)) do
        if string.sub(entry, 1, #stamp) < stamp then redis.call('ZREM', KEYS[1], entry) end
    end
    redis.call('HSET', KEYS[2], '~all', stamp)
end
local last = redis.call('ZRANGE', KEYS[1], -1, -1)[1]
cleared(KEYS[1], KEYS[2], stamp)
if last and string.sub(last, 1, #stamp) > newest then newest = string.sub(last, 1, #stamp) end
if newest > stamp then return outdated(newest) end
return 1
