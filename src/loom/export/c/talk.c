/* Texts of a kernel that prints or asserts, as src/loom/runtime/log.py makes them of its log: by lane, prints first. */

typedef void Tell(void *user, int is_fault, const char *text);
enum { LOG_WORDS = 2048 };

static char *put(char *at, const char *text) {
  while (*text) *at++ = *text++;
  return at;
}

static char *put_whole(char *at, u64 value) {
  char digits[20];
  int n = 0;
  do digits[n++] = (char)('0' + value % 10); while (value /= 10);
  while (n) *at++ = digits[--n];
  return at;
}

static char *put_value(char *at, u32 type, u64 word) {
  static const Format *const FORMATS[] = {&HALF, &BRAIN, &SINGLE, &DOUBLE};
  if (type == TRUTH) return put(at, word ? "True" : "False");
  if (type >= FLOATS) {
    Format f = *FORMATS[type - FLOATS];
    return at + number_text(f, f.nbytes == 8 ? word : word & (((u64)1 << 8 * f.nbytes) - 1), at);
  }
  if (type == SIGNED && word >> 63) return put_whole(put(at, "-"), 0 - word);
  return put_whole(at, word);
}

/* The text of an entry, with its end. */
static void text_of(const u64 *entry, char *text) {
  const Site *site = sites + (entry[0] >> 32);
  char *at = text;
  if (site->is_fault) at = put(put_whole(put(at, site->where), entry[2]), site->pieces > 1 || *pieces[site->piece] ? ": " : "");
  char *message = at;
  for (u32 i = 0; i < site->pieces; i++) {
    at = put(at, pieces[site->piece + i]);
    if (i + 1 < site->pieces) at = put_value(at, types[site->type + i], entry[3 + i]);
  }
  if (site->is_fault) {
    while (at > message && at[-1] == '.') at--;
    *at++ = '.';
  }
  *at = 0;
}

/* Tells what a log holds; LOOM_FAILED if an assertion failed. */
static int told(const u64 *log, Tell *tell, void *user) {
  u64 end = log[1] < LOG_WORDS ? log[1] : LOG_WORDS, lane = 0, at = 0;
  const u64 *words = log + 4, *fault = 0;
  char text[TEXT_NBYTES];
  for (int found = 1; found;) { /* the lanes one after the other, each with its entries in their order */
    u64 next = ~(u64)0;
    found = 0;
    for (at = 0; at + 3 <= end; at += (u32)words[at]) {
      u64 n = (u32)words[at];
      if (!n || at + n > end) break;
      if (words[at + 2] > lane) {
        if (words[at + 2] < next) next = words[at + 2], found = 1;
        continue;
      }
      if (words[at + 2] < lane) continue;
      if (sites[words[at] >> 32].is_fault) {
        if (!fault) fault = words + at;
      } else if (tell) {
        text_of(words + at, text), tell(user, 0, text);
      }
    }
    lane = next;
  }
  if (log[1] > LOG_WORDS && tell) {
    put(put_whole(put(text, "[loom] the kernel log was full: "), (log[1] - LOG_WORDS) * 8), " bytes were dropped")[0] = 0;
    tell(user, 0, text);
  }
  if (fault && tell) text_of(fault, text), tell(user, 1, text);
  return fault || log[2] ? LOOM_FAILED : LOOM_OK;
}
