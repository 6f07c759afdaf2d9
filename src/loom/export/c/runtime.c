/* What every exported network does with its tables. No C library is needed; a net is one block of memory, and two nets
 * share nothing but constants. Offsets are from the start of that block's image, which is aligned to 64 bytes. */

enum { TRAINS = TRAIN_SAMPLES > 0 };

struct NET {
  u8 *image;           /* state, ports, scratch memory */
  u8 *good;            /* state at the start of the epoch */
  u64 *words;          /* keys that an epoch's order is sorted by */
  u32 *order;
  const Level *level;  /* what this processor runs */
  u64 magic;
  u64 updates;         /* made so far, which choose the rate */
  u64 epoch;           /* epochs done */
  double best;         /* the least loss that was watched, and how many epochs ago it was; whether training is over */
  u64 stale, over;
#if THREADED
  Pool pool;
#endif
};

static const u64 MAGIC = 0x314e4d4f4f4cull ^ STATE_NBYTES ^ ((u64)WORK_NBYTES << 24);

/* Memory: see also common.c. */

static void clear(void *to, u64 n) {
#ifdef __wasm_bulk_memory__
  __builtin_memset(to, 0, (size_t)n);
#else
  u8 *t = to;
  u64 i = 0;
  for (; i + 64 <= n; i += 64) {
    const Piece zero = {0, 0};
    Piece *p = (Piece *)(t + i);
    p[0] = zero, p[1] = zero, p[2] = zero, p[3] = zero;
  }
  for (; i < n; i++) t[i] = 0;
#endif
}

static int same(const void *a, const void *b, u64 n) {
  const u8 *x = a, *y = b;
  for (u64 i = 0; i < n; i++)
    if (x[i] != y[i]) return 0;
  return 1;
}

static int same_text(const char *a, const char *b) {
  for (; *a && *a == *b; a++, b++) {}
  return *a == *b;
}

static int is_finite(double x) { return x - x == 0; }

/* A float at any address, of 4 or 8 bytes. */
static double number(const u8 *at, u64 nbytes) {
  double wide;
  float narrow;
  copy(nbytes == 8 ? (void *)&wide : (void *)&narrow, at, nbytes);
  return nbytes == 8 ? wide : narrow;
}

/* Whether floats are finite. Their last two bytes hold what tells. */
static int are_finite(const u8 *at, u64 count, u32 kind) {
  static const u32 masks[] = {[F16] = 0x7c00, [BF16] = 0x7f80, [F32] = 0x7f80, [F64] = 0x7ff0, [INTEGER] = 0};
  u32 mask = masks[kind], each = kind == F64 ? 8 : kind == F32 ? 4 : 2;
  u64 i = 0;
  if (kind == F32) {
    const Words inf = {0x7f800000u, 0x7f800000u, 0x7f800000u, 0x7f800000u};
    Words bad = {0, 0, 0, 0};
    for (; i + 4 <= count; i += 4) bad |= (Words)((*(const Words *)(at + 4 * i) & inf) == inf);
    if (bad[0] | bad[1] | bad[2] | bad[3]) return 0;
  }
  for (at += each * i; mask && i < count; i++, at += each)
    if (((at[each - 2] | (u32)at[each - 1] << 8) & mask) == mask) return 0;
  return 1;
}

static int all_finite(const u8 *image) {
  for (u32 i = 0; i < TENSORS; i++)
    if (!are_finite(image + tensors[i].offset, tensors[i].nbytes / tensors[i].element, tensors[i].kind)) return 0;
  return 1;
}

/* Opening. */

static u8 *aligned(u8 *p) { return (u8 *)(((uintptr_t)p + 63) & ~(uintptr_t)63); }

static u64 part(u64 nbytes) { return (nbytes + 63) & ~(u64)63; }

static u64 good_nbytes(void) { return TRAINS ? part(STATE_NBYTES) : 0; }

static u64 size_of_net(void) {
  return 64 + part(sizeof(struct NET)) + part(STATE_NBYTES) + part(WORK_NBYTES) +
         good_nbytes() + part(8 * (u64)TRAIN_SAMPLES) + part(4 * (u64)TRAIN_SAMPLES);
}

