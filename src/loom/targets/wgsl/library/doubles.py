"""WGSL functions of f64, which WGSL has not: by integers, a number being the bits of a ``vec2<u32>``, low word first.

Layer: targets. ``__wide`` are the functions where a device has f64 and u64 beyond WGSL, as by ``wgpu`` it may.
Invariant: bits equal ``ir.evaluate`` but for those of a NaN; no function has a loop.

Source: IEEE 754-2019, 4.3.1 and 5.4.1; Knuth, The Art of Computer Programming 2, 4.3.1 D (quotients by digits of 16
bits); Zimmermann (Karatsuba Square Root, 1999).
"""

TEXT = """
fn double_of(a: vec2<u32>) -> f64 {
  return bitcast<f64>((u64(a.y) << 32u) | u64(a.x));
}
fn words_of(a: f64) -> vec2<u32> {
  let whole = bitcast<u64>(a);
  return hide_wide(vec2<u32>(u32(whole & 0xfffffffflu), u32(whole >> 32u)));
}
fn add_f64__wide(a: vec2<u32>, b: vec2<u32>) -> vec2<u32> {
  return words_of(double_of(a) + double_of(b));
}
fn sub_f64__wide(a: vec2<u32>, b: vec2<u32>) -> vec2<u32> {
  return words_of(double_of(a) - double_of(b));
}
fn mul_f64__wide(a: vec2<u32>, b: vec2<u32>) -> vec2<u32> {
  return words_of(double_of(a) * double_of(b));
}
fn div_f64__wide(a: vec2<u32>, b: vec2<u32>) -> vec2<u32> {
  return words_of(double_of(a) / double_of(b));
}
fn sqrt_f64__wide(a: vec2<u32>) -> vec2<u32> {
  return words_of(sqrt(double_of(a)));
}
fn nan_f64(a: vec2<u32>) -> bool {
  let high = a.y & 0x7fffffffu;
  return (high > 0x7ff00000u) | ((high == 0x7ff00000u) & (a.x != 0u));
}
fn inf_f64(a: vec2<u32>) -> bool {
  return ((a.y & 0x7fffffffu) == 0x7ff00000u) & (a.x == 0u);
}
fn zero_f64(a: vec2<u32>) -> bool {
  return ((a.y & 0x7fffffffu) | a.x) == 0u;
}
fn place_f64(a: vec2<u32>) -> vec2<u32> {
  return select(a ^ vec2<u32>(0u, 0x80000000u), ~a, (a.y >> 31u) != 0u);
}
fn lt_f64(a: vec2<u32>, b: vec2<u32>) -> bool {
  return lt_u64(place_f64(a), place_f64(b)) & !(nan_f64(a) | nan_f64(b) | (zero_f64(a) & zero_f64(b)));
}
fn eq_f64(a: vec2<u32>, b: vec2<u32>) -> bool {
  return (eq_u64(a, b) | (zero_f64(a) & zero_f64(b))) & !(nan_f64(a) | nan_f64(b));
}
fn le_f64(a: vec2<u32>, b: vec2<u32>) -> bool {
  return lt_f64(a, b) | eq_f64(a, b);
}
fn min_f64(a: vec2<u32>, b: vec2<u32>) -> vec2<u32> {
  let less = select(b, a, lt_u64(place_f64(a), place_f64(b)));
  return select(select(less, b, nan_f64(b)), a, nan_f64(a));
}
fn max_f64(a: vec2<u32>, b: vec2<u32>) -> vec2<u32> {
  let more = select(b, a, lt_u64(place_f64(b), place_f64(a)));
  return select(select(more, b, nan_f64(b)), a, nan_f64(a));
}
fn rounded_f64(a: vec2<u32>, away: bool) -> vec2<u32> {
  let e = (a.y >> 20u) & 2047u;
  if (e >= 1075u) {
    return a;
  }
  if (e < 1023u) {
    return vec2<u32>(0u, (a.y & 0x80000000u) | select(0u, 0x3ff00000u, away & !zero_f64(a)));
  }
  let below = shr_u64(vec2<u32>(0xffffffffu, 0xfffffu), e - 1023u);
  return select(a, add_u64(a, below), away) & ~below;
}
fn trunc_f64(a: vec2<u32>) -> vec2<u32> {
  return rounded_f64(a, false);
}
fn floor_f64(a: vec2<u32>) -> vec2<u32> {
  return rounded_f64(a, (a.y >> 31u) != 0u);
}
fn ceil_f64(a: vec2<u32>) -> vec2<u32> {
  return rounded_f64(a, (a.y >> 31u) == 0u);
}
fn rint_f64(a: vec2<u32>) -> vec2<u32> {
  let e = (a.y >> 20u) & 2047u;
  if (e >= 1075u) {
    return a;
  }
  if (e < 1023u) {
    let above = lt_u64(vec2<u32>(0u, 0x3fe00000u), a & vec2<u32>(0xffffffffu, 0x7fffffffu));
    return vec2<u32>(0u, (a.y & 0x80000000u) | select(0u, 0x3ff00000u, above));
  }
  let below = shr_u64(vec2<u32>(0xffffffffu, 0xfffffu), e - 1023u);
  let odd = shr_u64(a, 1075u - e).x & 1u;
  return add_u64(a, add_u64(shr_u64(below, 1u), vec2<u32>(odd, 0u))) & ~below;
}
fn sticky_u64(a: vec2<u32>, count: u32) -> vec2<u32> {
  if (count >= 64u) {
    return vec2<u32>(select(0u, 1u, (a.x | a.y) != 0u), 0u);
  }
  let kept = shr_u64(a, count);
  return kept | vec2<u32>(select(1u, 0u, eq_u64(shl_u64(kept, count), a)), 0u);
}
fn pack_f64(sign: u32, exponent: i32, significand: vec2<u32>) -> vec2<u32> {
  let field = exponent + 1023;
  if (field >= 2047) {
    return vec2<u32>(0u, sign | 0x7ff00000u);
  }
  let m = sticky_u64(significand, bitcast<u32>(max(1 - field, 0)));
  let kept = shr_u64(m, 11u);
  let rest = m.x & 2047u;
  let up = (rest > 1024u) | ((rest == 1024u) & ((kept.x & 1u) != 0u));
  let base = vec2<u32>(kept.x, kept.y + (bitcast<u32>(max(field, 1) - 1) << 20u));
  let found = add_u64(base, vec2<u32>(select(0u, 1u, up), 0u));
  return vec2<u32>(found.x, found.y | sign);
}
struct Double {
  m: vec2<u32>,
  e: i32,
}
fn open_f64(a: vec2<u32>) -> Double {
  let high = a.y & 0x7fffffffu;
  if (high >= 0x100000u) {
    let m = shl_u64(vec2<u32>(a.x, high), 11u);
    return Double(vec2<u32>(m.x, m.y | 0x80000000u), bitcast<i32>(high >> 20u) - 1023);
  }
  let size = vec2<u32>(a.x, high);
  let n = clz_u64(size).x;
  return Double(shl_u64(size, n), -1011 - bitcast<i32>(n));
}
fn whole_f64(size: vec2<u32>) -> vec2<u32> {
  return shl_u64(vec2<u32>(size.x, (size.y & 0xfffffu) | select(0u, 0x100000u, size.y >= 0x100000u)), 9u);
}
fn add_f64__integers(a: vec2<u32>, b: vec2<u32>) -> vec2<u32> {
  let sizes = vec2<u32>(0xffffffffu, 0x7fffffffu);
  let turned = lt_u64(a & sizes, b & sizes);
  let x = select(a, b, turned);
  let y = select(b, a, turned);
  let u = x & sizes;
  let v = y & sizes;
  if (u.y >= 0x7ff00000u) {
    let wrong = nan_f64(u) | (inf_f64(v) & (x.y != y.y));
    return select(x, vec2<u32>(0u, 0x7ff80000u), wrong);
  }
  if (zero_f64(v)) {
    return select(x, x & y, zero_f64(u));
  }
  let e = max(u.y >> 20u, 1u);
  let large = whole_f64(u);
  let small = sticky_u64(whole_f64(v), e - max(v.y >> 20u, 1u));
  let m = select(sub_u64(large, small), add_u64(large, small), ((x.y ^ y.y) >> 31u) == 0u);
  if ((m.x | m.y) == 0u) {
    return m;
  }
  let n = clz_u64(m).x;
  return pack_f64(x.y & 0x80000000u, bitcast<i32>(e) - 1021 - bitcast<i32>(n), shl_u64(m, n));
}
fn sub_f64__integers(a: vec2<u32>, b: vec2<u32>) -> vec2<u32> {
  return add_f64(a, b ^ vec2<u32>(0u, 0x80000000u));
}
fn mul_f64__integers(a: vec2<u32>, b: vec2<u32>) -> vec2<u32> {
  let sign = (a.y ^ b.y) & 0x80000000u;
  let none = zero_f64(a) | zero_f64(b);
  if (nan_f64(a) | nan_f64(b) | ((inf_f64(a) | inf_f64(b)) & none)) {
    return vec2<u32>(0u, 0x7ff80000u);
  }
  if (inf_f64(a) | inf_f64(b)) {
    return vec2<u32>(0u, sign | 0x7ff00000u);
  }
  if (none) {
    return vec2<u32>(0u, sign);
  }
  let x = open_f64(a);
  let y = open_f64(b);
  let high = mulhi_u64(x.m, y.m);
  let low = mul_u64(x.m, y.m);
  if ((high.y >> 31u) != 0u) {
    return pack_f64(sign, x.e + y.e + 1, high | vec2<u32>(select(0u, 1u, (low.x | low.y) != 0u), 0u));
  }
  let rest = (low.x | (low.y << 1u)) != 0u;
  let near = shl_u64(high, 1u) | vec2<u32>((low.y >> 31u) | select(0u, 1u, rest), 0u);
  return pack_f64(sign, x.e + y.e, near);
}
struct Digit {
  q: u32,
  rest: vec2<u32>,
}
struct Long {
  low: vec2<u32>,
  top: u32,
}
fn add_long(a: Long, b: vec2<u32>) -> Long {
  let low = add_u64(a.low, b);
  return Long(low, a.top + select(0u, 1u, lt_u64(low, b)));
}
fn digit_f64(rest: vec2<u32>, by: vec2<u32>) -> Digit {
  var q = min(rest.y / (by.y >> 16u), 65535u);
  let low = product(q, by.x);
  let high = add_u64(product(q, by.y), vec2<u32>(low.y, 0u));
  let given = Long(vec2<u32>(rest.x << 16u, (rest.y << 16u) | (rest.x >> 16u)), rest.y >> 16u);
  let taken = vec2<u32>(low.x, high.x);
  let less = lt_u64(given.low, taken);
  var left = Long(sub_u64(given.low, taken), given.top - high.y - select(0u, 1u, less));
  if ((left.top >> 31u) != 0u) {
    left = add_long(left, by);
    q = q - 1u;
  }
  if ((left.top >> 31u) != 0u) {
    left = add_long(left, by);
    q = q - 1u;
  }
  return Digit(q, left.low);
}
fn div_f64__integers(a: vec2<u32>, b: vec2<u32>) -> vec2<u32> {
  let sign = (a.y ^ b.y) & 0x80000000u;
  if (nan_f64(a) | nan_f64(b) | (inf_f64(a) & inf_f64(b)) | (zero_f64(a) & zero_f64(b))) {
    return vec2<u32>(0u, 0x7ff80000u);
  }
  if (inf_f64(a) | zero_f64(b)) {
    return vec2<u32>(0u, sign | 0x7ff00000u);
  }
  if (zero_f64(a) | inf_f64(b)) {
    return vec2<u32>(0u, sign);
  }
  let x = open_f64(a);
  let y = open_f64(b);
  let d1 = digit_f64(shr_u64(x.m, 1u), y.m);
  let d2 = digit_f64(d1.rest, y.m);
  let d3 = digit_f64(d2.rest, y.m);
  let d4 = digit_f64(d3.rest, y.m);
  let left = select(0u, 1u, (d4.rest.x | d4.rest.y) != 0u);
  let q = vec2<u32>((d3.q << 16u) | d4.q | left, (d1.q << 16u) | d2.q);
  let n = countLeadingZeros(q.y);
  return pack_f64(sign, x.e - y.e - bitcast<i32>(n), shl_u64(q, n) | vec2<u32>(left, 0u));
}
fn sqrt_f64__integers(a: vec2<u32>) -> vec2<u32> {
  if (zero_f64(a)) {
    return a;
  }
  if (((a.y >> 31u) != 0u) | nan_f64(a)) {
    return vec2<u32>(0u, 0x7ff80000u);
  }
  if (inf_f64(a)) {
    return a;
  }
  let x = open_f64(a);
  let odd = bitcast<u32>(x.e) & 1u;
  let high = shl_u64(shr_u64(x.m, 11u - odd), 2u);
  let first = shr_u64(high, 28u).x;
  let root = root_u32(first);
  let t = ((first - root * root) << 14u) + ((high.x >> 14u) & 0x3fffu);
  let q1 = t / (2u * root);
  var s = (root << 14u) + q1;
  var rest = bitcast<i32>(((t - q1 * 2u * root) << 14u) + (high.x & 0x3fffu)) - bitcast<i32>(q1 * q1);
  if (rest < 0) {
    rest = rest + bitcast<i32>(2u * s) - 1;
    s = s - 1u;
  }
  let second = halve(bitcast<u32>(rest) >> 4u, bitcast<u32>(rest) << 28u, 2u * s);
  var found = add_u64(shl_u64(vec2<u32>(s, 0u), 28u), vec2<u32>(second.x, 0u));
  var left = sub_u64(shl_u64(vec2<u32>(second.y, 0u), 28u), product(second.x, second.x));
  if ((left.y >> 31u) != 0u) {
    left = sub_u64(add_u64(left, shl_u64(found, 1u)), vec2<u32>(1u, 0u));
    found = sub_u64(found, vec2<u32>(1u, 0u));
  }
  let m = shl_u64(found, 8u) | vec2<u32>(select(0u, 1u, (left.x | left.y) != 0u), 0u);
  return pack_f64(0u, (x.e - bitcast<i32>(odd)) >> 1u, m);
}
fn f64_of_u64(a: vec2<u32>) -> vec2<u32> {
  if ((a.x | a.y) == 0u) {
    return a;
  }
  let n = clz_u64(a).x;
  return pack_f64(0u, 63 - bitcast<i32>(n), shl_u64(a, n));
}
fn f64_of_i64(a: vec2<u32>) -> vec2<u32> {
  return f64_of_u64(abs_i64(a)) | vec2<u32>(0u, a.y & 0x80000000u);
}
fn f64_of_u32(a: u32) -> vec2<u32> {
  return f64_of_u64(vec2<u32>(a, 0u));
}
fn f64_of_i32(a: u32) -> vec2<u32> {
  return f64_of_i64(wide_i32(a));
}
fn f64_of_f32(a: u32) -> vec2<u32> {
  let sign = a & 0x80000000u;
  let size = a & 0x7fffffffu;
  if (size >= 0x7f800000u) {
    return vec2<u32>(0u, sign | select(0x7ff80000u, 0x7ff00000u, size == 0x7f800000u));
  }
  if (size == 0u) {
    return vec2<u32>(0u, sign);
  }
  let x = open_f32(size);
  return pack_f64(sign, x.e, vec2<u32>(0u, x.m));
}
fn f32_of_f64(a: vec2<u32>) -> u32 {
  let sign = a.y & 0x80000000u;
  if (nan_f64(a)) {
    return 0x7fc00000u;
  }
  if (inf_f64(a)) {
    return sign | 0x7f800000u;
  }
  if (zero_f64(a)) {
    return sign;
  }
  let x = open_f64(a);
  return pack_f32(sign, x.e, x.m.y | select(0u, 1u, x.m.x != 0u));
}
fn u64_of_size_f64(a: vec2<u32>) -> vec2<u32> {
  let e = (a.y >> 20u) & 2047u;
  if (e < 1023u) {
    return vec2<u32>(0u, 0u);
  }
  let m = vec2<u32>(a.x, (a.y & 0xfffffu) | 0x100000u);
  if (e <= 1075u) {
    return shr_u64(m, 1075u - e);
  }
  return shl_u64(m, e - 1075u);
}
fn u64_of_f64(a: vec2<u32>) -> vec2<u32> {
  if (nan_f64(a) | ((a.y >> 31u) != 0u)) {
    return vec2<u32>(0u, 0u);
  }
  return select(u64_of_size_f64(a), vec2<u32>(0xffffffffu, 0xffffffffu), a.y >= 0x43f00000u);
}
fn i64_of_f64(a: vec2<u32>) -> vec2<u32> {
  if (nan_f64(a)) {
    return vec2<u32>(0u, 0u);
  }
  if ((a.y & 0x7fffffffu) >= 0x43e00000u) {
    let sign = a.y >> 31u;
    return vec2<u32>(sign - 1u, 0x7fffffffu + sign);
  }
  let whole = u64_of_size_f64(a);
  return select(whole, neg_u64(whole), (a.y >> 31u) != 0u);
}
fn u32_of_f64(a: vec2<u32>) -> u32 {
  let whole = u64_of_f64(a);
  return select(whole.x, 0xffffffffu, whole.y != 0u);
}
fn i32_of_f64(a: vec2<u32>) -> u32 {
  if (nan_f64(a)) {
    return 0u;
  }
  let whole = u64_of_size_f64(a);
  let sign = a.y >> 31u;
  if (((a.y & 0x7fffffffu) >= 0x41e00000u) | ((whole.x >> 31u) != 0u)) {
    return 0x7fffffffu + sign;
  }
  return select(whole.x, 0u - whole.x, sign != 0u);
}
"""
