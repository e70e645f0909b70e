-- KEYS: hash, companion. ARGV: stamp, ttl in ms or '', then field, 'set' or 'del', content for each
local stamp = ARGV[1]
local all = redis.call('HGET', KEYS[2], '~all') or ''
local newest = all
for at = 3, #ARGV, 3 do
    local held = redis.call('HGET', KEYS[2], 'f:' .. ARGV[at]) or ''
    if held > newest then newest = held end
end
if newest > stamp then return outdated(newest) end
local dropped = false
for at = 3, #ARGV, 3 do
    if ARGV[at + 1] == 'set' then
        redis.call('HSET', KEYS[1], ARGV[at], ARGV[at + 2])
        redis.call('HSET', KEYS[2], 'f:' .. ARGV[at], stamp)
    else
        dropped = true
    end
end
-- Only now, so that a hash which is never empty keeps its time.
for at = 3, dropped and #ARGV or 0, 3 do
    if ARGV[at + 1] == 'del' then
        redis.call('HDEL', KEYS[1], ARGV[at])
        redis.call('HSET', KEYS[2], 'f:' .. ARGV[at], stamp)
    end
end
-- Tombstones of fields in a hash that lives on are let go in passing.
if dropped and redis.call('HLEN', KEYS[2]) % 128 == 0 then
    local stamps = redis.call('HGETALL', KEYS[2])
    for at = 1, #stamps, 2 do
        local kind, field = string.match(stamps[at], '^([fc]):(.*)$')
        if kind and redis.call('HEXISTS', KEYS[1], field) == 0
            and time_of(string.sub(stamps[at + 1], -CLAIM)) < time_of(stamp) - TOMBSTONE then
            redis.call('HDEL', KEYS[2], stamps[at])
        end
    end
end
expire(KEYS[1], KEYS[2], stamp, ARGV[2])
return 1
