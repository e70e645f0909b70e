-- KEYS: entry, claim. ARGV: content, ttl in ms
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
if redis.call('DEL', KEYS[2]) == 1 then redis.pcall('PUBLISH', KEYS[1], '') end
return 1
