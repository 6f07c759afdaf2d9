/* Calls everything that an export has with what nobody should pass: `PROGRAM calls seed`. Built with sanitizers.
 *
 * What is refused must leave the net as it was; what is accepted must be right to the last byte of memory. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "axpy.h"
#include "loom_json.h"
#include "other.h"
#include "small.h"

enum { SAMPLES = 40, BATCH = 16, TEXT = 1 << 20 };

static uint64_t state;

static uint64_t random_bits(void) { /* splitmix64 */
  uint64_t z = state += 0x9e3779b97f4a7c15ull;
  z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
  z = (z ^ z >> 27) * 0x94d049bb133111ebull;
  return z ^ z >> 31;
}

static uint64_t below(uint64_t n) { return random_bits() % n; }

static int often(int percent) { return below(100) < (uint64_t)percent; }

static void check(int holds, const char *what) {
  if (holds) return;
  fprintf(stderr, "wrong: %s\n", what);
  abort();
}

/* A copy in memory of its own, exactly so large, so that one byte beyond is found. */
static void *exactly(const void *from, size_t n) {
  void *to = malloc(n ? n : 1);
  if (from) memcpy(to, from, n);
  return to;
}

static float wild(void) {
  static const uint32_t BITS[] = {0, 0x80000000u, 0x7f800000u, 0xff800000u, 0x7fc00000u, 1, 0x7f7fffffu, 0x3f800000u};
  uint32_t bits = often(50) ? BITS[below(8)] : (uint32_t)random_bits();
  float found;
  memcpy(&found, &bits, 4);
  return often(60) ? (float)below(1000) / 500 - 1 : found;
}

void small_seal(void *file);

static small *net;
static unsigned char *before;
static size_t saved_nbytes;

static void keep(void) {
  size_t n;
  int code = small_save(net, before, saved_nbytes, &n);
  if (code == SMALL_NOT_FINITE) small_reset(net), code = small_save(net, before, saved_nbytes, &n); /* an update overflowed */
  check(code == 0, "save");
}

static void unchanged(const char *what) {
  unsigned char *now = malloc(saved_nbytes);
  size_t n;
  check(small_save(net, now, saved_nbytes, &n) == 0 && !memcmp(now, before, saved_nbytes), what);
  free(now);
}

static float *samples(size_t n, int tame) {
  float *x = malloc(4 * n + 4);
  float *exact = malloc(n ? 4 * n : 1);
  for (size_t i = 0; i < n; i++) x[i] = tame ? (float)below(1000) / 500 - 1 : wild();
  memcpy(exact, x, 4 * n);
  free(x);
  return exact;
}

static int32_t *classes(size_t n) {
  int32_t *y = malloc(n ? 4 * n : 1);
  for (size_t i = 0; i < n; i++) y[i] = often(95) ? (int32_t)below(3) : (int32_t)random_bits();
  return y;
}

static uint32_t hostile_count(uint32_t right) {
  static const uint32_t COUNTS[] = {0, 1, 2, 0x7fffffffu, 0x80000000u, 0xffffffffu};
  return often(60) ? right : often(50) ? COUNTS[below(6)] : right + (uint32_t)below(3) - 1;
}

static void call_forward(void) {
  uint32_t n = (uint32_t)below(SAMPLES + 1);
  float *x = samples(4 * n, 0), *y = malloc(n ? 12 * n : 1);
  int code = small_forward(often(95) ? net : NULL, often(95) ? x : NULL, often(95) ? y : NULL, n);
  int is_told = code == SMALL_NULL || code == SMALL_NOT_OPEN || code == SMALL_NOT_FINITE;
  check(code == SMALL_OK || is_told, "code of forward");
  unchanged("forward changes the net");
  free(x), free(y);
}

static void call_step(void) {
  uint32_t n = hostile_count(BATCH);
  int fits = n <= BATCH;
  double loss = 0;
  float *x = samples(fits ? 4 * n : 0, often(70));
  int32_t *y = classes(fits ? n : 0);
  int code = small_step(net, often(95) ? x : NULL, often(95) ? y : NULL, n, often(90) ? &loss : NULL);
  if (code) unchanged("a step that is refused changes the net");
  else keep();
  free(x), free(y);
}

