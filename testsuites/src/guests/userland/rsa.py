"""An RSA key of 2048 bits in DER, the same at each run: its primes come from a seeded generator."""
import random, sys

rng = random.Random(65537)
SIEVE = [p for p in range(3, 4000, 2) if all(p % q for q in range(3, int(p ** 0.5) + 1, 2))]


def prime(bits):
    while True:
        n = rng.getrandbits(bits) | 3 << bits - 2 | 1
        if all(n % p for p in SIEVE) and n % 65537 != 1 and pow(2, n - 1, n) == 1 and pow(3, n - 1, n) == 1:
            return n


def der(tag, body):
    size = len(body)
    head = bytes([size]) if size < 128 else bytes([0x80 | (size.bit_length() + 7) // 8]) + size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes([tag]) + head + body


def integer(n):
    return der(2, n.to_bytes(n.bit_length() // 8 + 1, "big"))


p, q = prime(1024), prime(1024)
d = pow(65537, -1, (p - 1) * (q - 1))
sys.stdout.buffer.write(der(0x30, b"".join(map(integer, (0, p * q, 65537, d, p, q, d % (p - 1), d % (q - 1), pow(q, -1, p))))))
