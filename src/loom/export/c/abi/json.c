/* JSON (RFC 8259): a text is looked at once, whole, before anything is done with it; then it is read where it lies. */

typedef const char *Text;
enum { MOST_DEPTH = 64 };

static Text blank(Text at) {
  while (*at == ' ' || *at == '\t' || *at == '\n' || *at == '\r') at++;
  return at;
}

static int hex4(Text at) {
  int found = 0;
  for (int i = 0; i < 4; i++) {
    int c = at[i] | 32, digit = at[i] >= '0' && at[i] <= '9' ? at[i] - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
    if (digit < 0) return -1;
    found = 16 * found + digit;
  }
  return found;
}

/* Bytes of a character of UTF-8 beyond ASCII, 0 for what is none. */
static int utf8(const u8 *at) {
  int n = at[0] >= 0xf0 ? 4 : at[0] >= 0xe0 ? 3 : 2;
  u32 code = at[0] & (0xff >> (n + 1));
  if (at[0] < 0xc2 || at[0] > 0xf4) return 0;
  for (int i = 1; i < n; i++) {
    if ((at[i] & 0xc0) != 0x80) return 0;
    code = code << 6 | (at[i] & 0x3f);
  }
  if (n == 3 && (code < 0x800 || (code >= 0xd800 && code < 0xe000))) return 0;
  return n == 4 && (code < 0x10000 || code > 0x10ffff) ? 0 : n;
}

/* After a string, or where it ceases to be one; *ok tells. */
static Text after_string(Text at, int *ok) {
  *ok = 0;
  if (*at != '"') return at;
  for (at++; *at != '"';) {
    if ((u8)*at < 0x20) return at;
    if ((u8)*at >= 0x80) {
      int n = utf8((const u8 *)at);
      if (!n) return at;
      at += n;
    } else if (*at++ == '\\') {
      int code;
      switch (*at) {
        case '"': case '\\': case '/': case 'b': case 'f': case 'n': case 'r': case 't': at++; break;
        case 'u':
          code = hex4(at + 1);
          if (code < 0 || (code >= 0xdc00 && code < 0xe000)) return at;
          at += 5;
          if (code < 0xd800 || code > 0xdfff) break;
          if (at[0] != '\\' || at[1] != 'u') return at;
          code = hex4(at + 2);
          if (code < 0xdc00 || code > 0xdfff) return at;
          at += 6;
          break;
        default: return at;
      }
    }
  }
  *ok = 1;
  return at + 1;
}

static int is_digit(char c) { return c >= '0' && c <= '9'; }

static Text after_number(Text at, int *ok) {
  *ok = 0;
  if (*at == '-') at++;
  if (!is_digit(*at)) return at;
  if (*at == '0') at++;
  else while (is_digit(*at)) at++;
  if (*at == '.') {
    if (!is_digit(*++at)) return at;
    while (is_digit(*at)) at++;
  }
  if (*at == 'e' || *at == 'E') {
    at++;
    if (*at == '+' || *at == '-') at++;
    if (!is_digit(*at)) return at;
    while (is_digit(*at)) at++;
  }
  *ok = 1;
  return at;
}

static Text after_word(Text at, const char *word, int *ok) {
  while (*word && *at == *word) at++, word++;
  *ok = !*word;
  return at;
}

static Text after_value(Text at, int depth, int *ok) {
  at = blank(at);
  *ok = 0;
  if (*at != '{' && *at != '[') {
    if (*at == '"') return after_string(at, ok);
    if (*at == 't') return after_word(at, "true", ok);
    if (*at == 'f') return after_word(at, "false", ok);
    if (*at == 'n') return after_word(at, "null", ok);
    return after_number(at, ok);
  }
  if (depth >= MOST_DEPTH) return at;
  char closing = *at == '{' ? '}' : ']';
  int is_object = *at == '{';
  at = blank(at + 1);
  if (*at == closing) {
    *ok = 1;
    return at + 1;
  }
  for (;; at = blank(at + 1)) {
    if (is_object) {
      at = after_string(at, ok);
      if (!*ok) return at;
      at = blank(at);
      *ok = 0;
      if (*at != ':') return at;
      at++;
    }
    at = after_value(at, depth + 1, ok);
    if (!*ok) return at;
    at = blank(at);
    if (*at == closing) return at + 1;
    *ok = *at == ',';
    if (!*ok) return at;
  }
}

