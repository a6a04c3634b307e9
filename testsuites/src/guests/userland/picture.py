"""A picture of 160 by 120 points, as a PPM file."""
import math, sys

points = bytearray()
for y in range(120):
    for x in range(160):
        points += bytes((int(127 + 127 * math.sin(x * y / 300)), x * y & 255, (x * 3 ^ y * 5) & 255))
sys.stdout.buffer.write(b"P6\n160 120\n255\n" + points)
