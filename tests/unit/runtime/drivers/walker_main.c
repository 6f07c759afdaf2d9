/* Runs the walker as the CPU device does, without Python: a chain of 300 batches over 8 workers, submissions one after
 * the other and all at once, waits that run out, an end with sleeping workers. Prints "ok" if every group ran once. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#ifdef _WIN32
#include <windows.h>
#endif
#if defined _WIN32 && defined __x86_64__
#include <xmmintrin.h>
#endif

typedef struct {
  uint64_t kernel, bindings, params, indirect;
  uint32_t groups[3], flags;
  uint64_t total;
  uint32_t number, start;
} Record;
typedef struct {
  uint64_t records, count, log, state, next, successor, cancel, executed, excess, clock, words[4];
} Submission;

int64_t loom_pool_size(void);
int64_t loom_pool_start(void *pool, int64_t workers);
void loom_pool_stop(void *pool);
void loom_submit(void *pool, Submission *given, Submission *previous);
int32_t loom_run(void *pool, Submission *given, int64_t slot, int64_t nanoseconds);
int32_t loom_wait(void *pool, Submission *given, int64_t nanoseconds);

enum { RECORDS = 300, GROUPS = 1000, SUBMISSIONS = 40, WORKERS = 8 };

static void add(Record *record, void *log, int64_t first, int64_t end) {
  uint32_t *cells = (uint32_t *)(uintptr_t)record->bindings;
  (void)log;
  for (int64_t i = first; i < end; i++) {
    /* the batch before has to be over, everywhere */
    if (cells[(i + 7) % GROUPS] < record->number || cells[(i + 7) % GROUPS] > record->number + 1) exit(3);
    cells[i]++;
  }
}

static void fail(const char *what) {
  printf("%s\n", what);
  exit(1);
}

int main(void) {
  size_t nbytes = (size_t)loom_pool_size();
  char *memory = calloc(1, nbytes + 64);
  void *pool = (void *)(((uintptr_t)memory + 63) & ~(uintptr_t)63);
  if (loom_pool_start(pool, WORKERS) != WORKERS) fail("workers did not start");
  static Record records[SUBMISSIONS][RECORDS];
  static Submission given[SUBMISSIONS];
  static uint32_t cells[SUBMISSIONS][GROUPS];
  static uint64_t clock[RECORDS + 1];
  for (int round = 0; round < 3; round++) {
    memset(cells, 0, sizeof cells);
    for (int s = 0; s < SUBMISSIONS; s++) {
      for (int r = 0; r < RECORDS; r++) {
        Record one = {(uintptr_t)add, (uintptr_t)cells[s], 0, 0, {GROUPS, 1, 1}, 1, GROUPS, (uint32_t)r, 0};
        records[s][r] = one;
      }
      Submission made = {(uintptr_t)records[s], RECORDS, 0, 0, 0, 0, 0, 0, 0, 0, {0, 0, 0, 0}};
      given[s] = made;
      given[s].log = (uintptr_t)given[s].words;
    }
    if (round == 0) given[0].clock = (uintptr_t)clock;
    for (int s = 0; s < SUBMISSIONS; s++) {
      if (round == 0 && s % 2) loom_run(pool, &given[s], 64, 50000000);
      else loom_submit(pool, &given[s], round == 1 && s ? &given[s - 1] : 0);
    }
    for (int s = 0; s < SUBMISSIONS; s++)
      while (!loom_wait(pool, &given[s], 20000000)) {
      }
    for (int s = 0; s < SUBMISSIONS; s++)
      for (int i = 0; i < GROUPS; i++)
        if (cells[s][i] != RECORDS) fail("a group did not run once");
  }
  if (clock[RECORDS] <= clock[0] || clock[RECORDS] - clock[0] > 60000000000u) fail("times do not pass");
  Submission never = {0};
  if (loom_wait(pool, &never, 30000000)) fail("what never ran is over");
#ifdef _WIN32
  Sleep(200); /* all asleep */
#endif
  loom_pool_stop(pool);
  free(memory);
#if defined _WIN32 && defined __x86_64__
  unsigned word = 0; /* core/arithmetic.py sets a thread's arithmetic with these */
  HMODULE library = LoadLibraryA("ucrtbase.dll");
  int (*control)(unsigned *, unsigned, unsigned) = (void *)GetProcAddress(library, "_controlfp_s");
  _mm_setcsr(0x1f80 | 0x8040 | 0x4000);
  if (control(&word, 0, 0x03000300) || (_mm_getcsr() & 0xe040) != 0) fail("arithmetic is not ordinary");
  _mm_setcsr(0x1f80 | 0x4000);
  control(&word, 0, 0);
  control(&word, 0, 0x03000300);
#endif
  printf("ok\n");
  return 0;
}
