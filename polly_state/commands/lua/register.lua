-- KEYS: string, companion. ARGV: stamp, 'set' or 'del', ttl in ms or '' or 'keep', condition, content, expected content
local kind = redis.call('TYPE', KEYS[1]).ok
if kind ~= 'string' and kind ~= 'none' then return redis.error_reply('WRONGTYPE the key holds a ' .. kind) end
local held, noted = unpack(redis.call('HMGET', KEYS[2], '~value', '~ttl'))
held, noted = held or '', noted or ''
local stamp, condition = ARGV[1], ARGV[4]
if held == stamp then return 1 end
if held > stamp then
    if condition ~= '' and claimed(KEYS[2], '~claims', stamp) then return 1 end
    return outdated(held)
end
if condition ~= '' then
    local content = redis.call('GET', KEYS[1])
    if condition == 'NX' and content then return 0 end
    if condition == 'XX' and not content then return 0 end
    if condition == 'EQ' and content ~= ARGV[6] then return 0 end
    claim(KEYS[2], '~claims', stamp, '1')
end
local at
if ARGV[2] == 'del' then
    redis.call('DEL', KEYS[1])
elseif ARGV[3] == 'keep' then
    redis.call('SET', KEYS[1], ARGV[5], 'KEEPTTL')
else
    redis.call('SET', KEYS[1], ARGV[5])
end
redis.call('HSET', KEYS[2], '~value', stamp)
if string.sub(noted, 1, 24) > stamp then
    at = string.sub(noted, 26)
elseif tonumber(ARGV[3]) then
    at = text(time_of(stamp) + tonumber(ARGV[3]))
end
expire(KEYS[1], KEYS[2], stamp, at, false)
return 1
