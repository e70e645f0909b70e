-- KEYS: hash, companion. ARGV: stamp, ttl in ms or '', field, content when on, content when off. Returns 1 for on, 0 for off
local stamp, field = ARGV[1], ARGV[3]
local done = claimed(KEYS[2], 'c:' .. field, stamp)
if done then return tonumber(done) end
local held = redis.call('HGET', KEYS[2], 'f:' .. field) or ''
local all = redis.call('HGET', KEYS[2], '~all') or ''
if all > held then held = all end
if held > stamp then return outdated(held) end
local at, settles = ending(KEYS[1], KEYS[2], stamp, ARGV[2])
local on = redis.call('HGET', KEYS[1], field) ~= ARGV[4]
redis.call('HDEL', KEYS[2], '~oldest') -- as in fields.lua
redis.call('HSET', KEYS[1], field, on and ARGV[4] or ARGV[5])
redis.call('HSET', KEYS[2], 'f:' .. field, stamp)
claim(KEYS[2], 'c:' .. field, stamp, on and '1' or '0')
expire(KEYS[1], KEYS[2], stamp, at, settles)
return on and 1 or 0
