/* What every export begins with: types that compiled kernels read, memory, the state of floating-point arithmetic. */

typedef uint8_t u8;
typedef uint32_t u32;
typedef uint64_t u64;
#ifndef INDEX
#define INDEX uint16_t
#endif
/* as compiled kernels read them: src/loom/targets/llvm/machine/layout.py */
typedef struct { u64 kernel, bindings, params, indirect; u32 groups[3], flags; u64 total; u32 number, start; } Record;
typedef struct { u64 address, elements; } Binding;
typedef void Kernel(const Record *, void *, u64, u64);
typedef struct { u32 binding, param; uint16_t kernel, groups, bound, indirect; u32 shared; } Row; /* shared: by threads */
typedef struct { u32 at, elements; } Place; /* at: 64 bytes each, in the block, or with the highest bit of constants */
typedef struct { Place place; u64 offset; u32 largest[3]; } Indirect;
typedef struct { u64 offset, nbytes; } Port;
typedef struct { u32 kind, samples, first, rows, port; } Program;
typedef struct { const char *name, *told; u64 offset, nbytes, saved; u32 element, kind, is_wide; } Tensor;
typedef struct { u64 offset, nbytes, from; } Fill;
/* what one level of the processor runs: src/loom/export/c/levels.py */
typedef struct {
  Kernel *const *kernels;
  const Row *rows;
  const INDEX *bindings; /* numbers of places */
  const Place *places;
  const u32 (*groups)[3];
  const u64 *params;
  const Indirect *indirects;
  const Port *ports;
  const Program *programs;
  const u64 *constants;
  u32 count; /* of programs */
} Level;
enum { FORWARD, STEP, SCORE, SUM, UPDATE };
enum { OTHER, F16, BF16, F32, F64, INTEGER };
/* what an array of callers may hold: finite floats; from 0 to `most`; whole numbers of those; or PADDING besides */
enum { ANY, BETWEEN, WHOLE, PADDED };
typedef struct { u32 kind, nbytes, elements, form; double most; } Range;
enum { NEITHER, CLASSES, CHANCES };
typedef struct { u32 kind, classes, nbytes, target_nbytes; double above; } Measure;

/* Memory. Loops of our own: the compiler is told not to make calls of them (-fno-builtin). */

typedef u64 Piece __attribute__((vector_size(16), aligned(1), may_alias)); /* 16 bytes anywhere */
typedef u32 Words __attribute__((vector_size(16), aligned(1), may_alias));

static void copy(void *to, const void *from, u64 n) {
#ifdef __wasm_bulk_memory__
  __builtin_memcpy(to, from, (size_t)n); /* one instruction */
#else
  u8 *t = to;
  const u8 *f = from;
  u64 i = 0;
  for (; i + 64 <= n; i += 64) {
    const Piece *a = (const Piece *)(f + i);
    Piece *b = (Piece *)(t + i), x = a[0], y = a[1], z = a[2], w = a[3];
    b[0] = x, b[1] = y, b[2] = z, b[3] = w;
  }
  for (; i < n; i++) t[i] = f[i];
#endif
}

/* The processor's rounding and subnormals as the numeric contract has them, and back. */

#if defined(__x86_64__)
static u32 enter(void) {
  u32 old, plain = 0x1f80;
  __asm__ volatile("stmxcsr %0" : "=m"(old));
  __asm__ volatile("ldmxcsr %0" : : "m"(plain));
  return old;
}
static void leave(u32 old) { __asm__ volatile("ldmxcsr %0" : : "m"(old)); }
#elif defined(__aarch64__)
static u64 enter(void) {
  u64 old;
  __asm__ volatile("mrs %0, fpcr" : "=r"(old));
  __asm__ volatile("msr fpcr, %0" : : "r"((u64)0));
  return old;
}
static void leave(u64 old) { __asm__ volatile("msr fpcr, %0" : : "r"(old)); }
#elif defined(__arm__)
static u32 enter(void) {
  u32 old;
  __asm__ volatile("vmrs %0, fpscr" : "=r"(old));
  __asm__ volatile("vmsr fpscr, %0" : : "r"(0));
  return old;
}
static void leave(u32 old) { __asm__ volatile("vmsr fpscr, %0" : : "r"(old)); }
#else /* WebAssembly has one mode */
static u32 enter(void) { return 0; }
static void leave(u32 old) { (void)old; }
#endif
