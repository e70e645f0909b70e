-- What all scripts share. A stamp is 24 hex digits: 12 of milliseconds, 4 of a counter, 8 of the origin.
local TOMBSTONE = 86400000 -- how long the stamps of what is gone are kept, in ms
local CLAIM = 25           -- length of a remembered claim: its stamp and one character of result
local SLACK = 3600000      -- how much longer than it must a companion lives, in ms
local CHUNK = 1000         -- how many words are handed over at once

local function time_of(stamp) return tonumber(string.sub(stamp, 1, 12), 16) end

local function text(number) return string.format('%.0f', number) end

local function outdated(stamp) return redis.error_reply('OUTDATED ' .. stamp) end

-- Words for one command may be more than Lua can hand over at once.
local function write(command, key, words)
    for from = 1, #words, CHUNK do redis.call(command, key, unpack(words, from, math.min(from + CHUNK - 1, #words))) end
end

local function read(key, fields)
    if #fields <= CHUNK then return redis.call('HMGET', key, unpack(fields)) end
    local found = {}
    for at, field in ipairs(fields) do found[at] = redis.call('HGET', key, field) end
    return found
end

-- The companion outlives its key by the tombstone time, or for good when the key does. '~kept' is the latest end of the key
-- for which it lives long enough, '-' for none at all: an hour more than asked for spares its own expiry with most writes.
local function keep_companion(key, companion, at)
    local left = redis.call('PTTL', key)
    if left == -1 then
        redis.call('HSET', companion, '~kept', '-')
        return redis.call('PERSIST', companion)
    end
    if at and left >= 0 then
        redis.call('HSET', companion, '~kept', text(at + SLACK))
    else
        redis.call('HDEL', companion, '~kept')
    end
    return redis.call('PEXPIRE', companion, text(math.max(left, 0) + TOMBSTONE + SLACK))
end

-- A ttl runs from the stamp: '' is none. The newest write with one settles when the key ends, in whatever order they
-- arrive. One that is late, or comes again, leaves the end of what is there as it is, and what it brings back ends when the
-- newest would have had it end. To be asked before the write, with what is *noted* in '~ttl': the end, or nil, and what to
-- note there if this settles it.
local function ending(key, stamp, ttl, noted)
    if ttl == '' then return nil, nil end
    if not noted or string.sub(noted, 1, 24) < stamp then
        local at = text(time_of(stamp) + tonumber(ttl))
        return at, stamp .. ' ' .. at
    end
    if redis.call('EXISTS', key) == 1 then return nil, nil end
    return string.sub(noted, 26), nil
end

-- After a write, with what '~kept' was: both ends are texts of 13 digits.
local function keep(key, companion, kept, at)
    if not kept or (at or '-') > kept or (kept ~= '-' and not at) then keep_companion(key, companion, at) end
end

local function expire(key, companion, kept, at)
    if at then redis.call('PEXPIREAT', key, at) end
    keep(key, companion, kept, at)
end

-- The same after a write by which the key may be gone.
local function expire_rest(key, companion, at)
    if at then redis.call('PEXPIREAT', key, at) end
    keep_companion(key, companion, at)
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