/* Whether all of a text is JSON; *where it ceases to be. */
static int is_json(Text text, Text *where) {
  int ok;
  *where = after_value(text, 0, &ok);
  if (ok) *where = blank(*where);
  return ok && !**where;
}

/* What follows is of texts that are JSON. */

static Text after(Text at) {
  int ok;
  return after_value(at, 0, &ok);
}

/* The first element of an array, or the first key of an object; NULL if there is none. */
static Text first(Text at) {
  at = blank(blank(at) + 1);
  return *at == ']' || *at == '}' ? 0 : at;
}

static Text next(Text element) {
  element = blank(after(element));
  return *element == ',' ? blank(element + 1) : 0;
}

static Text value_of(Text key) { return blank(blank(after(key)) + 1); }

static Text next_key(Text key) { return next(value_of(key)); }

/* The bytes of the next character of a string, whose place moves on; 0 at its end. */
static int decoded(Text *place, u8 out[4]) {
  static const char NAMES[] = "bfnrt", CODES[] = "\b\f\n\r\t";
  Text at = *place;
  u32 code;
  if (*at == '"') return 0;
  if (*at != '\\' || at[1] != 'u') {
    out[0] = (u8)*at++;
    if (out[0] == '\\') {
      out[0] = (u8)*at++;
      for (int i = 0; i < 5; i++)
        if (out[0] == (u8)NAMES[i]) {
          out[0] = (u8)CODES[i];
          break;
        }
    }
    *place = at;
    return 1;
  }
  code = (u32)hex4(at + 2);
  at += 6;
  if (code >= 0xd800 && code < 0xe000) {
    code = 0x10000 + ((code - 0xd800) << 10) + ((u32)hex4(at + 2) - 0xdc00);
    at += 6;
  }
  *place = at;
  if (code < 0x80) {
    out[0] = (u8)code;
    return 1;
  }
  int n = code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
  for (int i = n - 1; i > 0; i--, code >>= 6) out[i] = (u8)(0x80 | (code & 0x3f));
  out[0] = (u8)(code | (n == 2 ? 0xc0 : n == 3 ? 0xe0 : 0xf0));
  return n;
}

/* The bytes of a string one by one. */
typedef struct { Text at; int n, i; u8 bytes[4]; } Spelled;

static Spelled spelled(Text string) {
  Spelled found = {string + 1, 0, 0, {0}};
  return found;
}

static int byte_of(Spelled *s) { /* -1 at the end */
  if (s->i >= s->n) s->n = decoded(&s->at, s->bytes), s->i = 0;
  return s->n ? s->bytes[s->i++] : -1;
}

/* Whether a string is a text. */
static int is_text(Text string, const char *text) {
  if (*string != '"') return 0;
  Spelled s = spelled(string);
  for (;; text++) {
    int c = byte_of(&s);
    if (c != (*text ? (u8)*text : -1)) return 0;
    if (c < 0) return 1;
  }
}

static int same_strings(Text a, Text b) {
  if (*a != '"' || *b != '"') return 0;
  Spelled x = spelled(a), y = spelled(b);
  for (;;) {
    int c = byte_of(&x);
    if (c != byte_of(&y)) return 0;
    if (c < 0) return 1;
  }
}

/* The value of a key; NULL if there is none, or more than one. */
static Text member(Text object, const char *name) {
  Text found = 0;
  if (*object != '{') return 0;
  for (Text key = first(object); key; key = next_key(key))
    if (is_text(key, name)) {
      if (found) return 0;
      found = value_of(key);
    }
  return found;
}

static u32 length_of(Text array) {
  u32 n = 0;
  if (*array != '[') return 0;
  for (Text at = first(array); at; at = next(at)) n++;
  return n;
}

