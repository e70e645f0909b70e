-- KEYS: hash. ARGV: none. Returns the holder as acquire does, or nothing
local held = redis.call('HMGET', KEYS[1], 'token', 'fence', 'phase', 'beat')
if not held[1] then return false end
local clock = redis.call('TIME')
local silent = math.max(0, math.floor((clock[1] * 1000000 + clock[2] - held[4]) / 1000))
return {1, held[1], held[2], held[3], redis.call('PTTL', KEYS[1]), silent}
