/* What every exported network does with its tables. No C library is needed; a net is one block of memory, and two nets
 * share nothing but constants. Offsets are from the start of that block's image, which is aligned to 64 bytes. */

enum { GOOD_WEIGHTS_KEPT = TRAIN_SAMPLES > 0 };

struct NET {
  u8 *image;           /* state, ports, scratch memory */
  u8 *good;            /* state at the start of the epoch */
  u64 *words;          /* keys that an epoch's order is sorted by */
  u32 *order;
  const Level *level;  /* what this processor runs */
  Binding *bindings;   /* addresses, once the image has its place */
  u64 magic;
  u64 updates;         /* made so far, which choose the rate */
  u64 epoch;           /* epochs done */
};

static const u64 MAGIC = 0x314e4d4f4f4cull ^ STATE_NBYTES ^ ((u64)WORK_NBYTES << 24);

/* Memory: see also common.c. */

static void clear(void *to, u64 n) {
  u8 *t = to;
  for (u64 i = 0; i < n; i++) t[i] = 0;
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

/* Whether all floats of a state are finite: of the image, or of what was saved. */
static int all_finite(const u8 *base, int of_saved) {
  for (u32 i = 0; i < TENSORS; i++) {
    const u8 *at = base + (of_saved ? tensors[i].saved : tensors[i].offset);
    for (u64 k = 0; k < tensors[i].nbytes; k += tensors[i].element) {
      u32 bits;
      switch (tensors[i].kind) {
        case F64: if (!is_finite(number(at + k, 8))) return 0; break;
        case F32: if (!is_finite(number(at + k, 4))) return 0; break;
        case F16: bits = (at[k] | at[k + 1] << 8) & 0x7c00; if (bits == 0x7c00) return 0; break;
        case BF16: bits = (at[k] | at[k + 1] << 8) & 0x7f80; if (bits == 0x7f80) return 0; break;
        default: break;
      }
    }
  }
  return 1;
}

/* Opening. */

static u8 *aligned(u8 *p) { return (u8 *)(((uintptr_t)p + 63) & ~(uintptr_t)63); }

static u64 part(u64 nbytes) { return (nbytes + 63) & ~(u64)63; }

static u64 good_nbytes(void) { return GOOD_WEIGHTS_KEPT ? part(STATE_NBYTES) : 0; }

static u64 size_of_net(void) {
  return 64 + part(sizeof(struct NET)) + part(sizeof(Binding) * BINDINGS) + part(STATE_NBYTES) + part(WORK_NBYTES) +
         good_nbytes() + part(8 * (u64)TRAIN_SAMPLES) + part(4 * (u64)TRAIN_SAMPLES);
}

size_t LOOM(size)(void) { return (size_t)size_of_net(); }

static int is_open(const struct NET *net) { return net && net->magic == MAGIC; }

int LOOM(reset)(struct NET *net) {
  if (!is_open(net)) return LOOM_NOT_OPEN;
  clear(net->image, STATE_NBYTES);
  for (u32 i = 0; i < sizeof fills / sizeof *fills; i++)
    copy(net->image + fills[i].offset, (const u8 *)start + fills[i].from, fills[i].nbytes);
  if (GOOD_WEIGHTS_KEPT) copy(net->good, net->image, STATE_NBYTES);
  net->updates = net->epoch = 0;
  return LOOM_OK;
}

int LOOM(open)(void *memory, size_t size, struct NET **out) {
  if (!memory || !out) return LOOM_NULL;
  if (size < size_of_net()) return LOOM_TOO_SMALL;
  u8 *at = aligned(memory);
  struct NET *net = (struct NET *)at;
  at += part(sizeof *net);
  net->bindings = (Binding *)at;
  at += part(sizeof(Binding) * BINDINGS);
  net->image = at;
  at += part(STATE_NBYTES) + part(WORK_NBYTES);
  net->good = at;
  at += good_nbytes();
  net->words = (u64 *)at;
  net->order = (u32 *)(at + part(8 * (u64)TRAIN_SAMPLES));
  const Level *level = net->level = levels + level_number();
  for (u32 i = 0; i < level->bound; i++) {
    const Place *place = level->bindings + i;
    const u8 *base = place->constant ? (const u8 *)level->constants : net->image;
    net->bindings[i].address = (u64)(uintptr_t)(base + place->offset);
    net->bindings[i].elements = place->elements;
  }
  net->magic = MAGIC;
  *out = net;
  return LOOM(reset)(net);
}

/* Running. */

static int dispatch(struct NET *net, const Row *row, u32 number) {
  u64 log[8] = {0};
  const Level *level = net->level;
  Record r = {0, (u64)(uintptr_t)(net->bindings + row->binding), (u64)(uintptr_t)(level->params + row->param), 0,
              {row->groups[0], row->groups[1], row->groups[2]}, 0, 0, number, 0};
  if (row->indirect) {
    const Indirect *about = level->indirects + row->indirect - 1;
    const u8 *base = about->constant ? (const u8 *)level->constants : net->image;
    const u32 *counts = (const u32 *)(base + about->offset);
    for (int i = 0; i < 3; i++) {
      if (counts[i] > about->largest[i]) return LOOM_TOO_MANY;
      r.groups[i] = counts[i];
    }
  }
  r.total = (u64)r.groups[0] * r.groups[1] * r.groups[2];
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
  for (u64 first = 0; first < samples;) {
    const Program *program = largest(net, FORWARD, (u32)(samples - first));
    for (u32 i = 0; i < INPUTS; i++) feed(net, program, i, x[i], 0, first);
    int code = run(net, program);
    if (code) return code;
    for (u32 i = 0; i < OUTPUTS; i++) {
      const Port *from = net->level->ports + program->port + INPUTS + i;
      copy((u8 *)y[i] + first * (from->nbytes / program->samples), net->image + from->offset, from->nbytes);
    }
    first += program->samples;
  }
  return LOOM_OK;
}

#if TRAIN_SAMPLES
static int one_batch(struct NET *net, const Program *program, const void *const *given, const u32 *chosen, u64 first,
                     double *loss) {
  for (u32 i = 0; i < INPUTS + TARGETS; i++) feed(net, program, i, given[i], chosen, first);
  if (program->kind == STEP) {
    const Port *rate = net->level->ports + program->port + INPUTS + TARGETS;
    double r = rates[RATES == 1 ? 0 : net->updates];
    float narrow = (float)r;
    copy(net->image + rate->offset, rate->nbytes == 8 ? (void *)&r : (void *)&narrow, rate->nbytes);
  }
  int code = run(net, program);
  if (code) return code;
  const Port *told = net->level->ports + program->port + INPUTS + TARGETS + (program->kind == STEP);
  *loss = number(net->image + told->offset, told->nbytes);
  return is_finite(*loss) ? LOOM_OK : LOOM_NOT_FINITE;
}

static int step(struct NET *net, const void *const *given, u32 samples, double *loss) {
  double found = 0;
  if (!is_open(net)) return LOOM_NOT_OPEN;
  if (is_null(given, INPUTS + TARGETS)) return LOOM_NULL;
  const Program *program = program_of(net, STEP, samples);
  if (!program) return LOOM_BATCH;
  if (RATES > 1 && net->updates >= RATES) return LOOM_SCHEDULE_OVER;
  int code = one_batch(net, program, given, 0, 0, &found);
  if (loss) *loss = found;
  if (!code) net->updates++;
  return code;
}

static int score(struct NET *net, const void *const *given, u32 samples, double *loss) {
  double total = 0, found = 0;
  if (!is_open(net)) return LOOM_NOT_OPEN;
  if (!loss || is_null(given, INPUTS + TARGETS)) return LOOM_NULL;
  if (!samples) return LOOM_BATCH;
  for (u64 first = 0; first < samples;) {
    const Program *program = largest(net, SCORE, (u32)(samples - first));
    int code = one_batch(net, program, given, 0, first, &found);
    if (code) return code;
    total += found * program->samples;
    first += program->samples;
  }
  *loss = total / samples;
  return LOOM_OK;
}

/* The order of samples of an epoch: Philox4x32-10, sorted; words that are equal keep their order. */

static void philox(u32 block, u32 stream, u32 out[4]) {
  u32 c[4] = {block, 0, 0, stream}, k0 = (u32)SEED, k1 = (u32)(SEED >> 32);
  for (int i = 0; i < 10; i++) {
    u64 p = (u64)0xD2511F53u * c[0], q = (u64)0xCD9E8D57u * c[2];
    u32 a = (u32)(q >> 32) ^ c[1] ^ k0, b = (u32)(p >> 32) ^ c[3] ^ k1;
    c[0] = a, c[1] = (u32)q, c[2] = b, c[3] = (u32)p;
    k0 += 0x9E3779B9u, k1 += 0xBB67AE85u;
  }
  for (int i = 0; i < 4; i++) out[i] = c[i];
}

static int before(const struct NET *net, u32 a, u32 b) {
  return net->words[a] != net->words[b] ? net->words[a] < net->words[b] : a < b;
}

static void sift(struct NET *net, u32 at, u32 n) {
  for (u32 child; (child = 2 * at + 1) < n; at = child) {
    if (child + 1 < n && before(net, net->order[child], net->order[child + 1])) child++;
    if (!before(net, net->order[at], net->order[child])) return;
    u32 kept = net->order[at];
    net->order[at] = net->order[child], net->order[child] = kept;
  }
}

static void set_order(struct NET *net, u32 n) {
  for (u32 i = 0; i < n; i++) net->order[i] = i;
  if (!SHUFFLE) return;
  for (u32 i = 0; i < n; i += 2) {
    u32 w[4];
    philox(i / 2, 0x80000000u + (u32)(net->epoch & 0x7fffffffu), w);
    net->words[i] = (u64)w[1] << 32 | w[0];
    if (i + 1 < n) net->words[i + 1] = (u64)w[3] << 32 | w[2];
  }
  for (u32 i = n / 2; i-- > 0;) sift(net, i, n);
  for (u32 end = n; end-- > 1;) {
    u32 kept = net->order[0];
    net->order[0] = net->order[end], net->order[end] = kept;
    sift(net, 0, end);
  }
}

static int train(struct NET *net, const void *const *given, u32 samples, u32 epochs, double *loss) {
  if (!is_open(net)) return LOOM_NOT_OPEN;
  if (is_null(given, INPUTS + TARGETS)) return LOOM_NULL;
  if (samples != TRAIN_SAMPLES) return LOOM_BATCH;
  u64 updates = (samples + BATCH - 1) / BATCH;
  for (u32 e = 0; e < epochs; e++) {
    double total = 0, found = 0;
    if (RATES > 1 && (net->epoch + 1) * updates > RATES) return LOOM_SCHEDULE_OVER;
    copy(net->good, net->image, STATE_NBYTES);
    set_order(net, samples);
    net->updates = net->epoch * updates;
    for (u32 first = 0; first < samples; first += BATCH, net->updates++) {
      u32 n = samples - first < BATCH ? samples - first : BATCH;
      int code = one_batch(net, program_of(net, STEP, n), given, net->order + first, 0, &found);
      if (code == LOOM_NOT_FINITE && !all_finite(net->image, 0)) copy(net->image, net->good, STATE_NBYTES);
      if (code) return code;
      total += found * n;
    }
    if (!all_finite(net->image, 0)) {
      copy(net->image, net->good, STATE_NBYTES);
      return LOOM_NOT_FINITE;
    }
    net->epoch++;
    if (loss) *loss = total / samples;
  }
  return LOOM_OK;
}
#endif

/* Tensors by name. */

static const Tensor *tensor_of(const char *name) {
  for (u32 i = 0; name && i < TENSORS; i++)
    if (same_text(name, tensors[i].name)) return tensors + i;
  return 0;
}

int LOOM(read)(const struct NET *net, const char *name, void *out, size_t nbytes) {
  const Tensor *found = tensor_of(name);
  if (!is_open(net)) return LOOM_NOT_OPEN;
  if (!name || !out) return LOOM_NULL;
  if (!found) return LOOM_NO_TENSOR;
  if (nbytes != found->nbytes) return LOOM_SIZE;
  copy(out, net->image + found->offset, found->nbytes);
  return LOOM_OK;
}

int LOOM(write)(struct NET *net, const char *name, const void *data, size_t nbytes) {
  const Tensor *found = tensor_of(name);
  if (!is_open(net)) return LOOM_NOT_OPEN;
  if (!name || !data) return LOOM_NULL;
  if (!found) return LOOM_NO_TENSOR;
  if (nbytes != found->nbytes) return LOOM_SIZE;
  copy(net->image + found->offset, data, found->nbytes);
  return LOOM_OK;
}

/* SHA-256 (FIPS 180-4). */

typedef struct {
  u32 h[8];
  u8 block[64];
  u64 nbytes;
} Sha;

static const u32 SHA_K[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5, 0xd807aa98,
    0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174, 0xe49b69c1, 0xefbe4786,
    0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da, 0x983e5152, 0xa831c66d, 0xb00327c8,
    0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967, 0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13,
    0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85, 0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819,
    0xd6990624, 0xf40e3585, 0x106aa070, 0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a,
    0x5b9cca4f, 0x682e6ff3, 0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7,
    0xc67178f2};

static u32 turn(u32 x, int by) { return x >> by | x << (32 - by); }

static void sha_block(Sha *s) {
  u32 w[64], v[8];
  for (int i = 0; i < 16; i++)
    w[i] = (u32)s->block[4 * i] << 24 | s->block[4 * i + 1] << 16 | s->block[4 * i + 2] << 8 | s->block[4 * i + 3];
  for (int i = 16; i < 64; i++)
    w[i] = w[i - 16] + w[i - 7] + (turn(w[i - 15], 7) ^ turn(w[i - 15], 18) ^ w[i - 15] >> 3) +
           (turn(w[i - 2], 17) ^ turn(w[i - 2], 19) ^ w[i - 2] >> 10);
  for (int i = 0; i < 8; i++) v[i] = s->h[i];
  for (int i = 0; i < 64; i++) {
    u32 a = v[7] + (turn(v[4], 6) ^ turn(v[4], 11) ^ turn(v[4], 25)) + ((v[4] & v[5]) ^ (~v[4] & v[6])) + SHA_K[i] + w[i];
    u32 b = (turn(v[0], 2) ^ turn(v[0], 13) ^ turn(v[0], 22)) + ((v[0] & v[1]) ^ (v[0] & v[2]) ^ (v[1] & v[2]));
    for (int k = 7; k > 0; k--) v[k] = v[k - 1];
    v[4] += a;
    v[0] = a + b;
  }
  for (int i = 0; i < 8; i++) s->h[i] += v[i];
}

static void sha_add(Sha *s, const void *data, u64 n) {
  const u8 *at = data;
  for (u64 i = 0; i < n; i++) {
    s->block[s->nbytes++ & 63] = at[i];
    if (!(s->nbytes & 63)) sha_block(s);
  }
}

static void sha_end(Sha *s, u8 out[32]) {
  u64 bits = s->nbytes * 8;
  u8 pad = 0x80, zero = 0, length[8];
  sha_add(s, &pad, 1);
  while ((s->nbytes & 63) != 56) sha_add(s, &zero, 1);
  for (int i = 0; i < 8; i++) length[i] = (u8)(bits >> (56 - 8 * i));
  sha_add(s, length, 8);
  for (int i = 0; i < 32; i++) out[i] = (u8)(s->h[i / 4] >> (24 - 8 * (i & 3)));
}

int LOOM(digest)(const struct NET *net, uint8_t out[32]) {
  Sha s = {{0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19}, {0}, 0};
  if (!is_open(net)) return LOOM_NOT_OPEN;
  if (!out) return LOOM_NULL;
  for (u32 i = 0; i < TENSORS; i++) {
    const char *about = tensors[i].told;
    if (!about) continue;
    u64 n = 0;
    while (about[n]) n++;
    sha_add(&s, about, n);
    sha_add(&s, net->image + tensors[i].offset, tensors[i].nbytes);
  }
  sha_end(&s, out);
  return LOOM_OK;
}

/* Saving: a .safetensors file, of which everything but the elements and the progress is known beforehand. */

static u64 saved_nbytes(void) { return SAVED_HEADER_NBYTES + SAVED_NBYTES; }

int LOOM(save)(const struct NET *net, void *out, size_t capacity, size_t *written) {
  if (!is_open(net)) return LOOM_NOT_OPEN;
  if (!written || (!out && capacity)) return LOOM_NULL;
  *written = (size_t)saved_nbytes();
  if (!out) return LOOM_OK; /* how much it takes was asked */
  if (capacity < saved_nbytes()) return LOOM_TOO_SMALL;
  copy(out, saved_header, SAVED_HEADER_NBYTES);
  u8 *at = (u8 *)out + SAVED_HEADER_NBYTES;
  for (u32 i = 0; i < TENSORS; i++) copy(at + tensors[i].saved, net->image + tensors[i].offset, tensors[i].nbytes);
  u64 progress[2] = {net->epoch, net->updates};
  copy(at + SAVED_NBYTES - sizeof progress, progress, sizeof progress);
  return LOOM_OK;
}

int LOOM(load)(struct NET *net, const void *data, size_t nbytes) {
  if (!is_open(net)) return LOOM_NOT_OPEN;
  if (!data) return LOOM_NULL;
  if (nbytes != saved_nbytes()) return LOOM_SIZE;
  if (!same(data, saved_header, SAVED_HEADER_NBYTES)) return LOOM_FOREIGN;
  const u8 *at = (const u8 *)data + SAVED_HEADER_NBYTES;
  if (!all_finite(at, 1)) return LOOM_NOT_FINITE;
  for (u32 i = 0; i < TENSORS; i++) copy(net->image + tensors[i].offset, at + tensors[i].saved, tensors[i].nbytes);
  u64 progress[2];
  copy(progress, at + SAVED_NBYTES - sizeof progress, sizeof progress);
  net->epoch = progress[0], net->updates = progress[1];
  return LOOM_OK;
}

const char *LOOM(manifest)(void) { return manifest; }

const char *LOOM(message)(int code) {
  return code < 0 || code >= LOOM_CODES ? "no such code" : messages[code];
}
