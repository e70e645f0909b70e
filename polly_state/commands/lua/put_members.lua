-- KEYS: hash, companion. ARGV: stamp, ttl in ms or '', lifetime of a field in ms, limit, then field, content for each. Returns the fields that had to go
-- The companion knows the oldest fields, so that not all are looked at each time, in pages, since long texts are dear to
-- read: the stamp of the last on any page, before which there is no other field, two digits of the page's number, and of
-- each field its stamp, the length of its name, and the name. '~oldest' is the page in use, of which all before '~next' is
-- done with; '~oldest:2' and so on are to come.
local PAGE, PAGES, HEAD = 16, 16, 26
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

local known, from = held[4] or '', tonumber(held[5] or HEAD + 1)
if string.sub(known, 1, 24) >= stamp then known = '' end
while known ~= '' do
    local entered = string.sub(known, from, from + 23)
    if entered == '' then
        known = redis.call('HGET', KEYS[2], '~oldest:' .. tonumber(string.sub(known, 25, HEAD)) + 1) or ''
        redis.call('HSET', KEYS[2], '~oldest', known)
        from = HEAD + 1
    elseif over(entered) then
        local ends = from + 27 + tonumber(string.sub(known, from + 24, from + 27))
        local name = string.sub(known, from + 28, ends)
        -- It may have been put again, or removed.
        if string.sub(redis.call('HGET', KEYS[1], name) or '', 1, 24) == entered then gone[#gone + 1] = name end
        from = ends + 1
    else
        break
    end
end
if known == '' then
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
    local first = 1
    while fields[first] and over(string.sub(fields[first], 1, 24)) do
        gone[#gone + 1] = string.sub(fields[first], 25)
        first = first + 1
    end
    local final, page = math.min(#fields, first + PAGE * PAGES - 1), 0
    repeat
        page = page + 1
        local text = {string.sub(fields[final], 1, 24) .. string.format('%02d', page)}
        for at = first, math.min(first + PAGE - 1, final) do
            local entered, name = string.sub(fields[at], 1, 24), string.sub(fields[at], 25)
            text[#text + 1] = entered .. string.format('%04d', #name) .. name
        end
        first = first + PAGE
        redis.call('HSET', KEYS[2], page == 1 and '~oldest' or '~oldest:' .. page, strange and '' or table.concat(text))
    until first > final
    redis.call('HDEL', KEYS[2], '~oldest:' .. page + 1)
    from = HEAD + 1
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
