"""WGSL functions of integers: high halves, division, 64 bits in two words.

Layer: targets. A ``u64`` or ``i64`` is a ``vec2<u32>``, its low word first. Invariant: bits equal ``ir.evaluate``; no
function has a loop, of which some drivers allow a lane so many.

Source: Hacker's Delight (Warren, 2nd ed.), 8-2 (high half), 9-4 (64 by 32 bits), 9-5 (64 by 64 bits).
"""

TEXT = """
fn hide(x: u32) -> u32 {
  return x | zero;
}
fn hide_wide(x: vec2<u32>) -> vec2<u32> {
  return x | vec2<u32>(zero, zero);
}
fn part(x: u32, at: u32, bits: u32) -> i32 {
  return bitcast<i32>(x << (32u - bits - at)) >> (32u - bits);
}
fn product_i8(a: u32, b: u32, at: u32) -> u32 {
  return bitcast<u32>(part(a, at, 8u) * part(b, at, 8u));
}
fn product_u8i8(a: u32, b: u32, at: u32) -> u32 {
  return ((a >> at) & 0xffu) * bitcast<u32>(part(b, at, 8u));
}
fn dot4_i8__wide(a: u32, b: u32, c: u32) -> u32 {
  return c + bitcast<u32>(dot4I8Packed(a, b));
}
fn dot4_i8__integers(a: u32, b: u32, c: u32) -> u32 {
  return c + product_i8(a, b, 0u) + product_i8(a, b, 8u) + product_i8(a, b, 16u) + product_i8(a, b, 24u);
}
fn dot4_u8i8(a: u32, b: u32, c: u32) -> u32 {
  return c + product_u8i8(a, b, 0u) + product_u8i8(a, b, 8u) + product_u8i8(a, b, 16u) + product_u8i8(a, b, 24u);
}
fn dot2_i16(a: u32, b: u32, c: u32) -> u32 {
  let low = bitcast<u32>(part(a, 0u, 16u) * part(b, 0u, 16u));
  return c + low + bitcast<u32>(part(a, 16u, 16u) * part(b, 16u, 16u));
}
fn mulhi_u32(a: u32, b: u32) -> u32 {
  let a0 = a & 0xffffu;
  let a1 = a >> 16u;
  let b0 = b & 0xffffu;
  let b1 = b >> 16u;
  let u = a1 * b0 + ((a0 * b0) >> 16u);
  let v = a0 * b1 + (u & 0xffffu);
  return a1 * b1 + (u >> 16u) + (v >> 16u);
}
fn mulhi_i32(a: u32, b: u32) -> u32 {
  return mulhi_u32(a, b) - select(0u, b, (a >> 31u) != 0u) - select(0u, a, (b >> 31u) != 0u);
}
fn idiv_u32(a: u32, b: u32) -> u32 {
  return select(a / max(b, 1u), 0u, b == 0u);
}
fn abs_i32(a: u32) -> u32 {
  return select(a, 0u - a, (a >> 31u) != 0u);
}
fn idiv_i32(a: u32, b: u32) -> u32 {
  let q = idiv_u32(abs_i32(a), abs_i32(b));
  return select(q, 0u - q, ((a ^ b) >> 31u) != 0u);
}
fn irem_u32(a: u32, b: u32) -> u32 {
  return a - idiv_u32(a, b) * b;
}
fn irem_i32(a: u32, b: u32) -> u32 {
  return a - idiv_i32(a, b) * b;
}
fn wide_i32(a: u32) -> vec2<u32> {
  return vec2<u32>(a, 0u - (a >> 31u));
}
fn add_u64(a: vec2<u32>, b: vec2<u32>) -> vec2<u32> {
  let low = a.x + b.x;
  return vec2<u32>(low, a.y + b.y + select(0u, 1u, low < a.x));
}
fn sub_u64(a: vec2<u32>, b: vec2<u32>) -> vec2<u32> {
  return vec2<u32>(a.x - b.x, a.y - b.y - select(0u, 1u, a.x < b.x));
}
fn neg_u64(a: vec2<u32>) -> vec2<u32> {
  return sub_u64(vec2<u32>(0u, 0u), a);
}
fn abs_i64(a: vec2<u32>) -> vec2<u32> {
  return select(a, neg_u64(a), (a.y >> 31u) != 0u);
}
fn product(a: u32, b: u32) -> vec2<u32> {
  return vec2<u32>(a * b, mulhi_u32(a, b));
}
fn mul_u64(a: vec2<u32>, b: vec2<u32>) -> vec2<u32> {
  return vec2<u32>(a.x * b.x, mulhi_u32(a.x, b.x) + a.x * b.y + a.y * b.x);
}
fn mulhi_u64(a: vec2<u32>, b: vec2<u32>) -> vec2<u32> {
  let middle = add_u64(product(a.y, b.x), vec2<u32>(mulhi_u32(a.x, b.x), 0u));
  let cross = add_u64(product(a.x, b.y), vec2<u32>(middle.x, 0u));
  return add_u64(add_u64(product(a.y, b.y), vec2<u32>(middle.y, 0u)), vec2<u32>(cross.y, 0u));
}
fn mulhi_i64(a: vec2<u32>, b: vec2<u32>) -> vec2<u32> {
  let none = vec2<u32>(0u, 0u);
  let high = sub_u64(mulhi_u64(a, b), select(none, b, (a.y >> 31u) != 0u));
  return sub_u64(high, select(none, a, (b.y >> 31u) != 0u));
}
fn shl_u64(a: vec2<u32>, count: u32) -> vec2<u32> {
  let n = count & 31u;
  let carried = select(a.x >> ((32u - n) & 31u), 0u, n == 0u);
  let near = vec2<u32>(a.x << n, (a.y << n) | carried);
  return select(near, vec2<u32>(0u, near.x), (count & 32u) != 0u);
}
fn shr_u64(a: vec2<u32>, count: u32) -> vec2<u32> {
  let n = count & 31u;
  let carried = select(a.y << ((32u - n) & 31u), 0u, n == 0u);
  let near = vec2<u32>((a.x >> n) | carried, a.y >> n);
  return select(near, vec2<u32>(near.y, 0u), (count & 32u) != 0u);
}
fn shr_i64(a: vec2<u32>, count: u32) -> vec2<u32> {
  let sign = 0u - (a.y >> 31u);
  return shr_u64(a ^ vec2<u32>(sign, sign), count) ^ vec2<u32>(sign, sign);
}
fn eq_u64(a: vec2<u32>, b: vec2<u32>) -> bool {
  return ((a.x ^ b.x) | (a.y ^ b.y)) == 0u;
}
fn lt_u64(a: vec2<u32>, b: vec2<u32>) -> bool {
  return (a.y < b.y) | ((a.y == b.y) & (a.x < b.x));
}
fn lt_i64(a: vec2<u32>, b: vec2<u32>) -> bool {
  return lt_u64(a ^ vec2<u32>(0u, 0x80000000u), b ^ vec2<u32>(0u, 0x80000000u));
}
fn clz_u64(a: vec2<u32>) -> vec2<u32> {
  return vec2<u32>(select(countLeadingZeros(a.y), 32u + countLeadingZeros(a.x), a.y == 0u), 0u);
}
fn popcount_u64(a: vec2<u32>) -> vec2<u32> {
  return vec2<u32>(countOneBits(a.x) + countOneBits(a.y), 0u);
}
fn shift_back(digit: u32, rest: u32, top: u32, low: u32, next: u32) -> vec2<u32> {
  let over = (digit >= 65536u) | (digit * low > ((rest << 16u) | next));
  let wrong = over & (rest < 65536u);
  return vec2<u32>(select(digit, digit - 1u, wrong), select(rest, rest + top, wrong));
}
fn halve(high: u32, low: u32, by: u32) -> vec2<u32> {
  let n = countLeadingZeros(by);
  let d = by << n;
  let top = d >> 16u;
  let rest = d & 0xffffu;
  let u = shl_u64(vec2<u32>(low, high), n);
  let next = u.x >> 16u;
  let first = u.y / top;
  var q = shift_back(first, u.y - first * top, top, rest, next);
  q = shift_back(q.x, q.y, top, rest, next);
  let r = ((u.y << 16u) | next) - q.x * d;
  let second = r / top;
  var p = shift_back(second, r - second * top, top, rest, u.x & 0xffffu);
  p = shift_back(p.x, p.y, top, rest, u.x & 0xffffu);
  return vec2<u32>((q.x << 16u) + p.x, (((r << 16u) | (u.x & 0xffffu)) - p.x * d) >> n);
}
fn idiv_u64(a: vec2<u32>, b: vec2<u32>) -> vec2<u32> {
  if (b.y == 0u) {
    if (b.x == 0u) {
      return vec2<u32>(0u, 0u);
    }
    let top = a.y / b.x;
    return vec2<u32>(halve(a.y - top * b.x, a.x, b.x).x, top);
  }
  let n = countLeadingZeros(b.y);
  let half = shr_u64(a, 1u);
  let near = shr_u64(shl_u64(vec2<u32>(halve(half.y, half.x, shl_u64(b, n).y).x, 0u), n), 31u);
  let low = select(near.x - 1u, 0u, near.x == 0u);
  let rest = sub_u64(a, mul_u64(vec2<u32>(low, 0u), b));
  return vec2<u32>(select(low + 1u, low, lt_u64(rest, b)), 0u);
}
fn idiv_i64(a: vec2<u32>, b: vec2<u32>) -> vec2<u32> {
  let q = idiv_u64(abs_i64(a), abs_i64(b));
  return select(q, neg_u64(q), ((a.y ^ b.y) >> 31u) != 0u);
}
fn irem_u64(a: vec2<u32>, b: vec2<u32>) -> vec2<u32> {
  return sub_u64(a, mul_u64(idiv_u64(a, b), b));
}
fn irem_i64(a: vec2<u32>, b: vec2<u32>) -> vec2<u32> {
  return sub_u64(a, mul_u64(idiv_i64(a, b), b));
}
"""
