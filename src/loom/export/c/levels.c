/* The best level that this processor has: 3 is AVX2 and what came with it, 4 is AVX-512. */

#if LEVELS > 1
typedef struct {
  u32 a, b, c, d;
} Registers;

static Registers cpuid(u32 leaf) {
  Registers r;
  __asm__ volatile("cpuid" : "=a"(r.a), "=b"(r.b), "=c"(r.c), "=d"(r.d) : "a"(leaf), "c"(0));
  return r;
}

static int has(u32 found, u32 wanted) { return (found & wanted) == wanted; }

#define BIT(n) (1u << (n))

static u32 level_of_processor(void) { /* the levels of the System V ABI, and whether the system keeps the registers */
  u32 kept, high, least = cpuid(0).a, most = cpuid(0x80000000u).a;
  if (least < 7 || most < 0x80000001u) return 1;
  Registers one = cpuid(1), seven = cpuid(7), more = cpuid(0x80000001u);
  if (!has(one.c, BIT(0) | BIT(9) | BIT(12) | BIT(13) | BIT(19) | BIT(20) | BIT(22) | BIT(23) | BIT(27) | BIT(28) |
                      BIT(29)))
    return 1;
  __asm__ volatile("xgetbv" : "=a"(kept), "=d"(high) : "c"(0));
  if (!has(kept, 6) || !has(seven.b, BIT(3) | BIT(5) | BIT(8)) || !has(more.c, BIT(0) | BIT(5))) return 1;
  if (!has(kept, 0xe6) || !has(seven.b, BIT(16) | BIT(17) | BIT(28) | BIT(30) | BIT(31))) return 3;
  return 4;
}

static u32 level_number(void) {
  static u32 known; /* one more than the number: the same whoever looks first */
  u32 best = __atomic_load_n(&known, __ATOMIC_RELAXED);
  if (best) return best - 1;
  u32 here = level_of_processor();
  for (u32 i = 1; i < LEVELS; i++)
    if (needs[i] <= here) best = i;
  __atomic_store_n(&known, best + 1, __ATOMIC_RELAXED);
  return best;
}
#else
static u32 level_number(void) { return 0; }
#endif
