-- KEYS: integer, companion. ARGV: stamp, ttl in ms or '', '+' or '-', origin, the origin's total so far, what of it has ended. Returns the value as text
local ORIGINS = 64    -- above so many, those that have been silent for the tombstone time are let go
local EXACT = 2 ^ 53  -- up to here a number of Redis is one of Lua
local field, total = ARGV[3] .. ARGV[4], tonumber(ARGV[5])
local clock = redis.call('TIME')
local time = clock[1] * 1000 + math.floor(clock[2] / 1000)
local held, noted, kept = unpack(redis.call('HMGET', KEYS[2], field, '~ttl', '~kept'))
local seen, base = tonumber(string.match(held or '0', '^%d+')), tonumber(ARGV[6])
local over = ARGV[2] ~= '' and time_of(ARGV[1]) + tonumber(ARGV[2]) <= time
local at, note = ending(KEYS[1], ARGV[1], ARGV[2], noted)
local value, step = redis.call('GET', KEYS[1]) or '0', 0
if total > seen then
    -- What has ended counts nowhere, neither here nor with what comes later.
    step = over and 0 or total - math.max(seen, base)
    if step > 0 then
        local found = redis.call('INCRBY', KEYS[1], (ARGV[3] == '-' and '-' or '') .. text(step))
        value = math.abs(found) < EXACT and text(found) or redis.call('GET', KEYS[1])
    end
    redis.call('HSET', KEYS[2], field, text(total) .. ' ' .. text(time))
end
if not held and redis.call('HLEN', KEYS[2]) > ORIGINS then
    local totals = redis.call('HGETALL', KEYS[2])
    for at = 1, #totals, 2 do
        local last = string.sub(totals[at], 1, 1) ~= '~' and string.match(totals[at + 1], '%d+$')
        if last and tonumber(last) < time - TOMBSTONE then redis.call('HDEL', KEYS[2], totals[at]) end
    end
end
if not string.match(value, '^-?%d+$') then return redis.error_reply('ERR value is not an integer or out of range') end
if note then redis.call('HSET', KEYS[2], '~ttl', note) end
expire(KEYS[1], KEYS[2], kept, at)
return value
