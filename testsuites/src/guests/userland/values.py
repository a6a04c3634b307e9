"""Python's own types and modules: one line for each."""
import array, binascii, bz2, cmath, colorsys, decimal, fractions, hashlib, hmac, json, lzma, math
import random, re, sqlite3, statistics, struct, sys, zlib

N = int(sys.argv[1])
rng = random.Random(20240)


def show(name, value):
    text = value if isinstance(value, str) else repr(value)
    print(name, text if len(text) < 200 else hashlib.sha256(text.encode()).hexdigest()[:16])


floats = [rng.uniform(-1, 1) * 10.0 ** rng.randint(-300, 300) for _ in range(400 * N)]
small = [rng.gauss(0, 10) for _ in range(400 * N)]
show("repr", repr(floats))
show("format", "".join("%.17g %.3f %e %g %r" % (x, x % 97, x, x, -x) for x in small))
show("back", [float(repr(x)) == x for x in floats].count(True))
show("hex", [x.hex() for x in floats])
show("round", [round(x, n) for x in small for n in range(6)])
show("ratio", [x.as_integer_ratio() for x in small])
show("fsum", math.fsum(small)); show("sum", sum(small)); show("prod", math.prod(small[:90]))
show("hypot", [math.hypot(*small[i:i + 5]) for i in range(0, 300, 5)]); show("dist", math.dist(small[:99], small[99:198]))
show("statistics", [statistics.mean(small), statistics.stdev(small), statistics.linear_regression(small, small[::-1])])
for f in (cmath.exp, cmath.log, cmath.sqrt, cmath.sin, cmath.tanh, cmath.acos, cmath.atanh, cmath.polar):
    show("c" + f.__name__, [f(complex(a / 9, b / 9)) for a, b in zip(small, small[200:])])
big = [rng.getrandbits(n) for n in (1, 31, 64, 127, 1000, 4001, 20000) for _ in range(3)]
show("int", [hash((a * b, a + b, a - b, a // (b | 1), a % (b | 1), a ^ b, a << 77, b >> 13)) for a in big for b in big])
show("pow", pow(3, big[-7], big[-4] | 1) % 10**30); show("gcd", math.gcd(big[-1] * 84, big[-2] * 126))
show("isqrt", math.isqrt(big[-1]) % 10**30); show("comb", math.comb(400, 171)); show("factorial", math.factorial(600))
show("decimal-int", str(7 ** 900)); show("int-decimal", int("9" * 700) % 10**9 - int("123456789" * 90) % 998244353)
decimal.getcontext().prec = 70
d = [decimal.Decimal(repr(x)) for x in small[:60]]
show("decimal", [str(x * y + x / y - (x * x).sqrt()) for x, y in zip(d, d[1:])])
show("decimal-exp", [str(abs(x).ln() + (x / 50).exp()) for x in d[:8]])
decimal.getcontext().prec = 4000
show("decimal-long", str(decimal.Decimal(2).sqrt() * decimal.Decimal(3).sqrt() / 7))
show("fraction", sum(fractions.Fraction(1, n) for n in range(1, 200)))
show("mandelbrot", [sum(1 for _ in iter(lambda z=[0j]: (z.__setitem__(0, z[0] ** 2 + complex(a / 20, b / 20)), abs(z[0]) > 2)[1], True)) if a * a + b * b > 1600 else 0 for a in range(-60, 30, 5) for b in range(-40, 40, 5)])
show("random", [rng.random(), rng.getrandbits(99), rng.betavariate(2, 3), rng.vonmisesvariate(1, 2), rng.gammavariate(3, 2), rng.sample(range(999), 9)])
for f in "efdqQiIhHbB":
    show("struct " + f, struct.pack("<5" + f, *[abs(int(x)) for x in small[:5]]).hex())
show("struct d", struct.pack(">400d", *floats[:400]).hex()); show("struct f", struct.pack("<400f", *small[:400]).hex())
show("half", struct.pack("<400e", *small[:400]).hex()); show("array", array.array("f", small).tobytes().hex())
data = repr(floats).encode() * N
for level in (1, 6, 9):
    z = zlib.compress(data, level); show(f"zlib {level}", [hashlib.md5(z).hexdigest(), zlib.decompress(z) == data])
show("bz2", [hashlib.md5(bz2.compress(data)).hexdigest()]); show("lzma", [hashlib.md5(lzma.compress(data, preset=1)).hexdigest()])
show("crc", [zlib.crc32(data), zlib.adler32(data), binascii.crc_hqx(data, 7)])
for name in sorted(hashlib.algorithms_guaranteed):
    h = hashlib.new(name, data); show("hash " + name, h.hexdigest(64) if "shake" in name else h.hexdigest())
show("pbkdf2", hashlib.pbkdf2_hmac("sha512", b"word", b"salt", 300).hex()); show("scrypt", hashlib.scrypt(b"word", salt=b"salt", n=64, r=8, p=2).hex())
show("hmac", hmac.new(b"key" * 50, data, "sha384").hexdigest()); show("blake2", hashlib.blake2b(data, key=b"k" * 64, digest_size=33).hexdigest())
show("json", json.dumps({"a": floats, "b": big[:9]})); show("json back", json.loads(json.dumps(floats)) == floats)
text = data.decode()
show("re", [len(re.findall(p, text)) for p in (r"\d+\.\d*e[+-]\d\d", r"(?:1|22|3+)4?", r"-.*?,", r"(\d)\1")])
show("str", [text.count("17"), text.find("999"), text.rfind("-12"), hash(text.upper().swapcase()) != 0, len(text.split(",")), text[::-7][:60]])
show("utf", [s.encode(c).hex() for s in ("\u20ac\u00e9\U0001f600z" * 20,) for c in ("utf-8", "utf-16", "utf-32", "utf-7")])
show("sort", sorted(floats)); show("sort key", sorted(range(300), key=lambda i: (small[i % 97], -i)))
show("colour", [colorsys.rgb_to_hls(a % 1, b % 1, 0.3) for a, b in zip(small, floats)][:40])
db = sqlite3.connect(":memory:")
db.execute("create table t(a real, b integer)"); db.executemany("insert into t values(?, ?)", [(x, i % 17) for i, x in enumerate(small)])
show("sqlite", db.execute("select b, sum(a), avg(a), total(a * a), group_concat(printf('%.15g', a)) from t group by b order by b").fetchall())
