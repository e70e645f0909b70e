-- KEYS: hash, companion. ARGV: stamp, ttl in ms or '', field, content, lifetime of a field in ms, limit. Returns the fields that had to go
local stamp, field, limit = ARGV[1], ARGV[3], tonumber(ARGV[6])
redis.call('HLEN', KEYS[1])
local newest = redis.call('HGET', KEYS[2], '~all') or ''
local held = redis.call('HGET', KEYS[2], 'f:' .. field) or ''
if held > newest then newest = held end
if newest > stamp then return outdated(newest) end
local at, settles = ending(KEYS[1], KEYS[2], stamp, ARGV[2])
redis.call('HSET', KEYS[1], field, stamp .. ARGV[4])
redis.call('HSET', KEYS[2], 'f:' .. field, stamp)
local contents, fields, gone = redis.call('HGETALL', KEYS[1]), {}, {}
for at = 1, #contents, 2 do
    local entered = string.match(contents[at + 1], '^' .. string.rep('[0-9a-f]', #stamp)) or ''
    fields[#fields + 1] = {contents[at], entered}
end
table.sort(fields, function(one, other)
    if one[2] ~= other[2] then return one[2] < other[2] end
    return one[1] < other[1]
end)
local last = time_of(stamp) - tonumber(ARGV[5])
for number, each in ipairs(fields) do
    if number <= #fields - limit or (each[2] == '' and 0 or time_of(each[2])) <= last then
        redis.call('HDEL', KEYS[1], each[1])
        redis.call('HSET', KEYS[2], 'f:' .. each[1], stamp)
        gone[#gone + 1] = each[1]
    end
end
sweep(KEYS[2], stamp, 'f:c:', function(name) return redis.call('HEXISTS', KEYS[1], name) == 0 end)
expire(KEYS[1], KEYS[2], stamp, at, settles)
return gone
