-- KEYS: one for each rule. ARGV: cost, 1 to take it, then for each rule: us for one or 0 for a window, us or number at most, window in us. Returns allowed, remaining, retry in us, reset in us, rule
-- A bucket holds when it will be empty again, in us since the epoch (the theoretical arrival time of GCRA); a window its number and a count.
local call = redis.call
local clock, cost, take = call('TIME'), tonumber(ARGV[1]), ARGV[2] == '1'
local now = clock[1] * 1000000 + clock[2]
if #KEYS == 1 and ARGV[3] ~= '0' then
    -- The same as below for one bucket, which most calls are about, in two thirds of the time.
    local each, most = tonumber(ARGV[3]), tonumber(ARGV[4])
    local used, wanted = (tonumber(call('GET', KEYS[1]) or 0) or 0) - now, cost * each
    if used < 0 then used = 0 elseif used > most then used = most end
    local left = most - used
    if wanted > left then return {0, math.floor(left / each), math.ceil(wanted - left), used, 1} end
    if not take then return {1, math.floor(left / each), 0, used, 1} end
    used = used + wanted
    call('SET', KEYS[1], string.format('%.0f', now + used), 'PX', math.ceil(used / 1000))
    return {1, math.floor((left - wanted) / each), 0, used, 1}
end
local news, lives = {}, {}
local remaining, reset, decided, retry, refused = math.huge, 0, 0, 0, 0
for at = 1, #KEYS do
    local each, most, window = tonumber(ARGV[3 * at]), tonumber(ARGV[3 * at + 1]), tonumber(ARGV[3 * at + 2])
    local held, left, wait, full = call('GET', KEYS[at]) or '', 0, 0, 0
    if each > 0 then
        local used = math.min(math.max((tonumber(held) or 0) - now, 0), most)
        left, wait, full = most - used, cost * each - (most - used), used
        if wait <= 0 and take then left, full = left - cost * each, full + cost * each end
        news[at], lives[at], left = now + full, full, math.floor(left / each)
    else
        local number = math.floor(now / window)
        local seen, count = string.match(held, '^(%d+) (%d+)$')
        count = tonumber(seen) == number and math.min(tonumber(count), most) or 0
        full = (number + 1) * window - now
        wait = count + cost > most and full or 0
        if wait <= 0 and take then count = count + cost end
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
if take then
    for at = 1, #KEYS do
        local new = news[at]
        if type(new) == 'number' then new = string.format('%.0f', new) end
        call('SET', KEYS[at], new, 'PX', math.ceil(lives[at] / 1000))
    end
end
return {1, remaining, 0, reset, decided}
