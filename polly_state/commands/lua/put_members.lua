-- KEYS: hash, companion. ARGV: stamp, ttl in ms or '', lifetime of a field in ms, limit, then field, content for each. Returns the fields that had to go
-- The companion knows the oldest fields, so that not all are looked at each time: in '~oldest' the stamp of the last of them,
-- before which there is no other, then each stamp, the length of the field's name, and the name. What has gone of them since
-- ends before '~next', for the list itself is long.
local KNOWN = 128
local stamp, limit = ARGV[1], tonumber(ARGV[4])
local slots, noted, put = {'~all', '~ttl', '~kept', '~oldest', '~next'}, {}, {}
for at = 5, #ARGV, 2 do
    local slot = 'f:' .. ARGV[at]
    slots[#slots + 1] = slot
    noted[#noted + 1] = slot
    noted[#noted + 1] = stamp
    put[#put + 1] = ARGV[at]
    put[#put + 1] = stamp .. ARGV[at + 1]
end
local held = read(KEYS[2], slots)
local newest = held[1] or ''
for at = 6, #slots do
    if held[at] and held[at] > newest then newest = held[at] end
end
if newest > stamp then return outdated(newest) end
local at, note = ending(KEYS[1], stamp, ARGV[2], held[2])
write('HSET', KEYS[1], put)
local excess, last, gone = redis.call('HLEN', KEYS[1]) - limit, time_of(stamp) - ARGV[3], {}
local function over(entered) return #gone < excess or time_of(entered) <= last end

local known, from = held[4] or '', tonumber(held[5] or 25)
if string.sub(known, 1, 24) >= stamp then known = '' end
while from < #known do
    local entered = string.sub(known, from, from + 23)
    if not over(entered) then break end
    local ends = from + 27 + tonumber(string.sub(known, from + 24, from + 27))
    local name = string.sub(known, from + 28, ends)
    -- It may have been put again, or removed.
    if string.sub(redis.call('HGET', KEYS[1], name) or '', 1, 24) == entered then gone[#gone + 1] = name end
    from = ends + 1
end
if from >= #known then
    gone = {}
    local contents, fields, strange = redis.call('HGETALL', KEYS[1]), {}, false
    for at = 1, #contents, 2 do
        local entered = string.sub(contents[at + 1], 1, 24)
        if #entered < 24 or string.find(entered, '[^0-9a-f]') then
            strange = true
            gone[#gone + 1] = contents[at]
        else
            fields[#fields + 1] = entered .. contents[at]
        end
    end
    table.sort(gone)
    table.sort(fields)
    local oldest = {''}
    for _, each in ipairs(fields) do
        local entered, name = string.sub(each, 1, 24), string.sub(each, 25)
        if over(entered) then
            gone[#gone + 1] = name
        elseif #oldest <= KNOWN then
            oldest[#oldest + 1] = entered .. string.format('%04d', #name) .. name
            oldest[1] = entered
        else
            break
        end
    end
    from = 25
    redis.call('HSET', KEYS[2], '~oldest', strange and '' or table.concat(oldest))
end
write('HDEL', KEYS[1], gone)
for _, name in ipairs(gone) do
    noted[#noted + 1] = 'f:' .. name
    noted[#noted + 1] = stamp
end
noted[#noted + 1] = '~next'
noted[#noted + 1] = from
if note then
    noted[#noted + 1] = '~ttl'
    noted[#noted + 1] = note
end
write('HSET', KEYS[2], noted)
sweep(KEYS[2], stamp, 'f:c:', function(name) return redis.call('HEXISTS', KEYS[1], name) == 0 end)
-- A put never leaves the hash empty.
expire(KEYS[1], KEYS[2], held[3], at)
return gone
