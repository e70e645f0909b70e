-- KEYS: entry, claim. ARGV: token, liveness in ms
local kind = redis.call('TYPE', KEYS[1]).ok
if kind ~= 'string' and kind ~= 'none' then return redis.error_reply('WRONGTYPE the key holds a ' .. kind) end
local content = redis.call('GET', KEYS[1])
if redis.call('SET', KEYS[2], ARGV[1], 'NX', 'PX', ARGV[2]) then return {1, tonumber(ARGV[2]), content} end
local won = redis.call('GET', KEYS[2]) == ARGV[1] and 1 or 0
return {won, redis.call('PTTL', KEYS[2]), content}
