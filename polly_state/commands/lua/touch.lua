-- KEYS: key, companion. ARGV: stamp, ttl in ms
if redis.call('EXISTS', KEYS[1]) == 0 then return 0 end
if (redis.call('HGET', KEYS[2], '~value') or '') <= ARGV[1] then expire(KEYS[1], KEYS[2], ARGV[1], ARGV[2]) end
return 1
