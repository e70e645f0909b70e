-- KEYS: key, companion. ARGV: stamp, ttl in ms
if redis.call('EXISTS', KEYS[1]) == 0 then return 0 end
for _, slot in ipairs({'~value', '~all'}) do
    if (redis.call('HGET', KEYS[2], slot) or '') > ARGV[1] then return 1 end
end
expire(KEYS[1], KEYS[2], ARGV[1], ending(KEYS[1], KEYS[2], ARGV[1], ARGV[2]))
return 1
