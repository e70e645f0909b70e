-- Old stamps of parts that are *gone* are let go in passing: a few of them, from where the last sweep ended, with one in
-- sixteen writes. A part without a value has its stamp for a name, and claims are as old as their last.
local function sweep(companion, stamp, prefixes, gone)
    if string.sub(stamp, 12, 12) ~= '0' then return end
    local from = redis.call('HGET', companion, '~sweep') or '0'
    local found = redis.call('HSCAN', companion, from, 'COUNT', '128')
    local slots, oldest = found[2], string.format('%012x', math.max(time_of(stamp) - TOMBSTONE, 0))
    for at = 1, #slots, 2 do
        local slot, held = slots[at], string.sub(slots[at + 1], -CLAIM)
        -- Few are as old, so that is asked first.
        if held < oldest and string.find(prefixes, string.sub(slot, 1, 2), 1, true) then
            local name = string.sub(slot, 3)
            if (held == '' and name or held) < oldest and gone(name) then redis.call('HDEL', companion, slot) end
        end
    end
    redis.call('HSET', companion, '~sweep', found[1])
end
