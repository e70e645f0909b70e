-- KEYS: hash, companion. ARGV: stamp, ttl in ms or '', field, content, lifetime of a field in ms, limit. Returns the fields that had to go
-- The companion knows the oldest fields, so that not all are looked at each time: the stamp of the last of them, before which
-- there is no other, then each stamp, the length of the field's name, and the name.
local KNOWN = 32
local stamp, field, limit = ARGV[1], ARGV[3], tonumber(ARGV[6])
local count = redis.call('HLEN', KEYS[1])
local newest = redis.call('HGET', KEYS[2], '~all') or ''
local held = redis.call('HGET', KEYS[2], 'f:' .. field) or ''
if held > newest then newest = held end
if newest > stamp then return outdated(newest) end
local at, settles = ending(KEYS[1], KEYS[2], stamp, ARGV[2])
count = count + redis.call('HSET', KEYS[1], field, stamp .. ARGV[4])
redis.call('HSET', KEYS[2], 'f:' .. field, stamp)
local last, gone = time_of(stamp) - tonumber(ARGV[5]), {}
local function drop(name)
    redis.call('HDEL', KEYS[1], name)
    redis.call('HSET', KEYS[2], 'f:' .. name, stamp)
    gone[#gone + 1] = name
    count = count - 1
end
local before = redis.call('HGET', KEYS[2], '~oldest') or ''
local known, from = before, 25
if string.sub(known, 1, 24) >= stamp then known = '' end
while from < #known do
    local entered, ends = string.sub(known, from, from + 23), from + 27 + tonumber(string.sub(known, from + 24, from + 27))
    local name = string.sub(known, from + 28, ends)
    -- It may have been put again, or removed.
    local there = string.sub(redis.call('HGET', KEYS[1], name) or '', 1, 24) == entered
    if there and count <= limit and time_of(entered) > last then break end
    if there then drop(name) end
    from = ends + 1
end
if from < #known then
    if from > 25 then known = string.sub(known, 1, 24) .. string.sub(known, from) end
else
    local contents, fields, strange = redis.call('HGETALL', KEYS[1]), {}, false
    for each = 1, #contents, 2 do
        local entered = string.match(contents[each + 1], '^' .. string.rep('[0-9a-f]', #stamp)) or ''
        strange = strange or entered == ''
        fields[#fields + 1] = {contents[each], entered}
    end
    table.sort(fields, function(one, other)
        if one[2] ~= other[2] then return one[2] < other[2] end
        return one[1] < other[1]
    end)
    local oldest, excess = {''}, #fields - limit
    for number, each in ipairs(fields) do
        if number <= excess or (each[2] == '' and 0 or time_of(each[2])) <= last then
            drop(each[1])
        elseif #oldest <= KNOWN then
            oldest[#oldest + 1] = each[2] .. string.format('%04d', #each[1]) .. each[1]
            oldest[1] = each[2]
        end
    end
    known = strange and '' or table.concat(oldest)
end
if known ~= before then redis.call('HSET', KEYS[2], '~oldest', known) end
sweep(KEYS[2], stamp, 'f:c:', function(name) return redis.call('HEXISTS', KEYS[1], name) == 0 end)
expire(KEYS[1], KEYS[2], stamp, at, settles)
return gone
