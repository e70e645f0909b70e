-- KEYS: stream, companion. ARGV: stamp, id of the message, its entry id or ''
local stamp, message, entry = ARGV[1], ARGV[2], ARGV[3]
local left = redis.call('XLEN', KEYS[1])
if entry ~= '' and left > 0 then
    redis.call('XACK', KEYS[1], 'polly', entry)
    left = left - redis.call('XDEL', KEYS[1], entry)
end
redis.call('HSET', KEYS[2], 'q:' .. message, '')
if left == 0 then redis.call('DEL', KEYS[1]) end
sweep(KEYS[2], stamp, 'q:', function() return true end)
keep_companion(KEYS[1], KEYS[2])
return 1
