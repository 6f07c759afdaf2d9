/* Expressions of sizes and settings: src/loom/core/numbers.py computes the same, in doubles. */

/* Symbols: the batch, axes of a sample, fields of the layer. */
enum { BATCH_SYMBOL, AXIS_SYMBOLS, FIELD_SYMBOLS = 16, MOST_SYMBOLS = 48 };

static u64 bits_of(double x) {
  u64 bits;
  copy(&bits, &x, 8);
  return bits;
}

static double double_of(u64 bits) {
  double x;
  copy(&x, &bits, 8);
  return x;
}

/* The square root, correctly rounded, digit by digit: no library function takes part. Of numbers above 0. */
static double square_root(double x) {
  u64 bits = bits_of(x), m = bits & (((u64)1 << 52) - 1), q = 0, rest = 0;
  int e = (int)(bits >> 52);
  if (x <= 0 || e == 0x7ff) return x;
  if (e) m |= (u64)1 << 52;
  else for (e = 1; !(m >> 52); e--) m <<= 1;
  e -= 1023 + 52;
  if (e & 1) m <<= 1, e--;
  for (int pair = 54; pair >= 0; pair--) { /* of m 2^56, which has 110 bits at most */
    int at = 2 * pair - 56;
    rest = rest << 2 | (at >= 0 ? m >> at & 3 : 0);
    u64 by = q << 2 | 1;
    q <<= 1;
    if (rest >= by) rest -= by, q |= 1;
  }
  u64 kept = q >> 2, below = q & 3; /* q has 55 bits */
  if (below > 2 || (below == 2 && (rest || (kept & 1)))) kept++;
  e = e / 2 - 28 + 2 + 52;
  if (kept >> 53) kept >>= 1, e++;
  return double_of((u64)(e + 1023) << 52 | (kept & (((u64)1 << 52) - 1)));
}

static double whole_below(double x) { /* of numbers below 2^53 in size */
  double near = (double)(int64_t)x;
  return near > x ? near - 1 : near;
}

static double nearest_whole(double x) { /* halves to even, of numbers from 0 to 2^52 */
  volatile double high = x + 4503599627370496.0;
  return high - 4503599627370496.0;
}

static double evaluated(int told, const double *symbols) {
  const Told *t = told_table + told;
  double a, b = 0;
  if (t->op == TOLD_NUMBER) return t->value;
  if (t->op == TOLD_SYMBOL) return symbols[t->a];
  a = evaluated(t->a, symbols);
  if (t->op < TOLD_ROUND) b = evaluated(t->b, symbols);
  switch (t->op) {
    case TOLD_ADD: return a + b;
    case TOLD_SUB: return a - b;
    case TOLD_MUL: return a * b;
    case TOLD_DIV: return a / b;
    case TOLD_FLOORDIV: return whole_below(a / b);
    case TOLD_MIN: return b < a ? b : a;
    case TOLD_ROUND: return nearest_whole(a);
    case TOLD_SINGLE: return (double)(float)a;
    default: return square_root(a);
  }
}

static u64 size_told(int told, const double *symbols) { return (u64)evaluated(told, symbols); }
