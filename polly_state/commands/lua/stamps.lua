-- What the scripts share. A stamp is 24 hex digits: 12 of milliseconds, 4 of a counter, 8 of the origin.
local TOMBSTONE = 86400000 -- how long the stamps of what is gone are kept, in ms
local CLAIM = 25           -- length of a remembered claim: its stamp and one character of result
local MEMORY = 10000       -- how long claims are remembered, in ms: far longer than a command is resent
local CLAIMS = 256         -- how many, at most

local function time_of(stamp) return tonumber(string.sub(stamp, 1, 12), 16) end

local function text(number) return string.format('%.0f', number) end

local function outdated(stamp) return redis.error_reply('OUTDATED ' .. stamp) end

-- The companion outlives its key by the tombstone time, or for good when the key does.
local function keep_companion(key, companion)
    local left = redis.call('PTTL', key)
    if left == -1 then return redis.call('PERSIST', companion) end
    return redis.call('PEXPIRE', companion, text(math.max(left, 0) + TOMBSTONE))
end

-- A ttl runs from the stamp: '' is none. The newest write with one settles when the key ends, in whatever order they
-- arrive. One that is late, or comes again, leaves the end of what is there as it is, and what it brings back ends when the
-- newest would have had it end. To be asked before the write: the end, or nil, and whether this settles it.
local function ending(key, companion, stamp, ttl)
    if ttl == '' then return nil, false end
    local noted = redis.call('HGET', companion, '~ttl') or ''
    if string.sub(noted, 1, 24) < stamp then return text(time_of(stamp) + tonumber(ttl)), true end
    if redis.call('EXISTS', key) == 1 then return nil, false end
    return string.sub(noted, 26), false
end

local function expire(key, companion, stamp, at, settles)
    if at then redis.call('PEXPIREAT', key, at) end
    if settles then redis.call('HSET', companion, '~ttl', stamp .. ' ' .. at) end
    return keep_companion(key, companion)
end

-- What is left after a clear is newer, and so does not end as what is older had settled.
local function cleared(key, companion, stamp)
    local noted = redis.call('HGET', companion, '~ttl')
    if noted and string.sub(noted, 1, 24) < stamp then
        redis.call('HDEL', companion, '~ttl')
        redis.call('PERSIST', key)
    end
    return keep_companion(key, companion)
end

-- Old stamps of parts that are *gone* are let go in passing: a few of them, from where the last sweep ended, with one in
-- sixteen writes. A part without a value has its stamp for a name, and claims are as old as their last.
local function sweep(companion, stamp, prefixes, gone)
    if string.sub(stamp, 12, 12) ~= '0' then return end
    local from = redis.call('HGET', companion, '~sweep') or '0'
    local found = redis.call('HSCAN', companion, from, 'COUNT', '128')
    local slots, oldest = found[2], time_of(stamp) - TOMBSTONE
    for at = 1, #slots, 2 do
        if string.find(prefixes, string.sub(slots[at], 1, 2), 1, true) then
            local name, held = string.sub(slots[at], 3), string.sub(slots[at + 1], -CLAIM)
            if time_of(held == '' and name or held) < oldest and gone(name) then redis.call('HDEL', companion, slots[at]) end
        end
    end
    redis.call('HSET', companion, '~sweep', found[1])
end

-- A claim is a write that depended on what was there; it is remembered, so that sending it again is harmless.
local function claimed(companion, field, stamp)
    local claims = redis.call('HGET', companion, field) or ''
    for at = 1, #claims, CLAIM do
        if string.sub(claims, at, at + CLAIM - 2) == stamp then return string.sub(claims, at + CLAIM - 1, at + CLAIM - 1) end
    end
    return nil
end

local function claim(companion, field, stamp, result)
    local claims, first = redis.call('HGET', companion, field) or '', 1
    while first <= #claims and (time_of(string.sub(claims, first)) < time_of(stamp) - MEMORY
        or #claims - first + 1 >= CLAIMS * CLAIM) do first = first + CLAIM end
    redis.call('HSET', companion, field, string.sub(claims, first) .. stamp .. result)
end