/* A whole number that is written as one; 0 if it is none, or beyond 64 bits. *negative: below zero. */
static int whole_number(Text at, u64 *value, int *negative) {
  *negative = *at == '-';
  if (*negative) at++;
  if (!is_digit(*at)) return 0;
  for (*value = 0; is_digit(*at); at++) {
    u64 digit = (u64)(*at - '0');
    if (*value > (~(u64)0 - digit) / 10) return 0;
    *value = *value * 10 + digit;
  }
  return *at != '.' && *at != 'e' && *at != 'E';
}

/* What tells documents from others, whatever the order of their keys and however numbers and texts are written:
 * src/loom/export/c/json.py computes the same. */

static u64 mixed(u64 h) {
  h ^= h >> 33, h *= 0xff51afd7ed558ccdull;
  h ^= h >> 33, h *= 0xc4ceb9fe1a85ec53ull;
  return h ^ h >> 33;
}

static u64 hashed(u64 h, u8 byte) { return (h ^ byte) * 0x100000001b3ull; }

static u64 hash_string(Text at) {
  u64 h = hashed(0xcbf29ce484222325ull, 's');
  Spelled s = spelled(at);
  for (int c; (c = byte_of(&s)) >= 0;) h = hashed(h, (u8)c);
  return mixed(h);
}

static u64 hash_number(Text at) {
  u64 h = hashed(0xcbf29ce484222325ull, 'n'), bits = number_bits(DOUBLE, at), value;
  int negative;
  if (bits == (u64)1 << 63) bits = 0;
  for (int i = 0; i < 8; i++) h = hashed(h, (u8)(bits >> 8 * i));
  if (whole_number(at, &value, &negative) && value >> 53) /* more than the double tells */
    for (int i = 0; i < 8; i++) h = hashed(h, (u8)(value >> 8 * i));
  return mixed(h);
}

static u64 hash_value(Text at) {
  at = blank(at);
  u64 h = *at;
  if (*at == '"') return hash_string(at);
  if (*at == '-' || is_digit(*at)) return hash_number(at);
  if (*at == '[')
    for (Text each = first(at); each; each = next(each)) h = mixed(h * 31 + hash_value(each));
  if (*at == '{')
    for (Text key = first(at); key; key = next_key(key)) h += mixed(hash_string(key) * 31 + hash_value(value_of(key)));
  return mixed(h);
}

/* The SHA-256 of a value, whatever the order of its keys and however numbers and texts are written, but for the keys
 * called `but` at its top: `value_digest` of src/loom/formats/json_text.py. */

typedef struct { u8 bytes[32]; } Digest;

static Digest digest_of(Sha *s) {
  Digest found;
  sha_end(s, found.bytes);
  return found;
}

static Digest digest_string(Text at) {
  Sha s = SHA_START;
  Spelled letters = spelled(at);
  u8 buffer[64] = {'s'};
  u64 n = 1;
  for (int c; (c = byte_of(&letters)) >= 0;) {
    if (n == sizeof buffer) sha_add(&s, buffer, n), n = 0;
    buffer[n++] = (u8)c;
  }
  sha_add(&s, buffer, n);
  return digest_of(&s);
}

static Digest digest_number(Text at) {
  Sha s = SHA_START;
  u64 words[2] = {number_bits(DOUBLE, at), 0};
  int negative;
  if (words[0] == (u64)1 << 63) words[0] = 0;
  int is_long = whole_number(at, words + 1, &negative) && words[1] >> 53; /* more than the double tells */
  sha_add(&s, "d", 1), sha_add(&s, words, is_long ? 16 : 8);
  return digest_of(&s);
}

