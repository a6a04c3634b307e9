#!/bin/dash
# The checks of the userland guest, in the guest and in a chroot of the host. Each line depends on
# nothing but what the processor computes: no time, no random number, no path, no count of processors.
# `run.sh full` is the long form.
export HOME=/ LC_ALL=C PATH=/usr/bin:/bin PERL_HASH_SEED=0
case "$1" in full) N=8 more=: ;; *) N=1 more=false ;; esac
here=$(mktemp -d /tmp/checks.XXXXXX) && cd "$here" || exit 1
sum() { sha256sum | cut -c1-16; }
line() { echo "$1: $2"; }
part() { # part NAME COMMAND...: what it prints, behind its name
  name=$1; shift
  "$@" > out 2> err || echo "failed with status $?" >> out
  sed "s/^/$name /" out; tail -n 1 err | sed "s/^/$name stderr /"
}
python() { python3.11 -I -S -B "/checks/$@"; }
no_avx2=glibc.cpu.hwcaps=-AVX2,-AVX2_Usable,-BMI2,-BMI2_Usable,-ERMS,-FSRM
no_fma=$no_avx2,-FMA,-FMA_Usable,-FMA4,-FMA4_Usable
old=$no_fma,-AVX,-AVX_Usable,-AVX_Fast_Unaligned_Load,-SSSE3,-SSE4_1,-SSE4_2

# Python: its own types, then libc's and libcrypto's functions under several sets of features.
part python python values.py $N
part strings python strings.py $N
$more && GLIBC_TUNABLES=$no_avx2 part strings.avx python strings.py $N
GLIBC_TUNABLES=$old part strings.sse2 python strings.py $N
part math python maths.py $N
$more && GLIBC_TUNABLES=$no_fma part math.avx python maths.py $N
GLIBC_TUNABLES=$old part math.sse2 python maths.py $N
part crypto python crypto.py $N all
$more && OPENSSL_ia32cap=:~0x20000000 part crypto.no-sha python crypto.py $N
OPENSSL_ia32cap=:~0x20080000 part crypto.no-adx python crypto.py $N
OPENSSL_ia32cap=:~0x20080128 part crypto.avx python crypto.py $N
OPENSSL_ia32cap=~0x1000000000000000:0 part crypto.ssse3 python crypto.py $N
OPENSSL_ia32cap=~0x1200020200000000:0 part crypto.no-aes python crypto.py $N
OPENSSL_ia32cap=0:0 part crypto.none python crypto.py $N

# Perl, awk, bc, Lua and SQLite.
part perl perl /checks/perl.pl $N
part awk gawk -v n=$N -f /checks/float.awk
part mpfr gawk -M -v PREC=240 'BEGIN { x = 2; for (i = 1; i < 40; i++) { x = sqrt(x + i) * exp(1 / i); y += sin(x) + atan2(x, i)
  printf "%.60g %.60g\n", x, y }; print 3 ^ 400 % 10 ^ 90 }'
part bc bc -l <<'END'
scale = 60
4 * a(1); e(1); l(7); s(1); c(1); j(2, 3); sqrt(2); 7 ^ 300 % 1000007
END
part lua lua5.4 /checks/lua.lua
part sqlite sqlite3 :memory: < /checks/lite.sql

# coreutils: long double in seq, sort, printf, numfmt, od; PCLMULQDQ in cksum, AVX2 in wc.
seq $((3000 * N)) | gawk '{ printf "%d %.17g %s\n", $1 * 7919 % 10007, sin($1) * exp($1 % 50), substr("abcdefghij", $1 % 7) }' > text
part seq seq -f %.19Lg -3.25 0.37 11
part seq seq -f %La 0.1 0.1 2
sort -g -k2 text | line sort-g "$(sum)"; sort -k3 -k1n text | line sort-k "$(sum)"; sort -R --random-source=text text | line sort-R "$(sum)"
for f in %a %.20e %.30f %g; do for x in 0.1 1e300 -7.7e-3000 3.0000000000000000001 1e4931 2.5e-4950 0x1.8p-16445 inf; do
  line "printf $f $x" "$(/usr/bin/printf $f $x 2>&1)"; done; done
for to in si iec iec-i; do line "numfmt $to" "$(numfmt --to=$to 1 999 1023 1024 12345678 99999999999 | tr '\n' ' ')"; done
head -c 1600 text | od -An -t fL | line "od fL" "$(sum)"; head -c 160 text | od -An -t fD
line cksum "$(cksum < text)"; line wc "$(wc < text) $(wc -l < text)"
for a in bsd sysv crc md5 sha1 sha224 sha384 sha512 blake2b sm3; do line "cksum $a" "$(cksum -a $a < text)"; done
part factor factor 1000000007 600851475143 18446744073709551557 36893488147419107329
line base64 "$(base64 text | sum) $(base32 text | sum) $(basenc --z85 < /usr/bin/tac | sum 2>&1)"

# Compressors, sound and pictures: what they make, and whether it comes back.
back() { # back NAME PACK UNPACK
  $2 < text > packed; line "$1" "$(sum < packed) $($3 < packed | cmp - text && echo back)"
}
back gzip "busybox gzip" "busybox gunzip"
back bzip2 "bzip2 -9" "bzip2 -d"
back xz "xz -T1 -2" "xz -d"
back xz.bcj "xz -T1 --x86 --lzma2=preset=1 -C sha256" "xz -d"
for level in -1 -5 $($more && echo -12 -19); do back zstd$level "zstd -q --single-thread $level" "zstd -q -d"; done
part b3sum b3sum --num-threads 1 text; line b3sum "$(cat text text | b3sum --num-threads 1 -l 200 | sum)"
line argon2 "$(echo word | argon2 saltsalt -id -t 1 -m 10 -p 1 -l 32 -r)"
for a in md5 sha1 sha256 sha512 sha3_256 ripemd160 streebog512; do line "nettle $a" "$(nettle-hash -a $a < text)"; done
python picture.py > picture.ppm; head -c 40000 picture.ppm > samples
for q in "-dct int" "-dct fast" "-dct float" "-progressive" "-sample 2x1 -quality 90" "-grayscale" "-arithmetic"; do
  cjpeg $q picture.ppm > picture.jpg; line "cjpeg $q" "$(sum < picture.jpg) $(djpeg -ppm < picture.jpg | sum) $(djpeg -dct fast -nosmooth -scale 3/8 -bmp < picture.jpg | sum)"
done
line jpegtran "$(jpegtran -rotate 90 picture.jpg | sum)"
for l in 0 5 8; do
  flac -s -$l --force-raw-format --endian=little --channels=2 --bps=16 --sample-rate=44100 --sign=signed samples -f -o s.flac
  line "flac -$l" "$(sum < s.flac) $(flac -s -d -c --force-raw-format --endian=little --sign=signed s.flac | cmp - samples && echo back)"
done

# Keys: scalars of fixed bytes; the public halves, shared secrets and signatures follow from them.
part keys dash /checks/keys.sh all :~0x80000 $($more && echo :~0x80120 0:0)

# Many processes at once: each one's vector and x87 registers outlive the others' turns.
for i in 1 2; do
  python values.py 1 > p$i & python maths.py 1 > m$i & b3sum --num-threads 1 text text text > b$i &
done; wait
line together "$(cat p1 m1 b1 | sum) $(cat p2 m2 b2 | sum)"
cd / && rm -r "$here"
