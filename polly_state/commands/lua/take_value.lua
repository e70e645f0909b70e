-- KEYS: string, companion. ARGV: stamp. Returns what was there, or nothing
local stamp = ARGV[1]
local taken = redis.call('HGET', KEYS[2], '~taken') or ''
if string.sub(taken, 1, #stamp) == stamp then return string.sub(taken, #stamp + 1) end
local content = redis.call('GET', KEYS[1])
local held = redis.call('HGET', KEYS[2], '~value') or ''
if held > stamp then return outdated(held) end
if not content then return false end
redis.call('DEL', KEYS[1])
redis.call('HSET', KEYS[2], '~value', stamp, '~taken', stamp .. content)
keep_companion(KEYS[1], KEYS[2])
return content
