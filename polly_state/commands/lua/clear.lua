-- KEYS: hash, companion. ARGV: stamp
local stamp, kept = ARGV[1], {}
local fields = redis.call('HKEYS', KEYS[1])
local all = redis.call('HGET', KEYS[2], '~all') or ''
local newest, stamps = all, redis.call('HGETALL', KEYS[2])
for at = 1, #stamps, 2 do
    local kind, field = string.match(stamps[at], '^([fc]):(.*)$')
    local held = kind and string.sub(stamps[at + 1], -CLAIM, kind == 'c' and -2 or -1)
    if kind and held < stamp then
        redis.call('HDEL', KEYS[2], stamps[at])
    elseif kind == 'f' then
        kept[field] = true
        if held > newest then newest = held end
    end
end
if all <= stamp then
    for _, field in ipairs(fields) do
        if not kept[field] then redis.call('HDEL', KEYS[1], field) end
    end
    redis.call('HSET', KEYS[2], '~all', stamp)
end
if redis.call('EXISTS', KEYS[1]) == 0 then redis.call('HDEL', KEYS[2], '~sweep') end
cleared(KEYS[1], KEYS[2], stamp)
if newest > stamp then return outdated(newest) end
return 1
