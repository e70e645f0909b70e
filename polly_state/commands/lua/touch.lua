-- KEYS: key, companion. ARGV: ttl in ms
local there = redis.call('PEXPIRE', KEYS[1], ARGV[1])
if there == 1 then keep_companion(KEYS[1], KEYS[2]) end
return there
