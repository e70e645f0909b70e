-- KEYS: integer, companion. ARGV: stamp, ttl in ms or '', '+' or '-', origin, the origin's total so far. Returns the value as text
local ORIGINS = 64 -- above so many, those that have been silent for the tombstone time are let go
local field, total = ARGV[3] .. ARGV[4], tonumber(ARGV[5])
local clock = redis.call('TIME')
local time = clock[1] * 1000 + math.floor(clock[2] / 1000)
local held = redis.call('HGET', KEYS[2], field) or '0 0'
local seen = tonumber(string.match(held, '^%d+'))
if total > seen then
    redis.call('INCRBY', KEYS[1], (ARGV[3] == '-' and '-' or '') .. text(total - seen))
    redis.call('HSET', KEYS[2], field, text(total) .. ' ' .. text(time))
end
if redis.call('HLEN', KEYS[2]) > ORIGINS then
    local totals = redis.call('HGETALL', KEYS[2])
    for at = 1, #totals, 2 do
        if tonumber(string.match(totals[at + 1], '%d+$')) < time - TOMBSTONE then redis.call('HDEL', KEYS[2], totals[at]) end
    end
end
local value = redis.call('GET', KEYS[1]) or '0'
if not string.match(value, '^-?%d+$') then return redis.error_reply('ERR value is not an integer or out of range') end
expire(KEYS[1], KEYS[2], ARGV[1], ARGV[2])
return value
