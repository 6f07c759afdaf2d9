/* Numbers as text, exactly: read to the nearest float (ties to even), written with the fewest digits that read back.
 *
 * Reading divides whole numbers of any length; writing is the free-format algorithm of Burger and Dybvig (Printing
 * floating-point numbers quickly and accurately, 1996). No floating-point operation is used, so no mode matters. */

typedef struct { int digits, least, most, nbytes; } Format; /* bits of the significand, exponents of normal numbers */

static const Format HALF = {11, -14, 15, 2}, BRAIN = {8, -126, 127, 2}, SINGLE = {24, -126, 127, 4},
                    DOUBLE = {53, -1022, 1023, 8};

/* Whole numbers: the least 32 bits first, no zeros at the end. */

enum { LIMBS = 144, MOST_DIGITS = 800 };
typedef struct { int n; u32 limb[LIMBS]; } Whole;

static void whole_set(Whole *a, u64 value) {
  a->n = 0;
  for (; value; value >>= 32) a->limb[a->n++] = (u32)value;
}

static void whole_times(Whole *a, u32 by, u32 plus) {
  u64 carry = plus;
  for (int i = 0; i < a->n; i++) {
    carry += (u64)a->limb[i] * by;
    a->limb[i] = (u32)carry;
    carry >>= 32;
  }
  if (carry) a->limb[a->n++] = (u32)carry;
}

static void whole_ten(Whole *a, int power) {
  for (; power >= 9; power -= 9) whole_times(a, 1000000000u, 0);
  for (; power > 0; power--) whole_times(a, 10, 0);
}

static void whole_shift(Whole *a, int bits) {
  int words = bits / 32, rest = bits % 32;
  if (!a->n) return;
  if (rest) whole_times(a, (u32)1 << rest, 0);
  if (!words) return;
  for (int i = a->n; i-- > 0;) a->limb[i + words] = a->limb[i];
  for (int i = 0; i < words; i++) a->limb[i] = 0;
  a->n += words;
}

static int whole_compare(const Whole *a, const Whole *b) {
  if (a->n != b->n) return a->n < b->n ? -1 : 1;
  for (int i = a->n; i-- > 0;)
    if (a->limb[i] != b->limb[i]) return a->limb[i] < b->limb[i] ? -1 : 1;
  return 0;
}

static void whole_minus(Whole *a, const Whole *b) { /* of a that is as large */
  u64 borrow = 0;
  for (int i = 0; i < a->n; i++) {
    u64 take = (i < b->n ? b->limb[i] : 0) + borrow;
    borrow = a->limb[i] < take;
    a->limb[i] = (u32)(a->limb[i] - take);
  }
  while (a->n && !a->limb[a->n - 1]) a->n--;
}

static void whole_plus(Whole *a, const Whole *b) {
  u64 carry = 0;
  int n = a->n > b->n ? a->n : b->n;
  for (int i = 0; i < n || carry; i++) {
    if (i >= a->n) a->limb[i] = 0, a->n = i + 1;
    carry += (u64)a->limb[i] + (i < b->n ? b->limb[i] : 0);
    a->limb[i] = (u32)carry;
    carry >>= 32;
  }
}

static int whole_bits(const Whole *a) {
  int found = 32 * a->n;
  if (!found) return 0;
  for (u32 top = a->limb[a->n - 1]; !(top >> 31); top <<= 1) found--;
  return found;
}

/* Reading. */

/* The bits of the float nearest to q times 2 to the power e - 63, q's top bit being set, and a bit more if `more`. */
static u64 nearest(Format f, u64 q, int more, int e) {
  int kept = e < f.least ? f.digits - (f.least - e) : f.digits;
  if (kept < 0) return 0;
  u64 m = kept ? q >> (64 - kept) : 0, rest = q << kept, half = (u64)1 << 63;
  if (rest > half || (rest == half && (more || (m & 1)))) m++;
  if (e < f.least) return m; /* the smallest normal number follows the largest subnormal one */
  if (m >> f.digits) m >>= 1, e++;
  if (e > f.most) return (u64)(2 * f.most + 1) << (f.digits - 1); /* infinity */
  return ((u64)(e - f.least + 1) << (f.digits - 1)) | (m & (((u64)1 << (f.digits - 1)) - 1));
}

/* The bits of the float nearest to a number of JSON; its text has been looked at. */
static u64 number_bits(Format f, const char *at) {
  Whole above, below;
  int count = 0, more = 0, point = 0;
  i64 ten = 0, power = 0;
  u64 negative = 0;
  if (*at == '-') negative = (u64)1 << (8 * f.nbytes - 1), at++;
  above.n = 0;
  for (; (*at >= '0' && *at <= '9') || *at == '.'; at++) {
    if (*at == '.') {
      point = 1;
    } else if (count < MOST_DIGITS) {
      if (above.n || *at != '0') whole_times(&above, 10, (u32)(*at - '0')), count++;
      if (!above.n && *at != '0') above.limb[0] = (u32)(*at - '0'), above.n = 1;
      ten -= point;
    } else { /* beyond all digits that decide but whether there are any */
      more |= *at != '0';
      ten += !point;
    }
  }
  if (*at == 'e' || *at == 'E') {
    int minus = at[1] == '-';
    for (at += 1 + (at[1] == '-' || at[1] == '+'); *at >= '0' && *at <= '9'; at++)
      if (power < (i64)1 << 50) power = 10 * power + (*at - '0');
    if (minus) power = -power;
  }
  if (!above.n) return negative;
  ten += power;
  if (count + ten > 320) return negative | (u64)(2 * f.most + 1) << (f.digits - 1);
  if (count + ten < -340) return negative;
  whole_set(&below, 1);
  whole_ten(ten < 0 ? &below : &above, (int)(ten < 0 ? -ten : ten));
  int e = whole_bits(&above) - whole_bits(&below);
  whole_shift(e < 0 ? &above : &below, e < 0 ? -e : e);
  if (whole_compare(&above, &below) < 0) whole_shift(&above, 1), e--;
  u64 q = 0;
  for (int i = 0; i < 64; i++) { /* above is below twice `below` */
    q <<= 1;
    if (whole_compare(&above, &below) >= 0) whole_minus(&above, &below), q |= 1;
    whole_shift(&above, 1);
  }
  return negative | nearest(f, q, more || above.n, e);
}

