.mode list
create table t(i integer primary key, x real, s text);
with recursive c(i) as (select 1 union all select i + 1 from c where i < 3000)
  insert into t select i, sin(i) * exp(i % 30) / (i % 7 + 0.1), printf('%.12g|%e|%d', cos(i), i / 7.0, i * 7919 % 1009) from c;
select count(*), sum(x), avg(x), total(x * x), min(x), max(x) from t;
select i % 10 as k, sum(x), group_concat(cast(x as integer) % 100) from t where i < 400 group by k order by k;
select round(x, 3), cast(x as text), x / 3, printf('%.20f %g %!.18e', x, x, x), abs(x), typeof(x), hex(x) from t where i % 331 = 0;
select i, x, rank() over (order by x), sum(x) over (order by s rows 5 preceding) from t order by s limit 12;
select ln(x * x), log2(i), pow(i, 1.5), atan2(x, i), tanh(x), degrees(x), mod(x, 3.3), ceil(x), acosh(i) from t where i % 499 = 0;
select 9007199254740993, 1e400, -1e-400, 0.1 + 0.2, 1e22, 123456789012345678, 5e-324, 1.7976931348623157e308, cast('1.5e3x' as real);
create index u on t(x); analyze; select s from t order by x desc limit 5;
.sha3sum
