-- KEYS: hash, companion. ARGV: stamp, ttl in ms or '', then field, 'set' or 'del', content for each
local stamp = ARGV[1]
local all = redis.call('HGET', KEYS[2], '~all') or ''
local newest = all
for at = 3, #ARGV, 3 do
    local held = redis.call('HGET', KEYS[2], 'f:' .. ARGV[at]) or ''
    if held > newest then newest = held end
end
if newest > stamp then return outdated(newest) end
for at = 3, #ARGV, 3 do
    if ARGV[at + 1] == 'set' then
        redis.call('HSET', KEYS[1], ARGV[at], ARGV[at + 2])
    else
        redis.call('HDEL', KEYS[1], ARGV[at])
    end
    redis.call('HSET', KEYS[2], 'f:' .. ARGV[at], stamp)
end
expire(KEYS[1], KEYS[2], stamp, ARGV[2])
return 1
