-- KEYS: hash, companion. ARGV: stamp
local stamp = ARGV[1]
redis.call('HLEN', KEYS[1])
local held = redis.call('HGET', KEYS[2], '~all') or ''
if held > stamp then return outdated(held) end
local stamps = redis.call('HGETALL', KEYS[2])
local newest = ''
for at = 1, #stamps, 2 do
    if string.sub(stamps[at], 1, 2) == 'f:' and stamps[at + 1] > newest then newest = stamps[at + 1] end
end
if newest > stamp then return outdated(newest) end
for at = 1, #stamps, 2 do
    if string.find(stamps[at], '^[fc]:') then redis.call('HDEL', KEYS[2], stamps[at]) end
end
redis.call('DEL', KEYS[1])
redis.call('HDEL', KEYS[2], '~ttl')
redis.call('HSET', KEYS[2], '~all', stamp)
expire(KEYS[1], KEYS[2], stamp, '')
return 1