static void call_train(void) {
  uint32_t n = hostile_count(SAMPLES), epochs = (uint32_t)below(3);
  double loss = 0;
  float *x = samples(n == SAMPLES ? 4 * n : 0, often(80));
  int32_t *y = classes(n == SAMPLES ? n : 0);
  int code = small_train(net, often(95) ? x : NULL, often(95) ? y : NULL, n, epochs, often(90) ? &loss : NULL);
  if (code == SMALL_NULL || code == SMALL_BATCH || code == SMALL_CLASS) unchanged("a training that is refused changes the net");
  keep();
  free(x), free(y);
}

static void call_score(void) {
  uint32_t n = (uint32_t)below(SAMPLES + 1);
  double loss = 0, accuracy = 0;
  float *x = samples(4 * n, often(70));
  int32_t *y = classes(n);
  if (often(50)) small_score(net, often(95) ? x : NULL, often(95) ? y : NULL, n, often(90) ? &loss : NULL);
  else small_evaluate(net, x, y, n, often(90) ? &loss : NULL, often(90) ? &accuracy : NULL);
  unchanged("a score changes the net");
  free(x), free(y);
}

static const char *NAMES[] = {"layers.0.weight", "layers.0.bias", "layers.2.bias", "layers.0.weigh", "", "state/step",
                              "layers.0.weight ", "\xff\xfe", "state/", "best/layers.0.bias", "training/progress"};

static void call_tensor(void) {
  static const size_t SIZES[] = {0, 1, 4, 12, 24, 48, 72, 96, (size_t)-1, (size_t)1 << 33};
  const char *name = often(95) ? NAMES[below(sizeof NAMES / sizeof *NAMES)] : NULL;
  size_t n = SIZES[below(10)];
  float *data = samples(n < 1000 ? n / 4 : 0, often(60));
  if (often(50)) {
    if (small_write(net, name, often(95) ? data : NULL, n)) unchanged("a write that is refused changes the net");
    else keep();
  } else {
    small_read(net, name, often(95) ? data : NULL, n);
    unchanged("a read changes the net");
  }
  free(data);
}

static void call_load(void) {
  static const size_t SIZES[] = {0, 1, 8, 64, (size_t)-1};
  unsigned char *file = exactly(before, saved_nbytes);
  size_t n = saved_nbytes;
  int kind = (int)below(8), is_sealed = often(60);
  uint64_t header;
  memcpy(&header, file, 8);
  if (kind == 0) n = SIZES[below(4)];
  if (kind == 1) n = below(saved_nbytes + 1);
  if (kind == 2) file[below(saved_nbytes)] ^= (unsigned char)(1 << below(8));
  if (kind == 3) for (int i = 0; i < 64; i++) file[below(saved_nbytes)] = (unsigned char)random_bits();
  if (kind == 4) for (size_t i = saved_nbytes - 40; i < saved_nbytes; i++) file[i] = (unsigned char)(often(50) ? 255 : random_bits());
  if (kind >= 5) for (size_t i = 1 + below(8); i--;) file[(kind == 7 ? 0 : 8) + below(header)] = (unsigned char)"{}[]\",:\\0 a\xff"[below(12)];
  if (kind >= 2 && is_sealed) small_seal(file); /* a stranger may know how */
  unsigned char *given = exactly(file, n <= saved_nbytes ? n : saved_nbytes);
  int code = small_load(often(97) ? net : NULL, often(97) ? given : NULL, n);
  if (code) unchanged("a file that is refused changes the net");
  else keep();
  check(n == saved_nbytes || code, "a file of another size is taken");
  check(kind < 2 || is_sealed || code || !memcmp(file, before, saved_nbytes), "a file that was changed is taken");
  free(given), free(file);
}

