-- KEYS: hash. ARGV: who takes it. Returns what became of it, and the content if it was taken
local held = redis.call('HMGET', KEYS[1], 'content', 'until', 'by')
if not held[1] then return {'unknown', ''} end
if held[3] == ARGV[1] then return {'taken', held[1]} end
if held[3] then return {'used', ''} end
local clock = redis.call('TIME')
if clock[1] * 1000 + math.floor(clock[2] / 1000) >= tonumber(held[2]) then return {'expired', ''} end
redis.call('HSET', KEYS[1], 'by', ARGV[1])
return {'taken', held[1]}
