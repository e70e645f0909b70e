-- KEYS: set, companion. ARGV: stamp, ttl in ms or '', then member, 'add' or 'drop' for each
local stamp, slots = ARGV[1], {'~all', '~ttl', '~kept'}
for at = 3, #ARGV, 2 do slots[#slots + 1] = 'e:' .. ARGV[at] end
local held, newest = read(KEYS[2], slots), ''
local noted, added, dropped = {}, {}, {}
for at = 1, #slots do
    if at ~= 2 and at ~= 3 and held[at] and held[at] > newest then newest = held[at] end
end
if newest > stamp then return outdated(newest) end
for at = 4, #slots do
    local member = ARGV[2 * at - 5]
    noted[#noted + 1] = slots[at]
    noted[#noted + 1] = stamp
    if ARGV[2 * at - 4] == 'add' then
        added[#added + 1] = member
    elseif held[at] ~= stamp then -- to add wins a tie
        dropped[#dropped + 1] = member
    end
end
local at, note = ending(KEYS[1], stamp, ARGV[2], held[2])
if note then
    noted[#noted + 1] = '~ttl'
    noted[#noted + 1] = note
end
write('SADD', KEYS[1], added)
-- Only now, so that a set which is never empty keeps its time.
write('SREM', KEYS[1], dropped)
if not added[1] and not dropped[1] then redis.call('SCARD', KEYS[1]) end -- which fails if it is no set
write('HSET', KEYS[2], noted)
if #added < #slots - 3 then
    sweep(KEYS[2], stamp, 'e:', function(member) return redis.call('SISMEMBER', KEYS[1], member) == 0 end)
    expire_rest(KEYS[1], KEYS[2], at)
else
    expire(KEYS[1], KEYS[2], held[3], at)
end
return 1
