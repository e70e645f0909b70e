-- KEYS: entry, claim. ARGV: token, content, ttl in ms or '' for no content
local held = redis.call('GET', KEYS[2]) == ARGV[1]
if held then
    if ARGV[3] ~= '' then redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3]) end
    redis.call('DEL', KEYS[2])
end
-- A user who may not publish still caches; whoever waits looks again when the claim would lapse.
redis.pcall('PUBLISH', KEYS[1], '')
return held and 1 or 0
