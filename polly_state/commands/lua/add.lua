-- KEYS: integer, companion. ARGV: stamp, ttl in ms or '', '+' or '-', origin, the origin's total so far, what of it has ended. Returns the value as text
local ORIGINS = 64 -- above so many, those that have been silent for the tombstone time are let go
local field, total = ARGV[3] .. ARGV[4], tonumber(ARGV[5])
local clock = redis.call('TIME')
local time = clock[1] * 1000 + math.floor(clock[2] / 1000)
local held = redis.call('HGET', KEYS[2], field) or '0 0'
local seen, base = tonumber(string.match(held, '^%d+')), tonumber(ARGV[6])
local over = ARGV[2] ~= '' and time_of(ARGV[1]) + tonumber(ARGV[2]) <= time
local at, settles = ending(KEYS[1], KEYS[2], ARGV[1], ARGV[2])
if total > seen then
    -- What has ended counts nowhere, neither here nor with what comes later.
    local step = over and 0 or total - math.max(seen, base)
    redis.call('GET', KEYS[1])
    if step > 0 then redis.call('INCRBY', KEYS[1], (ARGV[3] == '-' and '-' or '') .. text(step)) end
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
expire(KEYS[1], KEYS[2], ARGV[1], at, settles)
return value
