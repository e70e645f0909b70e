-- KEYS: stream, companion. ARGV: count, visibility in ms. Returns how many messages there are, then entry id, times delivered and fields of each one taken
local GROUP, CONSUMER = 'polly', 'polly' -- one group; who holds a message does not matter, only for how long
local count, visibility = tonumber(ARGV[1]), ARGV[2]
local found = {redis.call('XLEN', KEYS[1])}
if found[1] == 0 then return found end
local pending = redis.pcall('XPENDING', KEYS[1], GROUP, 'IDLE', visibility, '-', '+', count)
if pending.err then
    if not string.find(tostring(pending.err), 'NOGROUP', 1, true) then return pending end
    redis.call('XGROUP', 'CREATE', KEYS[1], GROUP, '0')
    pending = {}
end
for _, each in ipairs(pending) do
    local claimed = redis.call('XCLAIM', KEYS[1], GROUP, CONSUMER, '0', each[1])[1]
    if claimed then
        found[#found + 1] = each[1]
        found[#found + 1] = each[4] + 1
        found[#found + 1] = claimed[2]
        count = count - 1
    else
        redis.call('XACK', KEYS[1], GROUP, each[1])
    end
end
if count > 0 then
    local read = redis.call('XREADGROUP', 'GROUP', GROUP, CONSUMER, 'COUNT', count, 'STREAMS', KEYS[1], '>')
    -- Nothing, or one stream with its name and entries, which some servers do not wrap in another list.
    local stream = read and (type(read[1]) == 'table' and read[1] or read) or {}
    for _, entry in ipairs(stream[2] or {}) do
        found[#found + 1] = entry[1]
        found[#found + 1] = 1
        found[#found + 1] = entry[2]
    end
end
return found
