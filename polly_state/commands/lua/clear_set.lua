-- KEYS: set, companion. ARGV: stamp
local stamp, kept = ARGV[1], {}
local members = redis.call('SMEMBERS', KEYS[1])
local all = redis.call('HGET', KEYS[2], '~all') or ''
local newest, stamps = all, redis.call('HGETALL', KEYS[2])
for at = 1, #stamps, 2 do
    if string.sub(stamps[at], 1, 2) == 'e:' then
        if stamps[at + 1] < stamp then
            redis.call('HDEL', KEYS[2], stamps[at])
        else
            kept[string.sub(stamps[at], 3)] = true
            if stamps[at + 1] > newest then newest = stamps[at + 1] end
        end
    end
end
if all <= stamp then
    for _, member in ipairs(members) do
        if not kept[member] then redis.call('SREM', KEYS[1], member) end
    end
    redis.call('HSET', KEYS[2], '~all', stamp)
end
if redis.call('EXISTS', KEYS[1]) == 0 then redis.call('HDEL', KEYS[2], '~sweep') end
cleared(KEYS[1], KEYS[2], stamp)
if newest > stamp then return outdated(newest) end
return 1