size_t LOOM(size)(void) { return (size_t)size_of_net(); }

static int is_open(const struct NET *net) { return net && net->magic == MAGIC; }

int LOOM(reset)(struct NET *net) {
  if (!is_open(net)) return LOOM_NOT_OPEN;
  u64 at = 0; /* what no stretch fills are zeros */
  for (u32 i = 0; i < sizeof fills / sizeof *fills; i++) {
    clear(net->image + at, fills[i].offset - at);
    copy(net->image + fills[i].offset, (const u8 *)start + fills[i].from, fills[i].nbytes);
    at = fills[i].offset + fills[i].nbytes;
  }
  clear(net->image + at, STATE_NBYTES - at);
  net->updates = net->epoch = net->stale = net->over = 0;
  net->best = 0;
  return LOOM_OK;
}

int LOOM(open)(void *memory, size_t size, struct NET **out) {
  if (!memory || !out) return LOOM_NULL;
  if (size < size_of_net()) return LOOM_TOO_SMALL;
  u8 *at = aligned(memory);
  struct NET *net = (struct NET *)at;
  at += part(sizeof *net);
  net->image = at;
  at += part(STATE_NBYTES) + part(WORK_NBYTES);
  net->good = at;
  at += good_nbytes();
  net->words = (u64 *)at;
  net->order = (u32 *)(at + part(8 * (u64)TRAIN_SAMPLES));
  net->level = levels + level_number();
#if THREADED
  net->pool.count = 0;
#endif
  net->magic = MAGIC;
  *out = net;
  return LOOM(reset)(net);
}

/* Running. */

/* Where a place of the tables is: in the block or among the constants. */
static u64 address(const struct NET *net, Place place) {
  const u8 *base = place.at >> 31 ? (const u8 *)net->level->constants : net->image;
  return (u64)(uintptr_t)(base + (u64)(place.at & 0x7fffffffu) * 64);
}

static int dispatch(struct NET *net, const Row *row, u32 number) {
  const Level *level = net->level;
  const u32 *groups = level->groups[row->groups];
  Binding bound[MOST_BOUND];
  u64 log[8] = {0};
  Record r = {0, (u64)(uintptr_t)bound, (u64)(uintptr_t)(level->params + row->param), 0,
              {groups[0], groups[1], groups[2]}, 0, 0, number, 0};
  for (u32 i = 0; i < row->bound; i++) {
    Place place = level->places[level->bindings[row->binding + i]];
    bound[i].address = address(net, place);
    bound[i].elements = place.elements;
  }
  if (row->indirect) {
    const Indirect *about = level->indirects + row->indirect - 1;
    const u32 *counts = (const u32 *)(uintptr_t)(address(net, about->place) + about->offset);
    for (int i = 0; i < 3; i++) {
      if (counts[i] > about->largest[i]) return LOOM_TOO_MANY;
      r.groups[i] = counts[i];
    }
  }
  r.total = (u64)r.groups[0] * r.groups[1] * r.groups[2];
#if THREADED
  if (net->pool.count && row->shared && r.total > 1) {
    run_together(&net->pool, level->kernels[row->kernel], &r);
    return LOOM_OK;
  }
#endif
  if (r.total) level->kernels[row->kernel](&r, log, 0, r.total);
  return LOOM_OK;
}

static int run(struct NET *net, const Program *program) {
  int code = LOOM_OK;
  for (u32 i = 0; i < program->rows && !code; i++) code = dispatch(net, net->level->rows + program->first + i, i);
  return code;
}

static const Program *program_of(const struct NET *net, u32 kind, u32 samples) {
  for (const Program *p = net->level->programs, *end = p + net->level->count; p < end; p++)
    if (p->kind == kind && p->samples == samples) return p;
  return 0;
}

