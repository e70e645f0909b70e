-- KEYS: string, companion. ARGV: stamp, 'set' or 'del', ttl in ms or '' or 'keep', condition, content, expected content
local stamp, ttl, condition = ARGV[1], ARGV[3], ARGV[4]
local content = redis.pcall(condition == '' and 'STRLEN' or 'GET', KEYS[1])
if type(content) == 'table' then return content end -- it holds something else
local held, noted, kept = unpack(redis.call('HMGET', KEYS[2], '~value', '~ttl', '~kept'))
if held == stamp then return 1 end
local claims = condition ~= '' and redis.call('HGET', KEYS[2], '~claims')
if held and held > stamp then
    if claimed(claims, stamp) then return 1 end
    return outdated(held)
end
if condition == 'NX' and content then return 0 end
if condition == 'XX' and not content then return 0 end
if condition == 'EQ' and content ~= ARGV[6] then return 0 end
local at
if noted and string.sub(noted, 1, 24) > stamp then
    at = string.sub(noted, 26)
elseif tonumber(ttl) then
    at = text(time_of(stamp) + tonumber(ttl))
end
if condition == '' then
    redis.call('HSET', KEYS[2], '~value', stamp)
else
    redis.call('HSET', KEYS[2], '~value', stamp, '~claims', claim(claims, stamp, '1'))
end
if ARGV[2] == 'del' then
    redis.call('DEL', KEYS[1])
    keep_companion(KEYS[1], KEYS[2])
else
    if at then
        redis.call('SET', KEYS[1], ARGV[5], 'PXAT', at)
    elseif ttl == 'keep' then
        redis.call('SET', KEYS[1], ARGV[5], 'KEEPTTL')
    else
        redis.call('SET', KEYS[1], ARGV[5])
    end
    keep(KEYS[1], KEYS[2], kept, at)
end
return 1
