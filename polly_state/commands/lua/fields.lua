-- KEYS: hash, companion. ARGV: stamp, ttl in ms or '', then field, 'set' or 'del', content for each
local stamp = ARGV[1]
local all = redis.call('HGET', KEYS[2], '~all') or ''
local newest = all
for at = 3, #ARGV, 3 do
    local held = redis.call('HGET', KEYS[2], 'f:' .. ARGV[at]) or ''
    if held > newest then newest = held end
end
if newest > stamp then return outdated(newest) end
local at, settles = ending(KEYS[1], KEYS[2], stamp, ARGV[2])
local dropped, set = false, false
for at = 3, #ARGV, 3 do
    if ARGV[at + 1] == 'set' then
        set = true
        redis.call('HSET', KEYS[1], ARGV[at], ARGV[at + 2])
        redis.call('HSET', KEYS[2], 'f:' .. ARGV[at], stamp)
    else
        dropped = true
    end
end
-- What is known of the order of members, which are not put this way.
if set then redis.call('HDEL', KEYS[2], '~oldest') end
-- Only now, so that a hash which is never empty keeps its time.
for at = 3, dropped and #ARGV or 0, 3 do
    if ARGV[at + 1] == 'del' then
        redis.call('HDEL', KEYS[1], ARGV[at])
        redis.call('HSET', KEYS[2], 'f:' .. ARGV[at], stamp)
    end
end
if dropped then
    sweep(KEYS[2], stamp, 'f:c:', function(field) return redis.call('HEXISTS', KEYS[1], field) == 0 end)
end
expire(KEYS[1], KEYS[2], stamp, at, settles)
return 1