/* The program for the most samples, but no more than are left; the smallest one takes one. */
static const Program *largest(const struct NET *net, u32 kind, u32 most) {
  const Program *found = 0;
  for (const Program *p = net->level->programs, *end = p + net->level->count; p < end; p++)
    if (p->kind == kind && p->samples <= most && (!found || p->samples > found->samples)) found = p;
  return found;
}

static int is_null(const void *const *arrays, u32 count) {
  for (u32 i = 0; i < count; i++)
    if (!arrays[i]) return 1;
  return 0;
}

/* What callers pass. */

static double half(u32 word) { /* f16, whose subnormals are no whole numbers but 0 */
  u32 exponent = word >> 10 & 31, bits = (word & 0x8000) << 16 | (exponent + 112) << 23 | (word & 1023) << 13;
  float value = 0.5f;
  if (exponent) copy(&value, &bits, 4);
  return exponent || word & 1023 ? value : 0;
}

static double element_of(const u8 *at, u32 kind, u32 nbytes) {
  u64 word = 0;
  copy(&word, at, nbytes);
  if (kind == F16) return half((u32)word);
  if (kind == BF16) return word <<= 16, number((u8 *)&word, 4);
  if (kind == F32 || kind == F64) return number(at, nbytes);
  u64 sign = (u64)1 << (8 * nbytes - 1);
  return kind == INTEGER && (word & sign) ? -(double)((sign << 1) - word) : (double)word;
}

/* Whether an array may be computed with: its floats are finite, its classes and token ids there. */
static int check_array(const Range *about, const u8 *at, u64 samples, int code) {
  u64 count = samples * about->elements;
  if (!are_finite(at, count, about->kind)) return LOOM_NOT_FINITE;
  for (u64 i = 0; about->form && i < count; i++, at += about->nbytes) {
    double value = element_of(at, about->kind, about->nbytes);
    if (about->form == PADDED && value == PADDING) continue;
    if (!(value >= 0 && value <= about->most)) return code;
    if (about->form != BETWEEN && value != (double)(u64)value) return code;
  }
  return LOOM_OK;
}

/* Inputs, and targets if there are more arrays than those. */
static int check(const void *const *arrays, u32 count, u64 samples) {
  int code = LOOM_OK;
  for (u32 i = 0; i < count && !code; i++)
    code = check_array(ranges + i, arrays[i], samples, i < INPUTS ? LOOM_TOKEN : LOOM_CLASS);
  return code;
}

static void feed(struct NET *net, const Program *program, u32 port, const void *data, const u32 *chosen, u64 first) {
  const Port *to = net->level->ports + program->port + port;
  u64 each = to->nbytes / program->samples;
  for (u32 i = 0; i < program->samples; i++) {
    u64 sample = chosen ? chosen[i] : first + i;
    copy(net->image + to->offset + i * each, (const u8 *)data + sample * each, each);
  }
}

static int forward(struct NET *net, const void *const *x, void *const *y, u32 samples) {
  if (!is_open(net)) return LOOM_NOT_OPEN;
  if (is_null(x, INPUTS) || is_null((const void *const *)y, OUTPUTS)) return LOOM_NULL;
  int code = check(x, INPUTS, samples);
  if (code) return code;
  for (u64 first = 0; first < samples;) {
    const Program *program = largest(net, FORWARD, (u32)(samples - first));
    for (u32 i = 0; i < INPUTS; i++) feed(net, program, i, x[i], 0, first);
    if ((code = run(net, program))) return code;
    for (u32 i = 0; i < OUTPUTS; i++) {
      const Port *from = net->level->ports + program->port + INPUTS + i;
      copy((u8 *)y[i] + first * (from->nbytes / program->samples), net->image + from->offset, from->nbytes);
    }
    first += program->samples;
  }
  return LOOM_OK;
}

#if THREADED
int LOOM(threads)(struct NET *net, u32 count) {
  if (!is_open(net)) return LOOM_NOT_OPEN;
  if (!count || count > MOST_THREADS) return LOOM_THREADS;
  end_workers(&net->pool);
  return start_workers(&net->pool, count - 1) == count - 1 ? LOOM_OK : LOOM_THREADS;
}
#endif