static int bits_are_infinite(Format f, u64 bits) {
  u64 all = (u64)(2 * f.most + 1);
  return ((bits >> (f.digits - 1)) & all) == all;
}

/* Writing. */

/* The digits of a finite float above 0, which is 0.DIGITS times 10 to the power of what is returned. */
static int shortest(Format f, u64 bits, char *digits, int *count) {
  Whole r, s, up, down, sum;
  u64 m = bits & (((u64)1 << (f.digits - 1)) - 1);
  int field = (int)(bits >> (f.digits - 1)), even = !(m & 1), e = (field ? field : 1) + f.least - f.digits;
  int narrow = field > 1 && !m; /* the float below is half as far as the one above */
  if (field) m |= (u64)1 << (f.digits - 1);
  whole_set(&r, m), whole_set(&s, 1);
  whole_set(&up, 1), whole_set(&down, 1);
  whole_shift(&r, 1 + narrow + (e > 0 ? e : 0));
  whole_shift(&s, 1 + narrow + (e < 0 ? -e : 0));
  whole_shift(&up, narrow + (e > 0 ? e : 0));
  whole_shift(&down, e > 0 ? e : 0);
  int length = 0, last = 0;
  while (m >> length) length++;
  int k = (e + length - 1) * 30103 / 100000 - 2; /* too small by up to four */
  if (k > 0) whole_ten(&s, k);
  else whole_ten(&r, -k), whole_ten(&up, -k), whole_ten(&down, -k);
  for (;; k++) { /* until r + up is at most s */
    sum = r;
    whole_plus(&sum, &up);
    int c = whole_compare(&sum, &s);
    if (even ? c < 0 : c <= 0) break;
    whole_times(&s, 10, 0);
  }
  for (*count = 0; !last;) {
    int digit = 0;
    whole_times(&r, 10, 0), whole_times(&up, 10, 0), whole_times(&down, 10, 0);
    for (; whole_compare(&r, &s) >= 0; digit++) whole_minus(&r, &s);
    int low = whole_compare(&r, &down);
    sum = r;
    whole_plus(&sum, &up);
    int high = whole_compare(&sum, &s), is_low = even ? low <= 0 : low < 0, is_high = even ? high >= 0 : high > 0;
    if (is_low || is_high) {
      whole_shift(&r, 1);
      int half = whole_compare(&r, &s);
      if (is_high && (!is_low || half > 0 || (half == 0 && (digit & 1)))) digit++;
      last = 1;
    }
    digits[(*count)++] = (char)('0' + digit);
  }
  return k;
}

enum { MOST_TEXT = 32 };

/* A float as Python writes it; the characters it takes, fewer than MOST_TEXT. */
static int number_text(Format f, u64 bits, char *out) {
  char digits[24], *at = out;
  int count, ten;
  u64 sign = (u64)1 << (8 * f.nbytes - 1), fraction = ((u64)1 << (f.digits - 1)) - 1;
  if (bits_are_infinite(f, bits)) {
    const char *text = bits & fraction ? "nan" : bits & sign ? "-inf" : "inf";
    while (*text) *at++ = *text++;
    return (int)(at - out);
  }
  if (bits & sign) *at++ = '-', bits ^= sign;
  if (!bits) {
    *at++ = '0', *at++ = '.', *at++ = '0';
    return (int)(at - out);
  }
  ten = shortest(f, bits, digits, &count);
  if (ten > -4 && ten <= 16) {
    int i = 0;
    if (ten <= 0) {
      *at++ = '0', *at++ = '.';
      for (int zeros = ten; zeros < 0; zeros++) *at++ = '0';
      while (i < count) *at++ = digits[i++];
    } else {
      for (; i < ten; i++) *at++ = i < count ? digits[i] : '0';
      *at++ = '.';
      if (i >= count) *at++ = '0';
      while (i < count) *at++ = digits[i++];
    }
    return (int)(at - out);
  }
  *at++ = digits[0];
  if (count > 1) *at++ = '.';
  for (int i = 1; i < count; i++) *at++ = digits[i];
  int power = ten - 1;
  *at++ = 'e', *at++ = power < 0 ? '-' : '+';
  if (power < 0) power = -power;
  if (power >= 100) *at++ = (char)('0' + power / 100);
  *at++ = (char)('0' + power / 10 % 10), *at++ = (char)('0' + power % 10);
  return (int)(at - out);
}
