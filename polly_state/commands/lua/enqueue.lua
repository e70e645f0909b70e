-- KEYS: stream, companion. ARGV: stamp, ttl in ms or '', content
local stamp = ARGV[1]
redis.call('XLEN', KEYS[1])
if redis.call('HSETNX', KEYS[2], 'q:' .. stamp, '') == 0 then return 1 end
local noted, kept = unpack(redis.call('HMGET', KEYS[2], '~ttl', '~kept'))
local at, note = ending(KEYS[1], stamp, ARGV[2], noted)
redis.call('XADD', KEYS[1], '*', 'id', stamp, 'content', ARGV[3])
sweep(KEYS[2], stamp, 'q:', function() return true end)
-- Whoever waits for a message looks for it now; who may not publish is heard later.
redis.pcall('PUBLISH', KEYS[1], '')
if note then redis.call('HSET', KEYS[2], '~ttl', note) end
expire(KEYS[1], KEYS[2], kept, at)
return 1
