-- KEYS: stream, companion. ARGV: stamp, ttl in ms or '', content
local stamp = ARGV[1]
redis.call('XLEN', KEYS[1])
if redis.call('HSETNX', KEYS[2], 'q:' .. stamp, '') == 0 then return 1 end
local at, settles = ending(KEYS[1], KEYS[2], stamp, ARGV[2])
redis.call('XADD', KEYS[1], '*', 'id', stamp, 'content', ARGV[3])
sweep(KEYS[2], stamp, 'q:', function() return true end)
-- Whoever waits for a message looks for it now; who may not publish is heard later.
redis.pcall('PUBLISH', KEYS[1], '')
expire(KEYS[1], KEYS[2], stamp, at, settles)
return 1
