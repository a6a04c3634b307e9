# Perl's numbers, strings and sorts.
use strict; use POSIX (); use List::Util qw(sum0 reduce shuffle);
my $n = 300 * shift;
sub show { my ($name, @v) = @_; my $t = join ' ', @v; my $s = unpack '%32C*', $t;
  my $h = 0; $h = ($h * 33 + ord) & 0xFFFFFFFF for split //, $t; printf "%s %d %08x %.90s\n", $name, length $t, $h, $t }
my $seed = 12345; sub rnd { $seed = ($seed * 1103515245 + 12345) & 0x7FFFFFFF; $seed / 0x7FFFFFFF }
my @x = map { (rnd() - 0.5) * 10 ** int(rnd() * 12 - 4) } 1 .. $n;
show 'sprintf', map { sprintf '%.17g %e %.3f %a', $_, $_, $_, $_ } @x;
show 'sin', map { sin } @x; show 'cos', map { cos } @x; show 'exp', map { exp($_ % 700) } @x;
show 'log', map { log(abs) } @x; show 'sqrt', map { sqrt(abs) } @x; show 'atan2', map { atan2($_, $x[7]) } @x;
show 'power', map { abs($_) ** 1.37 } @x; show 'int', map { int } @x; show 'modulo', map { ($_ * 1000) % 97 } @x;
show 'posix', map { (POSIX::floor($_), POSIX::ceil($_), POSIX::fmod($_, 3.7), POSIX::tanh($_), POSIX::frexp($_), POSIX::ldexp($_, 7), POSIX::strtod("$_ x")) } @x;
show 'posix99', map { (POSIX::cbrt($_), POSIX::erf($_), POSIX::expm1($_ / 1e6), POSIX::log1p(abs), POSIX::lround($_), POSIX::fma($_, 3, 0.1), POSIX::hypot($_, 4), POSIX::remainder($_, 0.7)) } @x;
show 'sum', sum0(@x); show 'reduce', reduce { $a * 0.75 + $b } @x;
show 'sort', sort { $a <=> $b } @x; show 'sort text', sort map { "$_" } @x;
show 'pack', unpack 'H*', pack 'd<10 f>10 q3 w4 N2 v2 U3', @x[0 .. 19], 1 << 40, -7, 99, 1, 128, 16384, 1 << 50, 5, 6, 7, 8, 300, 8364, 128512;
show 'unpack', unpack '(A3 n C)4 %64Q*', join '', map { chr($_ * 37 & 127) } 1 .. 104;
show 'vec', map { my $v = ''; vec($v, $_, 4) = $_ & 15 for 1 .. $_ % 40; unpack 'b*', $v } 1 .. 60;
my $text = join ',', @x; my %count; $count{$_}++ for $text =~ /\d/g; show 'count', map { "$_=$count{$_}" } sort keys %count;
(my $t = $text) =~ tr/0-9/a-j/; show 'tr', $t; show 'regex', $text =~ /(\d{3,5})\.(\d*?)5(?=\d)/g; show 'reverse', scalar reverse $text;
show 'bits', map { ($_ ^ $_ << 7 ^ $_ >> 3) & 0xFFFFFFFF } map { int(rnd() * 2 ** 32) } 1 .. $n;
show 'big', 2 ** 53 + 1, 18446744073709551615, 9223372036854775807 + 1, -7 / 2, 7 % -3, 1e15 / 3, 0.1 + 0.2, 1e308 * 10, 9 ** 9 ** 9;
my @m = map { [map { rnd() } 1 .. 12] } 1 .. 12; my @p = map { my $r = $_; [map { my $c = $_; sum0(map { $m[$r][$_] * $m[$_][$c] } 0 .. 11) } 0 .. 11] } 0 .. 11;
show 'matrix', map { @$_ } @p;
