-- A claim is a write that depended on what was there; it is remembered, so that sending it again is harmless.
local MEMORY = 10000 -- how long claims are remembered, in ms: far longer than a command is resent
local CLAIMS = 256   -- how many, at most

-- What came of it, or nothing.
local function claimed(claims, stamp)
    local at = string.find(claims or '', stamp, 1, true)
    while at and at % CLAIM ~= 1 do at = string.find(claims, stamp, at + 1, true) end
    return at and string.sub(claims, at + CLAIM - 1, at + CLAIM - 1)
end

-- The claims, with one more.
local function claim(claims, stamp, result)
    local first = 1
    claims = claims or ''
    while first <= #claims and (time_of(string.sub(claims, first)) < time_of(stamp) - MEMORY
        or #claims - first + 1 >= CLAIMS * CLAIM) do first = first + CLAIM end
    return string.sub(claims, first) .. stamp .. result
end
