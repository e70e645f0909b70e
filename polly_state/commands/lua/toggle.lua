-- KEYS: hash, companion. ARGV: stamp, ttl in ms or '', field, content when on, content when off. Returns 1 for on, 0 for off
local stamp, field = ARGV[1], ARGV[3]
local claims, held, all, noted, kept, order = unpack(redis.call('HMGET', KEYS[2],
    'c:' .. field, 'f:' .. field, '~all', '~ttl', '~kept', '~oldest'))
local done = claimed(claims, stamp)
if done then return tonumber(done) end
if held and held > stamp and held >= (all or '') then return outdated(held) end
if all and all > stamp then return outdated(all) end
local at, note = ending(KEYS[1], stamp, ARGV[2], noted)
local on = redis.call('HGET', KEYS[1], field) ~= ARGV[4]
if order then redis.call('HDEL', KEYS[2], '~oldest') end -- as in fields.lua
redis.call('HSET', KEYS[1], field, on and ARGV[4] or ARGV[5])
redis.call('HSET', KEYS[2], 'f:' .. field, stamp, 'c:' .. field, claim(claims, stamp, on and '1' or '0'))
if note then redis.call('HSET', KEYS[2], '~ttl', note) end
expire(KEYS[1], KEYS[2], kept, at)
return on and 1 or 0
