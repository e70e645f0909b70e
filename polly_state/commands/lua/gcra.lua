-- KEYS: one for each rule. ARGV: cost, 1 to take it, then for each rule: us for one or 0 for a window, us or number at most, window in us. Returns allowed, remaining, retry in us, reset in us, rule
-- A bucket holds when it will be empty again, in us since the epoch (the theoretical arrival time of GCRA); a window its number and a count.
local clock = redis.call('TIME')
local now, cost = clock[1] * 1000000 + clock[2], tonumber(ARGV[1])
local news, lives = {}, {}
local remaining, reset, decided, retry, refused = math.huge, 0, 0, 0, 0
for at = 1, #KEYS do
    local each, most, window = tonumber(ARGV[3 * at]), tonumber(ARGV[3 * at + 1]), tonumber(ARGV[3 * at + 2])
    local held, left, wait, full = redis.call('GET', KEYS[at]) or '', 0, 0, 0
    if each > 0 then
        local used = math.min(math.max((tonumber(held) or 0) - now, 0), most)
        left, wait, full = most - used, cost * each - (most - used), used
        if wait <= 0 and ARGV[2] == '1' then left, full = left - cost * each, full + cost * each end
        news[at], lives[at], left = now + full, full, math.floor(left / each)
    else
        local number = math.floor(now / window)
        local seen, count = string.match(held, '^(%d+) (%d+)$')
        count = tonumber(seen) == number and math.min(tonumber(count), most) or 0
        full = (number + 1) * window - now
        wait = count + cost > most and full or 0
        if wait <= 0 and ARGV[2] == '1' then count = count + cost end
        news[at], lives[at], left = string.format('%.0f %.0f', number, count), full, most - count
        if count == 0 then full = 0 end
    end
    if wait > 0 then
        if wait > retry then retry, refused, remaining, reset = wait, at, left, full end
    elseif refused == 0 and left < remaining then
        remaining, reset, decided = left, full, at
    end
end
if refused > 0 then return {0, remaining, math.ceil(retry), reset, refused} end
if ARGV[2] == '1' then
    for at = 1, #KEYS do
        local new = news[at]
        if type(new) == 'number' then new = string.format('%.0f', new) end
        redis.call('SET', KEYS[at], new, 'PX', math.ceil(lives[at] / 1000))
    end
end
return {1, remaining, 0, reset, decided}