static void call_save(void) {
  size_t capacity = often(50) ? saved_nbytes : below(2 * saved_nbytes), n = 0;
  unsigned char *out = malloc(capacity ? capacity : 1);
  int code = small_save(net, often(80) ? out : NULL, capacity, often(95) ? &n : NULL);
  check(code || n == saved_nbytes, "size of a file");
  uint8_t digest[32];
  small_digest(often(95) ? net : NULL, often(95) ? digest : NULL);
  unchanged("saving changes the net");
  free(out);
}

static void call_open(void) {
  size_t size = other_size(), n = often(50) ? size : below(size);
  unsigned char *memory = malloc(size + 64);
  memset(memory, (int)below(256), size + 64);
  size_t at = below(64);
  other *found = NULL;
  unsigned char *place = memory + at;
  int code = other_open(often(95) ? place : NULL, n, often(95) ? &found : NULL);
  check(code == OTHER_OK || code == OTHER_NULL || code == OTHER_TOO_SMALL, "code of open");
  float a[4] = {1, 2, 3, 4}, left[1], right[2];
  int32_t b[3] = {0, often(80) ? 4 : (int32_t)random_bits(), 2};
  int expected = b[1] >= 0 && b[1] < 5 ? OTHER_OK : OTHER_TOKEN;
  if (!code) check(other_forward(found, a, b, left, right, 1) == expected, "forward of a net that was opened");
  uintptr_t aligned = ((uintptr_t)place + 63) & ~(uintptr_t)63;
  memset(memory, (int)below(256), size + 64);
  other *stale = (other *)aligned;
  check(other_reset(stale) == OTHER_NOT_OPEN && other_forward(stale, a, b, left, right, 1) == OTHER_NOT_OPEN, "no net");
  small_message((int)random_bits()), small_message((int)below(20) - 4);
  free(memory);
}

static void call_kernel(void) {
  size_t n = below(300), m = below(300);
  float *x = samples(n, 0), *y = samples(m, 0);
  size_t count_x = often(90) ? n : (size_t)-1 - below(4), count_y = often(95) ? m : (size_t)1 << (32 + below(32));
  uint32_t groups = often(80) ? (uint32_t)((m + 63) / 64) : hostile_count(0);
  int aligned = often(95);
  const float *from = often(90) ? x : often(50) ? y : NULL;
  if (from == y && count_x == n) count_x = m;
  uint32_t rows = often(90) ? 1 : (uint32_t)below(3), planes = often(95) ? 1 : 0xffffffffu;
  double total = (double)groups * rows * planes;
  if (total > 1e5 && total < 4294967296.0) planes = 1, groups %= 1000; /* allowed, and a long time */
  axpy_run((const float *)((uintptr_t)from + !aligned), aligned ? count_x : n / 2, y, count_y, wild(), groups, rows,
           planes);
  free(x), free(y);
}

/* JSON. */

static char *corpus[64];
static int corpus_size;

static char *mutated(const char *text) {
  static const char *PIECES[] = {"[", "]", "{", "}", "\"", ",", ":", "null", "1e999", "-0", "1e-50", "[[[[", "\\u12", "\\ud800",
                                 "\xff", "\xc0\xaf", "true", "\"input\"", "\"data\"", "99999999999999999999", "0.1e+2", "\t"};
  size_t n = strlen(text), room = 2 * n + 64;
  char *out = malloc(room + 1);
  memcpy(out, text, n + 1);
  for (int i = (int)below(4); i > 0; i--) {
    size_t at = below(n + 1), to = at + below(n - at + 1);
    const char *piece = PIECES[below(sizeof PIECES / sizeof *PIECES)];
    size_t more = strlen(piece);
    switch (below(5)) {
      case 0: out[n = at] = 0; break;
      case 1: if (n) out[at < n ? at : 0] = (char)(1 + below(255)); break;
      case 2: memmove(out + at, out + to, n - to + 1), n -= to - at; break;
      case 3:
        if (n + more > room) break;
        memmove(out + at + more, out + at, n - at + 1), memcpy(out + at, piece, more), n += more;
        break;
      default:
        if (to - at > 40 || n + to - at > room) break;
        memmove(out + to + (to - at), out + to, n - to + 1), memcpy(out + to, out + at, to - at), n += to - at;
    }
  }
  char *exact = exactly(out, n + 1);
  free(out);
  return exact;
}

