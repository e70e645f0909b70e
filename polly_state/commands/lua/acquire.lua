-- KEYS: hash, the last fence. ARGV: token, ttl in ms, phase, ms of silence after which it is taken over or ''. Returns 1 or 0, and the holder: token, fence, phase, ms left, ms of silence
local MEMORY = 86400000 -- how long a fence is remembered, in ms: time alone lets the next one rise after that
local clock = redis.call('TIME')
local now = clock[1] * 1000000 + clock[2]
local held = redis.call('HMGET', KEYS[1], 'token', 'fence', 'phase', 'beat')
local silent = held[1] and math.max(0, math.floor((now - held[4]) / 1000)) or 0
if held[1] and held[1] ~= ARGV[1] and not (ARGV[4] ~= '' and silent > tonumber(ARGV[4])) then
    return {0, held[1], held[2], held[3], redis.call('PTTL', KEYS[1]), silent}
end
local fence = held[2]
if held[1] ~= ARGV[1] then
    local last = tonumber(string.match(redis.call('GET', KEYS[2]) or '0', '^%d+')) or 0
    fence = string.format('%.0f', math.max(last + 1, now))
    redis.call('SET', KEYS[2], fence .. ' ' .. ARGV[1], 'PX', MEMORY)
end
redis.call('HSET', KEYS[1], 'token', ARGV[1], 'fence', fence, 'phase', ARGV[3], 'beat', string.format('%.0f', now))
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return {1, ARGV[1], fence, ARGV[3], tonumber(ARGV[2]), 0}
