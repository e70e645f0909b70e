-- KEYS: hash, companion. ARGV: stamp, ttl in ms or '', then field, 'set' or 'del', content for each
local stamp, slots = ARGV[1], {'~all', '~ttl', '~kept', '~oldest'}
local noted, set, dropped = {}, {}, {}
for at = 3, #ARGV, 3 do
    local slot = 'f:' .. ARGV[at]
    slots[#slots + 1] = slot
    noted[#noted + 1] = slot
    noted[#noted + 1] = stamp
    if ARGV[at + 1] == 'set' then
        set[#set + 1] = ARGV[at]
        set[#set + 1] = ARGV[at + 2]
    else
        dropped[#dropped + 1] = ARGV[at]
    end
end
local held = read(KEYS[2], slots)
local newest = held[1] or ''
for at = 5, #slots do
    if held[at] and held[at] > newest then newest = held[at] end
end
if newest > stamp then return outdated(newest) end
local at, note = ending(KEYS[1], stamp, ARGV[2], held[2])
if note then
    noted[#noted + 1] = '~ttl'
    noted[#noted + 1] = note
end
write('HSET', KEYS[1], set)
-- Only now, so that a hash which is never empty keeps its time.
write('HDEL', KEYS[1], dropped)
write('HSET', KEYS[2], noted)
-- What is known of the order of members, which are not put this way.
if held[4] and set[1] then redis.call('HDEL', KEYS[2], '~oldest') end
if dropped[1] then
    sweep(KEYS[2], stamp, 'f:c:', function(field) return redis.call('HEXISTS', KEYS[1], field) == 0 end)
    expire_rest(KEYS[1], KEYS[2], at)
else
    expire(KEYS[1], KEYS[2], held[3], at)
end
return 1
