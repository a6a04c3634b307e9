# awk's numbers: double arithmetic, formats, associative arrays, sorting.
BEGIN {
  for (i = 1; i <= 3000 * n; i++) { s = s * 0.75 + i / 3.0; t += sin(i) * cos(i / 7) + exp(-i % 40) * log(i) + sqrt(i) ^ 1.1 + atan2(i, 9); a[i % 101] += t - int(t) }
  printf "%.17g %.17g\n", s, t
  for (i = 0; i < 101; i += 5) printf "%d %.15e %g %x %o %c %s\n", i, a[i], a[i] / 3, a[i] * 9, a[i], 65 + a[i] % 26, a[i] * 1e17
  m = asort(a, b); for (i = 1; i <= m; i += 9) printf "%.12f ", b[i]; print ""
  srand(5); for (i = 0; i < 4; i++) printf "%.10f ", rand(); print ""
  x = "the quick brown fox"; while (k++ < 40) { gsub(/[aeiou]/, "<&" k ">", x); x = substr(x, length(x) % 7 + 1, 300) }; print length(x), toupper(x)
  print strtonum("0x1fffffffffffff"), and(12345, 54321), xor(2 ^ 50 + 1, 7), lshift(3, 40), 2 ^ 53 + 1, -7 % 3, 1e6, 1e17, 0.1 + 0.2, 100000 * 3.3
}
