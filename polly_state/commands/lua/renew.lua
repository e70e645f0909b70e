-- KEYS: hash. ARGV: token, ttl in ms, phase or ''. Returns 1, or 0 if the token does not hold it
if redis.call('HGET', KEYS[1], 'token') ~= ARGV[1] then return 0 end
local clock = redis.call('TIME')
redis.call('HSET', KEYS[1], 'beat', string.format('%.0f', clock[1] * 1000000 + clock[2]))
if ARGV[3] ~= '' then redis.call('HSET', KEYS[1], 'phase', ARGV[3]) end
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return 1
