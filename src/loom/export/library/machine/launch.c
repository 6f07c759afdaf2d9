/* Calling compiled kernels: buffers, parameters and groups as a dispatch of Loom has them. */

typedef union { float f; int32_t i; u32 u; } Word;

static void launch(int kernel, const Binding *bound, const u64 *slots, u64 x, u64 y, u64 z) {
  u64 log[8] = {0};
  Record r = {0, (u64)(uintptr_t)bound, (u64)(uintptr_t)slots, 0, {(u32)x, (u32)y, (u32)z}, 0, x * y * z, 0, 0};
  if (r.total) kernels[level_number()][kernel](&r, log, 0, r.total);
}

static Binding memory_of(const void *at, u64 elements) {
  Binding found = {(u64)(uintptr_t)at, elements};
  return found;
}

static u64 parts(u64 n, u64 of) { return (n + of - 1) / of; }

/* out[i] = f(x[i]) */
static void apply_function(int kernel, const Word *x, Word *out, u64 n) {
  Binding bound[] = {memory_of(x, n), memory_of(out, n)};
  u64 slots[1] = {0};
  launch(kernel, bound, slots, parts(n, kernel_lanes[kernel]), 1, 1);
}

static void random_words(u64 seed, u32 stream, u32 number, u32 step, u32 *out, u64 n) {
  u32 seeds[4] = {(u32)seed, (u32)(seed >> 32), stream, number};
  Binding bound[] = {memory_of(seeds, 4), memory_of(&step, 1), memory_of(out, n)};
  u64 slots[1] = {n};
  launch(KERNEL_RANDOM_WORDS, bound, slots, parts(n, 4 * (u64)kernel_lanes[KERNEL_RANDOM_WORDS]), 1, 1);
}

/* Folds an axis of (outer, n, inner) to (outer, inner), in tiles, as src/loom/schedules/fold.py does. */
enum { FOLD_TILE = 4096, FOLD_COLUMNS = 64, FOLD_SHORT = 128 };

static void fold_axis(int is_sum, const Word *x, Word *out, u64 outer, u64 n, u64 inner, Word *scratch) {
  int rows = is_sum ? KERNEL_SUM_ROWS : KERNEL_MAX_ROWS;
  int short_rows = is_sum ? KERNEL_SUM_SHORT_ROWS : KERNEL_MAX_SHORT_ROWS;
  int columns = is_sum ? KERNEL_SUM_COLUMNS : KERNEL_MAX_COLUMNS;
  for (;;) {
    u64 tiles = parts(n, FOLD_TILE);
    Word *to = tiles == 1 ? out : scratch;
    Binding bound[] = {memory_of(x, outer * n * inner), memory_of(to, outer * tiles * inner)};
    if (inner == 1 && (outer == 1 || n > FOLD_SHORT)) {
      u64 slots[] = {n, tiles};
      launch(rows, bound, slots, outer * tiles, 1, 1);
    } else if (inner == 1) {
      u64 slots[] = {n, outer, tiles};
      launch(short_rows, bound, slots, tiles * parts(outer, FOLD_COLUMNS), 1, 1);
    } else {
      u64 slots[] = {n, inner, tiles};
      launch(columns, bound, slots, outer * tiles * parts(inner, FOLD_COLUMNS), 1, 1);
    }
    if (tiles == 1) return;
    x = to, scratch += outer * tiles * inner, n = tiles;
  }
}

static u64 fold_scratch(u64 outer, u64 n, u64 inner) { /* words */
  u64 total = 0;
  for (u64 tiles = parts(n, FOLD_TILE); tiles > 1; tiles = parts(tiles, FOLD_TILE)) total += outer * tiles * inner;
  return total;
}

/* out = a b: (m, depth) by (depth, n); a by strides, b packed, or its transpose. */
enum { PRODUCT_CHUNK = 4096 };

static void multiply(const Word *a, u64 a_row, u64 a_k, const Word *b, int transposed, Word *out, u64 m, u64 n, u64 depth,
                     Word *scratch) {
  static const u32 which[2] = {0, 0};
  u64 chunks = parts(depth, PRODUCT_CHUNK), level = level_number();
  Word *sums = chunks > 1 ? scratch : out;
  Binding bound[] = {memory_of(a, m * depth), memory_of(b, n * depth), memory_of(which, 2), memory_of(sums, chunks * m * n)};
  u64 slots[] = {m, n, depth, a_row, a_k, 1, chunks};
  launch(transposed ? KERNEL_PRODUCT_TRANSPOSED : KERNEL_PRODUCT, bound, slots, parts(n, tile_columns[level]),
         parts(m, tile_rows[level]), chunks);
  if (chunks == 1) return;
  Binding ends[] = {memory_of(sums, chunks * m * n), memory_of(out, m * n)};
  u64 numbers[] = {m * n, chunks, 0};
  launch(KERNEL_FINISH, ends, numbers, parts(m * n, kernel_lanes[KERNEL_FINISH]), 1, 1);
}