static char *json_before;

static void json_keep(void) {
  free(json_before);
  const char *text = LoomSaveModel("kept");
  json_before = exactly(text, strlen(text) + 1);
}

static int is_error(const char *text) { return !strncmp(text, "{\"error\":", 9); }

static void call_json(void) {
  char *a = mutated(corpus[below((uint64_t)corpus_size)]), *b = mutated(corpus[below((uint64_t)corpus_size)]);
  const char *x = often(97) ? a : NULL, *y = often(90) ? b : NULL, *found = "{\"error\":";
  switch (below(8)) {
    case 0: found = CreateLoomNetwork(x); break;
    case 1: case 2: found = LoomForward(x); break;
    case 3: found = LoomTrain(x); break;
    case 4: found = LoomLoadModel(x, often(50) ? NULL : y); break;
    case 5: found = LoomEvaluateNetwork(x, y); break;
    case 6: found = LoomSaveModel(y); break;
    default: found = often(50) ? LoomForward(LoomForward(x)) : LoomLoadModel(LoomSaveModel(y), NULL);
  }
  size_t n = strlen(found);
  check(n > 0 && found[n - 1] == (found[0] == '[' ? ']' : '}'), "an answer is no JSON");
  if (is_error(found)) {
    const char *now = LoomSaveModel("kept");
    check(!strcmp(now, json_before), "what is refused changes the network");
  } else {
    json_keep();
  }
  if (often(2)) check(!is_error(CreateLoomNetwork("small")), "create"), json_keep();
  free(a), free(b);
}

static void *block;

static void call_memory(void) {
  size_t n = often(90) ? below(LoomMemoryNeeded() + 4096) : below(200);
  void *memory = malloc(n ? n : 1);
  if (!LoomMemory(often(95) ? memory : NULL, n)) {
    const char *now = LoomSaveModel("kept");
    check(!strcmp(now, json_before), "memory that is refused changes the network");
    free(memory);
    return;
  }
  check(is_error(LoomForward("[1,2,3,4]")), "a network is active in new memory");
  free(block);
  block = memory;
  check(!is_error(CreateLoomNetwork(corpus[0])), "create in new memory");
  json_keep();
  LoomFree("any"), LoomFree(json_before);
  if (often(50)) return;
  LoomFree(NULL);
  check(is_error(LoomSaveModel(NULL)) && !is_error(CreateLoomNetwork("small")), "free");
  json_keep();
}

static void read_corpus(const char *path) { /* a text a line */
  FILE *file = fopen(path, "rb");
  char *line = malloc(TEXT);
  check(file != NULL, "the corpus");
  while (corpus_size < 60 && fgets(line, TEXT, file)) {
    line[strcspn(line, "\n")] = 0;
    corpus[corpus_size++] = exactly(line, strlen(line) + 1);
  }
  fclose(file);
  free(line);
}

int main(int count, char **words) {
  static void (*const CALLS[])(void) = {call_forward, call_step, call_train, call_score, call_tensor, call_load,
                                        call_save,    call_open, call_kernel, call_json, call_json,   call_json,
                                        call_json,    call_memory};
  check(count == 4, "PROGRAM calls seed corpus");
  state = strtoull(words[2], NULL, 10);
  read_corpus(words[3]);
  unsigned char *memory = malloc(small_size());
  check(small_open(memory, small_size(), &net) == 0 && small_save(net, NULL, 0, &saved_nbytes) == 0, "open");
  before = malloc(saved_nbytes);
  keep();
  check(!is_error(CreateLoomNetwork("small")), "create");
  json_keep();
  for (long i = strtol(words[1], NULL, 10); i > 0; i--) {
    CALLS[below(14) == 13 && often(90) ? 12 : below(14)]();
    if (often(1)) small_reset(net), keep();
  }
  for (int i = 0; i < corpus_size; i++) free(corpus[i]);
  LoomMemory(NULL, 0);
  free(json_before), free(before), free(memory), free(block);
  puts("no finding");
  return 0;
}
