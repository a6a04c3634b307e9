-- Lua: numbers, string.format, string.pack, sorting with a fixed generator.
local seed = 42
local function rnd() seed = (seed * 6364136223846793005 + 1442695040888963407); return (seed >> 11) / 2^53 end
local t = {}
for i = 1, 2000 do t[i] = (rnd() - 0.5) * 10 ^ (i % 30 - 10) end
local s, p = 0.0, 0
for i, x in ipairs(t) do s = s + math.sin(x) * math.exp(-math.abs(x) % 9) + math.log(math.abs(x)) + x // 3 + x % 0.7 end
print(string.format("%.17g %a", s, s))
table.sort(t)
for i = 1, 2000, 173 do print(string.format("%.14g %.3e %a %q", t[i], t[i], t[i], t[i]), math.tointeger(t[i] // 1) or "none") end
print((string.pack(">dfi7I3n", t[5], t[6], -12345678, 777, t[7]):gsub(".", function(c) return string.format("%02x", c:byte()) end)))
print(math.maxinteger // -1, math.mininteger // -1, 7 // -2, -7 % 3, 7.5 // -2, 1 << 63, -1 >> 1, 3 ~ 5, math.ult(-1, 1), 2^53 == 2^53 + 1)
