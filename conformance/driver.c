/* Runs compiled kernels on an emulated machine, without a C library: jobs come on standard input, and memory goes to
 * standard output as the kernels left it. A job is three 64-bit words (kernel, bytes, bindings) and an image, which
 * images.py lays out at address 0; here it is moved to where it lies. Each dispatch is run in two calls. */

typedef unsigned long long u64;
typedef void kernel(void *record, void *log, u64 first, u64 end);

extern kernel *const loom_kernels[];

enum { LOG = 64, BINDINGS = 128, ROOM = 160 << 20 };
static unsigned char memory[ROOM] __attribute__((aligned(64)));

#ifdef __aarch64__
enum { READ = 63, WRITE = 64, EXIT = 93 };
static long call(long number, long a, void *b, long c) {
  register long x8 __asm__("x8") = number, x0 __asm__("x0") = a, x2 __asm__("x2") = c;
  register void *x1 __asm__("x1") = b;
  __asm__ volatile("svc 0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2) : "memory");
  return x0;
}
#else
enum { READ = 3, WRITE = 4, EXIT = 1 };
static long call(long number, long a, void *b, long c) {
  register long r7 __asm__("r7") = number, r0 __asm__("r0") = a, r2 __asm__("r2") = c;
  register void *r1 __asm__("r1") = b;
  __asm__ volatile("svc 0" : "+r"(r0) : "r"(r7), "r"(r1), "r"(r2) : "memory");
  return r0;
}
#endif

/* What kernels of AArch64 take of a heap: all of it is given back before the next kernel begins. */
static unsigned char heap[ROOM] __attribute__((aligned(64)));
static u64 taken, pieces;

void *malloc(unsigned long nbytes) {
  unsigned char *piece = heap + taken;
  taken += (nbytes + 63) / 64 * 64;
  if (taken > ROOM) call(EXIT, 4, 0, 0);
  pieces++;
  return piece;
}

void free(void *piece) {
  if (piece && --pieces == 0) taken = 0;
}

/* Reads or writes all of it; 0 if the stream ends first. */
static int whole(long direction, void *data, u64 nbytes) {
  for (unsigned char *at = data; nbytes;) {
    long done = call(direction, direction == READ ? 0 : 1, at, (long)nbytes);
    if (done <= 0) return 0;
    at += done;
    nbytes -= (u64)done;
  }
  return 1;
}

static void run(const u64 *job) {
  u64 base = (u64)(unsigned long)memory;
  u64 *record = (u64 *)memory, *bindings = (u64 *)(memory + BINDINGS);
  record[1] += base;
  record[2] += base;
  for (u64 n = 0; n < job[2]; n++) bindings[2 * n] += base;
  u64 total = record[6];
  loom_kernels[job[0]](memory, memory + LOG, 0, total / 2);
  loom_kernels[job[0]](memory, memory + LOG, total / 2, total);
}

void _start(void) {
  u64 job[3];
  while (whole(READ, job, sizeof job)) {
    if (job[1] > ROOM || !whole(READ, memory, job[1])) call(EXIT, 2, 0, 0);
    run(job);
    if (!whole(WRITE, memory, job[1])) call(EXIT, 3, 0, 0);
  }
  call(EXIT, 0, 0, 0);
}
