-- KEYS: hash, the last fence. ARGV: token. Returns 1 if nobody else has held it since the token did, or 0
local holder = redis.call('HGET', KEYS[1], 'token')
if holder == ARGV[1] then
    redis.call('DEL', KEYS[1])
    -- Whoever waits asks now; who may not publish is found out later.
    redis.pcall('PUBLISH', KEYS[1], '')
    return 1
end
if holder then return 0 end
local last = redis.call('GET', KEYS[2]) or ''
return string.match(last, '^%d+ (.*)$') == ARGV[1] and 1 or 0
