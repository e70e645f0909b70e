-- KEYS: sorted set of names by when they were heard of. ARGV: ms after which one is silent, ms after which it is forgotten, names. Returns how many are not silent
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
for at = 3, #ARGV do redis.call('ZADD', KEYS[1], string.format('%.0f', now), ARGV[at]) end
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', string.format('(%.0f', now - ARGV[2]))
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return redis.call('ZCOUNT', KEYS[1], string.format('%.0f', now - ARGV[1]), '+inf')
