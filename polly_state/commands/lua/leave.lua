-- KEYS: sorted set of tokens by when they end. ARGV: token. Returns 1, or 0 if the token held no permit
local held = redis.call('ZREM', KEYS[1], ARGV[1])
if held == 1 then redis.pcall('PUBLISH', KEYS[1], '') end
return held
