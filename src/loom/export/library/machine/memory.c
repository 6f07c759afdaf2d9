/* Memory of the caller's functions: what a pool took is given back at once. */

typedef struct Piece_ { struct Piece_ *next; void *start; u64 nbytes; } Taken;
typedef struct { LoomAllocator from; Taken *taken; u64 nbytes; } Pool;

static u64 whole_lines(u64 nbytes) { return (nbytes + 63) & ~(u64)63; }

static void clear(void *at, u64 nbytes) {
  u8 *to = at;
  for (u64 i = 0; i < nbytes; i++) to[i] = 0;
}

/* So many bytes of 0, at a multiple of 64; NULL if there are none. */
static void *take(Pool *pool, u64 nbytes) {
  u64 asked = whole_lines(nbytes) + 64 + whole_lines(sizeof(Taken));
  if (nbytes > ((u64)1 << 47) || asked > (size_t)-1) return 0;
  void *start = pool->from.allocate(pool->from.user, (size_t)asked);
  if (!start) return 0;
  clear(start, asked);
  Taken *taken = (Taken *)(((uintptr_t)start + 63) & ~(uintptr_t)63);
  taken->next = pool->taken, taken->start = start, taken->nbytes = asked;
  pool->taken = taken, pool->nbytes += asked;
  return (u8 *)taken + whole_lines(sizeof(Taken));
}

static void give_back(Pool *pool) {
  for (Taken *next, *at = pool->taken; at; at = next) {
    next = at->next;
    pool->from.release(pool->from.user, at->start, (size_t)at->nbytes);
  }
  pool->taken = 0, pool->nbytes = 0;
}

static int same_text(const char *a, const char *b) {
  while (*a && *a == *b) a++, b++;
  return *a == *b;
}

static u64 text_length(const char *text) {
  u64 n = 0;
  while (text[n]) n++;
  return n;
}
