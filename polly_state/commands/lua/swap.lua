-- KEYS: hash, companion. ARGV: stamp, ttl in ms or '', how many fields are expected, field, 'is' or 'none', content for each, then field, 'set' or 'del', content for each change
local stamp, first = ARGV[1], 4 + 3 * tonumber(ARGV[3])
redis.call('HLEN', KEYS[1])
local claims, all, noted, order = unpack(redis.call('HMGET', KEYS[2], '~claims', '~all', '~ttl', '~oldest'))
if claimed(claims, stamp) then return 1 end
local newest = all or ''
for at = first, #ARGV, 3 do
    local held = redis.call('HGET', KEYS[2], 'f:' .. ARGV[at]) or ''
    if held > newest then newest = held end
end
if newest > stamp then return outdated(newest) end
for at = 4, first - 1, 3 do
    local content = redis.call('HGET', KEYS[1], ARGV[at])
    if (content or false) ~= (ARGV[at + 1] == 'is' and ARGV[at + 2]) then return 0 end
end
local at, note = ending(KEYS[1], stamp, ARGV[2], noted)
redis.call('HSET', KEYS[2], '~claims', claim(claims, stamp, '1'))
if note then redis.call('HSET', KEYS[2], '~ttl', note) end
-- First what is set, so that a hash which is never empty keeps its time.
for _, operation in ipairs({'set', 'del'}) do
    for at = first, #ARGV, 3 do
        if ARGV[at + 1] == operation then
            if operation == 'set' then
                -- Of members, whose order may be known, it may be the oldest now.
                if order then redis.call('HDEL', KEYS[2], '~oldest') end
                redis.call('HSET', KEYS[1], ARGV[at], ARGV[at + 2])
            else
                redis.call('HDEL', KEYS[1], ARGV[at])
            end
            redis.call('HSET', KEYS[2], 'f:' .. ARGV[at], stamp)
        end
    end
end
sweep(KEYS[2], stamp, 'f:c:', function(field) return redis.call('HEXISTS', KEYS[1], field) == 0 end)
expire_rest(KEYS[1], KEYS[2], at)
return 1