static Digest digest_value(Text at, const char *but) {
  at = blank(at);
  if (*at == '"') return digest_string(at);
  if (*at == '-' || is_digit(*at)) return digest_number(at);
  Sha s = SHA_START;
  Digest part, sum = {{0}};
  sha_add(&s, at, 1);
  if (*at == '[')
    for (Text each = first(at); each; each = next(each)) part = digest_value(each, ""), sha_add(&s, part.bytes, 32);
  if (*at == '{') {
    for (Text key = first(at); key; key = next_key(key)) {
      Sha pair = SHA_START;
      if (*but && is_text(key, but)) continue;
      part = digest_string(key), sha_add(&pair, part.bytes, 32);
      part = digest_value(value_of(key), ""), sha_add(&pair, part.bytes, 32);
      part = digest_of(&pair);
      for (int i = 0; i < 32; i++) sum.bytes[i] = (u8)(sum.bytes[i] + part.bytes[i]);
    }
    sha_add(&s, sum.bytes, 32);
  }
  return digest_of(&s);
}

/* Writing into memory of a given size; `full` tells that it was too small. */

typedef struct { char *start, *at, *end; int full; } Out;

static void put(Out *out, char c) {
  if (out->at < out->end) *out->at++ = c;
  else out->full = 1;
}

static void put_text(Out *out, const char *text) {
  while (*text) put(out, *text++);
}

static void put_whole(Out *out, u64 value) {
  char digits[20];
  int n = 0;
  do digits[n++] = (char)('0' + value % 10); while (value /= 10);
  while (n) put(out, digits[--n]);
}

static void put_number(Out *out, Format f, u64 bits) { /* what JSON has no number for is null */
  char text[MOST_TEXT];
  int n = number_text(f, bits, text);
  if (bits_are_infinite(f, bits)) {
    put_text(out, "null");
    return;
  }
  for (int i = 0; i < n; i++) put(out, text[i]);
}

static void put_double(Out *out, double value) {
  u64 bits;
  copy(&bits, &value, sizeof bits);
  put_number(out, DOUBLE, bits);
}

static void put_hex(Out *out, const u8 *bytes, int n) {
  for (int i = 0; i < n; i++) put(out, "0123456789abcdef"[bytes[i] >> 4]), put(out, "0123456789abcdef"[bytes[i] & 15]);
}

/* A JSON string of a C text, which need not be UTF-8. */
static void put_string(Out *out, const char *text) {
  put(out, '"');
  while (*text) {
    u8 c = (u8)*text;
    int n = c >= 0x80 ? utf8((const u8 *)text) : 1;
    if (!n) put_text(out, "\\ufffd"), n = 1;
    else if (c < 0x20 || c == '"' || c == '\\') put_text(out, "\\u00"), put_hex(out, &c, 1);
    else
      for (int i = 0; i < n; i++) put(out, text[i]);
    text += n;
  }
  put(out, '"');
}

static const char BASE64[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

static void put_base64(Out *out, const u8 *data, u64 nbytes) {
  for (u64 i = 0; i < nbytes; i += 3) {
    u64 left = nbytes - i;
    u32 word = (u32)data[i] << 16 | (left > 1 ? (u32)data[i + 1] << 8 : 0) | (left > 2 ? data[i + 2] : 0);
    put(out, BASE64[word >> 18]), put(out, BASE64[word >> 12 & 63]);
    put(out, left > 1 ? BASE64[word >> 6 & 63] : '='), put(out, left > 2 ? BASE64[word & 63] : '=');
  }
}

/* The bytes that the rest of a string spells, exactly so many; 0 if it does not. */
static int base64_bytes(Spelled s, u8 *out, u64 nbytes) {
  u32 word = 0, count = 0, padding = 0;
  u64 made = 0;
  for (int c; (c = byte_of(&s)) >= 0;) {
    int value = c >= 'A' && c <= 'Z' ? c - 'A' : c >= 'a' && c <= 'z' ? c - 'a' + 26 : c >= '0' && c <= '9' ? c - '0' + 52
                : c == '+' ? 62 : c == '/' ? 63 : -1;
    if (value < 0 ? c != '=' : padding != 0) return 0;
    padding += c == '=';
    word = word << 6 | (c == '=' ? 0 : (u32)value);
    if (++count & 3) continue;
    if (padding > 2) return 0;
    for (u32 i = 0; i < 3 - padding; i++) {
      if (made >= nbytes) return 0;
      out[made++] = (u8)(word >> (16 - 8 * i));
    }
  }
  return !(count & 3) && made == nbytes;
}
