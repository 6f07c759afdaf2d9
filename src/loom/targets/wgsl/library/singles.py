"""WGSL functions of f32, carried as the bits of a ``u32``: the device's own, hidden from its compiler, and by integers.

Layer: targets. What ``__hidden``, ``__guarded`` (by integers where a number is subnormal or nearly so, which many
devices flush) and ``__integers`` are forms of is one function; the self-test of who opens a device chooses. WGSL lets
compilers contract, regroup and take every number for finite, and no probe can show that one never does: so each result
goes on as a word that the compiler does not know, and it sees single operations alone. Invariant: bits equal
``ir.evaluate`` but for those of a NaN; by integers they are that on any device, whatever it does with subnormals,
infinities and NaN.

Source: IEEE 754-2019, 4.3.1 and 5.4.1; the root with remainder of Zimmermann (Karatsuba Square Root, 1999).
"""

TEXT = """
fn add_f32__hidden(a: u32, b: u32) -> u32 {
  return bitcast<u32>(bitcast<f32>(a) + bitcast<f32>(b)) | zero;
}
fn mul_f32__hidden(a: u32, b: u32) -> u32 {
  return bitcast<u32>(bitcast<f32>(a) * bitcast<f32>(b)) | zero;
}
fn div_f32__hidden(a: u32, b: u32) -> u32 {
  return bitcast<u32>(bitcast<f32>(a) / bitcast<f32>(b)) | zero;
}
fn sqrt_f32__hidden(a: u32) -> u32 {
  return bitcast<u32>(sqrt(bitcast<f32>(a))) | zero;
}
fn lt_f32__hidden(a: u32, b: u32) -> bool {
  return (select(0u, 1u, bitcast<f32>(a) < bitcast<f32>(b)) | zero) != 0u;
}
fn le_f32__hidden(a: u32, b: u32) -> bool {
  return (select(0u, 1u, bitcast<f32>(a) <= bitcast<f32>(b)) | zero) != 0u;
}
fn eq_f32__hidden(a: u32, b: u32) -> bool {
  return (select(0u, 1u, bitcast<f32>(a) == bitcast<f32>(b)) | zero) != 0u;
}
fn f32_of_u32__hidden(a: u32) -> u32 {
  return bitcast<u32>(f32(a)) | zero;
}
fn f32_of_i32__hidden(a: u32) -> u32 {
  return bitcast<u32>(f32(bitcast<i32>(a))) | zero;
}
fn sub_f32__hidden(a: u32, b: u32) -> u32 {
  return bitcast<u32>(bitcast<f32>(a) - bitcast<f32>(b ^ zero)) | zero;
}
fn tiny_f32(a: u32) -> bool {
  return ((a & 0x7fffffffu) - 1u) < 0x7fffffu;
}
fn low_f32(a: u32) -> bool {
  return (a & 0x7fffffffu) < 0x1000000u;
}
fn add_f32__guarded(a: u32, b: u32) -> u32 {
  let near = bitcast<u32>(bitcast<f32>(a) + bitcast<f32>(b)) | zero;
  if (tiny_f32(a) | tiny_f32(b) | low_f32(near)) {
    return soft_add_f32(a, b);
  }
  return near;
}
fn add_f32__integers(a: u32, b: u32) -> u32 {
  return soft_add_f32(a, b);
}
fn sub_f32__guarded(a: u32, b: u32) -> u32 {
  return add_f32(a, b ^ 0x80000000u);
}
fn sub_f32__integers(a: u32, b: u32) -> u32 {
  return add_f32(a, b ^ 0x80000000u);
}
fn mul_f32__guarded(a: u32, b: u32) -> u32 {
  let near = bitcast<u32>(bitcast<f32>(a) * bitcast<f32>(b)) | zero;
  if (tiny_f32(a) | tiny_f32(b) | low_f32(near)) {
    return soft_mul_f32(a, b);
  }
  return near;
}
fn mul_f32__integers(a: u32, b: u32) -> u32 {
  return soft_mul_f32(a, b);
}
fn div_f32__guarded(a: u32, b: u32) -> u32 {
  let near = bitcast<u32>(bitcast<f32>(a) / bitcast<f32>(b)) | zero;
  if (tiny_f32(a) | tiny_f32(b) | low_f32(near)) {
    return soft_div_f32(a, b);
  }
  return near;
}
fn div_f32__integers(a: u32, b: u32) -> u32 {
  return soft_div_f32(a, b);
}
fn sqrt_f32__guarded(a: u32) -> u32 {
  if (tiny_f32(a)) {
    return soft_sqrt_f32(a);
  }
  return bitcast<u32>(sqrt(bitcast<f32>(a))) | zero;
}
fn sqrt_f32__integers(a: u32) -> u32 {
  return soft_sqrt_f32(a);
}
fn nan_f32(a: u32) -> bool {
  return (a & 0x7fffffffu) > 0x7f800000u;
}
fn key_f32(a: u32) -> i32 {
  let size = bitcast<i32>(a & 0x7fffffffu);
  return select(size, -size, (a >> 31u) != 0u);
}
fn lt_f32__integers(a: u32, b: u32) -> bool {
  return (key_f32(a) < key_f32(b)) & !(nan_f32(a) | nan_f32(b));
}
fn le_f32__integers(a: u32, b: u32) -> bool {
  return (key_f32(a) <= key_f32(b)) & !(nan_f32(a) | nan_f32(b));
}
fn eq_f32__integers(a: u32, b: u32) -> bool {
  return (key_f32(a) == key_f32(b)) & !(nan_f32(a) | nan_f32(b));
}
fn place_f32(a: u32) -> u32 {
  return a ^ select(0x80000000u, 0xffffffffu, (a >> 31u) != 0u);
}
fn min_f32(a: u32, b: u32) -> u32 {
  let less = select(b, a, place_f32(a) < place_f32(b));
  return select(select(less, b, nan_f32(b)), a, nan_f32(a));
}
fn max_f32(a: u32, b: u32) -> u32 {
  let more = select(b, a, place_f32(a) > place_f32(b));
  return select(select(more, b, nan_f32(b)), a, nan_f32(a));
}
fn rounded_f32(a: u32, away: bool) -> u32 {
  let e = (a >> 23u) & 255u;
  if (e >= 150u) {
    return a;
  }
  if (e < 127u) {
    return (a & 0x80000000u) | select(0u, 0x3f800000u, away & ((a & 0x7fffffffu) != 0u));
  }
  let below = 0x7fffffu >> (e - 127u);
  return (a + select(0u, below, away)) & ~below;
}
fn trunc_f32(a: u32) -> u32 {
  return rounded_f32(a, false);
}
fn floor_f32(a: u32) -> u32 {
  return rounded_f32(a, (a >> 31u) != 0u);
}
fn ceil_f32(a: u32) -> u32 {
  return rounded_f32(a, (a >> 31u) == 0u);
}
fn rint_f32(a: u32) -> u32 {
  let e = (a >> 23u) & 255u;
  if (e >= 150u) {
    return a;
  }
  if (e < 127u) {
    return (a & 0x80000000u) | select(0u, 0x3f800000u, (a & 0x7fffffffu) > 0x3f000000u);
  }
  let below = 0x7fffffu >> (e - 127u);
  let odd = (a >> (150u - e)) & 1u;
  return (a + (below >> 1u) + odd) & ~below;
}
fn sticky_u32(a: u32, count: u32) -> u32 {
  if (count >= 32u) {
    return select(0u, 1u, a != 0u);
  }
  let kept = a >> count;
  return kept | select(0u, 1u, (kept << count) != a);
}
fn pack_f32(sign: u32, exponent: i32, significand: u32) -> u32 {
  let field = exponent + 127;
  if (field >= 255) {
    return sign | 0x7f800000u;
  }
  let m = sticky_u32(significand, bitcast<u32>(max(1 - field, 0)));
  let kept = m >> 8u;
  let rest = m & 255u;
  let up = (rest > 128u) | ((rest == 128u) & ((kept & 1u) != 0u));
  return sign | ((bitcast<u32>(max(field, 1) - 1) << 23u) + kept + select(0u, 1u, up));
}
struct Single {
  m: u32,
  e: i32,
}
fn open_f32(size: u32) -> Single {
  if (size >= 0x800000u) {
    return Single((size << 8u) | 0x80000000u, bitcast<i32>(size >> 23u) - 127);
  }
  let n = countLeadingZeros(size);
  return Single(size << n, -118 - bitcast<i32>(n));
}
fn soft_add_f32(a: u32, b: u32) -> u32 {
  let turned = (b & 0x7fffffffu) > (a & 0x7fffffffu);
  let x = select(a, b, turned);
  let y = select(b, a, turned);
  let u = x & 0x7fffffffu;
  let v = y & 0x7fffffffu;
  if (u >= 0x7f800000u) {
    return select(x, 0x7fc00000u, (u > 0x7f800000u) | ((v == 0x7f800000u) & (x != y)));
  }
  if (v == 0u) {
    return select(x, x & y, u == 0u);
  }
  let e = max(u >> 23u, 1u);
  let large = ((u & 0x7fffffu) | select(0u, 0x800000u, u >= 0x800000u)) << 6u;
  let small = sticky_u32(((v & 0x7fffffu) | select(0u, 0x800000u, v >= 0x800000u)) << 6u, e - max(v >> 23u, 1u));
  let m = select(large - small, large + small, ((x ^ y) >> 31u) == 0u);
  if (m == 0u) {
    return 0u;
  }
  let n = countLeadingZeros(m);
  return pack_f32(x & 0x80000000u, bitcast<i32>(e) - 125 - bitcast<i32>(n), m << n);
}
fn soft_mul_f32(a: u32, b: u32) -> u32 {
  let sign = (a ^ b) & 0x80000000u;
  let u = a & 0x7fffffffu;
  let v = b & 0x7fffffffu;
  if (max(u, v) >= 0x7f800000u) {
    return select(sign | 0x7f800000u, 0x7fc00000u, (max(u, v) > 0x7f800000u) | (min(u, v) == 0u));
  }
  if (min(u, v) == 0u) {
    return sign;
  }
  let x = open_f32(u);
  let y = open_f32(v);
  let high = mulhi_u32(x.m, y.m);
  let low = x.m * y.m;
  if ((high >> 31u) != 0u) {
    return pack_f32(sign, x.e + y.e + 1, high | select(0u, 1u, low != 0u));
  }
  return pack_f32(sign, x.e + y.e, (high << 1u) | (low >> 31u) | select(0u, 1u, (low << 1u) != 0u));
}
fn soft_div_f32(a: u32, b: u32) -> u32 {
  let sign = (a ^ b) & 0x80000000u;
  let u = a & 0x7fffffffu;
  let v = b & 0x7fffffffu;
  if ((max(u, v) > 0x7f800000u) | ((u == v) & ((u == 0u) | (u == 0x7f800000u)))) {
    return 0x7fc00000u;
  }
  if ((u == 0x7f800000u) | (v == 0u)) {
    return sign | 0x7f800000u;
  }
  if ((u == 0u) | (v == 0x7f800000u)) {
    return sign;
  }
  let x = open_f32(u);
  let y = open_f32(v);
  let by = y.m >> 8u;
  let less = (x.m >> 8u) < by;
  var rest = select(x.m >> 8u, x.m >> 7u, less) - by;
  var q = 1u;
  let d1 = (rest << 8u) / by;
  rest = (rest << 8u) - d1 * by;
  let d2 = (rest << 8u) / by;
  rest = (rest << 8u) - d2 * by;
  let d3 = (rest << 8u) / by;
  rest = (rest << 8u) - d3 * by;
  let d4 = (rest << 6u) / by;
  rest = (rest << 6u) - d4 * by;
  q = (1u << 31u) | (d1 << 23u) | (d2 << 15u) | (d3 << 7u) | (d4 << 1u) | select(0u, 1u, rest != 0u);
  return pack_f32(sign, x.e - y.e - select(0, 1, less), q);
}
fn root_u32(a: u32) -> u32 {
  var s = u32(sqrt(f32(a)));
  s = select(s, s - 1u, s * s > a);
  s = select(s, s - 1u, s * s > a);
  s = select(s, s + 1u, (s + 1u) * (s + 1u) <= a);
  return select(s, s + 1u, (s + 1u) * (s + 1u) <= a);
}
fn soft_sqrt_f32(a: u32) -> u32 {
  if ((a & 0x7fffffffu) == 0u) {
    return a;
  }
  if (a >= 0x7f800000u) {
    return select(0x7fc00000u, a, a == 0x7f800000u);
  }
  let x = open_f32(a);
  let odd = bitcast<u32>(x.e) & 1u;
  let high = (x.m >> (8u - odd)) << 3u;
  let top = root_u32(high);
  let t = (high - top * top) << 13u;
  let q = t / (2u * top);
  var s = (top << 13u) + q;
  var rest = bitcast<i32>((t - q * 2u * top) << 13u) - bitcast<i32>(q * q);
  if (rest < 0) {
    rest = rest + bitcast<i32>(2u * s) - 1;
    s = s - 1u;
  }
  return pack_f32(0u, (x.e - bitcast<i32>(odd)) >> 1u, (s << 5u) | select(0u, 1u, rest != 0));
}
fn f32_of_u32__integers(a: u32) -> u32 {
  if (a == 0u) {
    return 0u;
  }
  let n = countLeadingZeros(a);
  return pack_f32(0u, 31 - bitcast<i32>(n), a << n);
}
fn f32_of_i32__integers(a: u32) -> u32 {
  return f32_of_u32(abs_i32(a)) | (a & 0x80000000u);
}
fn f32_of_u64(a: vec2<u32>) -> u32 {
  if ((a.x | a.y) == 0u) {
    return 0u;
  }
  let n = clz_u64(a).x;
  let m = shl_u64(a, n);
  return pack_f32(0u, 63 - bitcast<i32>(n), m.y | select(0u, 1u, m.x != 0u));
}
fn f32_of_i64(a: vec2<u32>) -> u32 {
  return f32_of_u64(abs_i64(a)) | (a.y & 0x80000000u);
}
fn u64_of_size_f32(size: u32) -> vec2<u32> {
  if (size < 0x3f800000u) {
    return vec2<u32>(0u, 0u);
  }
  let e = (size >> 23u) - 127u;
  let m = (size & 0x7fffffu) | 0x800000u;
  if (e <= 23u) {
    return vec2<u32>(m >> (23u - e), 0u);
  }
  return shl_u64(vec2<u32>(m, 0u), e - 23u);
}
fn u32_of_f32(a: u32) -> u32 {
  if (nan_f32(a) | ((a >> 31u) != 0u)) {
    return 0u;
  }
  return select(u64_of_size_f32(a).x, 0xffffffffu, a >= 0x4f800000u);
}
fn i32_of_f32(a: u32) -> u32 {
  let size = a & 0x7fffffffu;
  if (nan_f32(a)) {
    return 0u;
  }
  let whole = u64_of_size_f32(size).x;
  if (size >= 0x4f000000u) {
    return 0x7fffffffu + (a >> 31u);
  }
  return select(whole, 0u - whole, (a >> 31u) != 0u);
}
fn u64_of_f32(a: u32) -> vec2<u32> {
  if (nan_f32(a) | ((a >> 31u) != 0u)) {
    return vec2<u32>(0u, 0u);
  }
  return select(u64_of_size_f32(a), vec2<u32>(0xffffffffu, 0xffffffffu), a >= 0x5f800000u);
}
fn i64_of_f32(a: u32) -> vec2<u32> {
  let size = a & 0x7fffffffu;
  if (nan_f32(a)) {
    return vec2<u32>(0u, 0u);
  }
  if (size >= 0x5f000000u) {
    let sign = a >> 31u;
    return vec2<u32>(sign - 1u, 0x7fffffffu + sign);
  }
  let whole = u64_of_size_f32(size);
  return select(whole, neg_u64(whole), (a >> 31u) != 0u);
}
"""
