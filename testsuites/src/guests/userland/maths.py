"""libm's functions: double, float and long double (x87), and what they do to rounding and flags."""
import ctypes, hashlib, math, random, sys
from ctypes import c_double, c_float, c_int, c_longdouble

N = int(sys.argv[1])
libm = ctypes.CDLL("libm.so.6")
rng = random.Random(11)
ONE = """acos acosh asin asinh atan atanh cbrt ceil cos cosh erf erfc exp exp2 expm1 exp10 floor j0 j1 lgamma log log10
log1p log2 logb nearbyint rint round roundeven sin sinh sqrt tan tanh tgamma trunc y0 y1 fabs""".split()
TWO = "atan2 copysign fdim fmax fmin fmod hypot nextafter pow remainder drem scalb".split()
EDGES = [0.0, -0.0, 1.0, -1.0, 0.5, 2.0, 1e-310, 5e-324, 1e308, -1e308, math.pi, math.inf, -math.inf, math.nan, 0.1, 88.8, 709.9, 1e22]
VALUES = EDGES + [rng.uniform(-4, 4) for _ in range(24 * N)] + [rng.uniform(-1, 1) * 10.0 ** rng.randint(-20, 20) for _ in range(12 * N)]
TYPES = {"": c_double, "f": c_float, "l": c_longdouble}


def call(name, kind, *more):
    f = libm[name]
    f.restype = kind
    f.argtypes = [kind] + list(more)
    return f


def text(x):
    """NaN's sign is not promised by any of these functions."""
    return x.hex() if isinstance(x, float) and x == x else repr(x)


def show(name, values):
    words = [text(x) for x in values]
    print(name, hashlib.md5(" ".join(words).encode()).hexdigest()[:12], words[20][:24])


for suffix, kind in TYPES.items():
    for name in ONE:
        f = call(name + suffix, kind, )
        show(name + suffix, [f(x) for x in VALUES])
    for name in TWO:
        f = call(name + suffix, kind, kind)
        show(name + suffix, [f(x, y) for x in VALUES[::2] for y in EDGES[4:8] + VALUES[21::5]])
    fma = call("fma" + suffix, kind, kind, kind)
    show("fma" + suffix, [fma(x, y, -x * y) for x in VALUES for y in VALUES[20::6]])
    for name, result in (("lrint", ctypes.c_long), ("llround", ctypes.c_longlong), ("ilogb", c_int)):
        f = call(name + suffix, kind)
        f.restype = result
        show(name + suffix, [f(x) for x in VALUES if -1e9 < x < 1e9])
    scale = call("ldexp" + suffix, kind, c_int)
    show("ldexp" + suffix, [scale(x, e) for x in VALUES for e in (-1080, -60, 3, 1023)])
    pair = (ctypes.c_ubyte * 64)()
    sincos = call("sincos" + suffix, kind, ctypes.c_void_p, ctypes.c_void_p)
    sincos.restype = None

    def both(x):
        sincos(x, ctypes.byref(pair), ctypes.byref(pair, 16))
        return bytes(pair)[:26].hex() if x == x and abs(x) != math.inf else "nan"
    show("sincos" + suffix, [both(x) for x in VALUES])

# Rounding and exceptions: MXCSR for double, the x87 control and status words for long double.
FUNCTIONS = [(name + suffix, kind) for name in ("rint", "nearbyint", "sqrt", "exp", "sin", "cbrt") for suffix, kind in TYPES.items()]
for mode in (0, 0x400, 0x800, 0xC00):
    for name, kind in FUNCTIONS:
        f, found = call(name, kind), []
        for x in VALUES[:30]:
            libm.feclearexcept(0x3D)
            libm.fesetround(mode)
            y = f(x)
            flags = libm.fetestexcept(0x3D)
            libm.fesetround(0)
            found += [y, flags]
        show(f"{name} {mode:#x}", found)

# To and from text, 64 bits of mantissa.
libc = ctypes.CDLL("libc.so.6")
libc.strtold.restype, out = c_longdouble, ctypes.create_string_buffer(200)
for x in VALUES[3:40]:
    libc.snprintf(out, 200, b"%La %.25Lg %.17g %a", c_longdouble(x), c_longdouble(x), c_double(x), c_double(x))
    print("print", out.value.decode(), text(libc.strtold(out.value.split()[1], None)))
