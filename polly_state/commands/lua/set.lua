-- KEYS: set, companion. ARGV: stamp, ttl in ms or '', then member, 'add' or 'drop' for each
local stamp, held = ARGV[1], {}
local newest = redis.call('HGET', KEYS[2], '~all') or ''
for at = 3, #ARGV, 2 do
    held[at] = redis.call('HGET', KEYS[2], 'e:' .. ARGV[at]) or ''
    if held[at] > newest then newest = held[at] end
end
if newest > stamp then return outdated(newest) end
local at, settles = ending(KEYS[1], KEYS[2], stamp, ARGV[2])
local dropped = false
for at = 3, #ARGV, 2 do
    if ARGV[at + 1] == 'add' then
        redis.call('SADD', KEYS[1], ARGV[at])
        redis.call('HSET', KEYS[2], 'e:' .. ARGV[at], stamp)
    else
        dropped = true
    end
end
-- Only now, so that a set which is never empty keeps its time.
for at = 3, dropped and #ARGV or 0, 2 do
    if ARGV[at + 1] == 'drop' then
        -- To add wins a tie.
        redis.call(held[at] == stamp and 'SISMEMBER' or 'SREM', KEYS[1], ARGV[at])
        redis.call('HSET', KEYS[2], 'e:' .. ARGV[at], stamp)
    end
end
if dropped then
    sweep(KEYS[2], stamp, 'e:', function(member) return redis.call('SISMEMBER', KEYS[1], member) == 0 end)
end
expire(KEYS[1], KEYS[2], stamp, at, settles)
return 1
