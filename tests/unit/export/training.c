/* Trains an exported network with samples of two files, as `PROGRAM x y samples epochs`; prints digest and loss.
 *
 * Every function is called in a state of floating-point arithmetic that nobody has (rounding upward, subnormals
 * flushed, all exceptions unmasked where that is the processor's), and must leave it as it was. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "net.h"

#if defined(__x86_64__)
static const unsigned ODD = 0xc040, PLAIN = 0x1f80;
static void set_state(unsigned state) { __asm__ volatile("ldmxcsr %0" : : "m"(state)); }
static unsigned get_state(void) {
  unsigned state;
  __asm__ volatile("stmxcsr %0" : "=m"(state));
  return state;
}
#elif defined(__aarch64__)
static const unsigned long ODD = 1ul << 22 | 1ul << 24 | 1ul << 25, PLAIN = 0;
static void set_state(unsigned long state) { __asm__ volatile("msr fpcr, %0" : : "r"(state)); }
static unsigned long get_state(void) {
  unsigned long state;
  __asm__ volatile("mrs %0, fpcr" : "=r"(state));
  return state;
}
#elif defined(__arm__)
static const unsigned ODD = 1u << 22 | 1u << 24 | 1u << 25, PLAIN = 0;
static void set_state(unsigned state) { __asm__ volatile("vmsr fpscr, %0" : : "r"(state)); }
static unsigned get_state(void) {
  unsigned state;
  __asm__ volatile("vmrs %0, fpscr" : "=r"(state));
  return state & 0x03c00000; /* without what arithmetic and comparisons leave there */
}
#endif

static void *whole_file(const char *path, size_t *nbytes) {
  FILE *file = fopen(path, "rb");
  fseek(file, 0, SEEK_END);
  *nbytes = (size_t)ftell(file);
  rewind(file);
  void *data = malloc(*nbytes);
  if (fread(data, 1, *nbytes, file) != *nbytes) exit(2);
  fclose(file);
  return data;
}

#define CALL(call)                                                   \
  do {                                                               \
    set_state(ODD);                                                  \
    if (!code) code = call;                                          \
    int kept = get_state() == ODD;                                   \
    set_state(PLAIN);                                                \
    if (!kept) return puts("another state of arithmetic: " #call), 3; \
  } while (0)

int main(int count, char **words) {
  net *opened = 0;
  double loss = 0, before = 0, accuracy = 0;
  uint8_t digest[32], again[32];
  size_t nbytes, written = 0;
  void *memory = malloc(net_size()), *x = whole_file(words[1], &nbytes), *y = whole_file(words[2], &nbytes);
  static uint8_t out[1 << 20];
  unsigned samples = (unsigned)atoi(words[3]), epochs = (unsigned)atoi(words[4]);
  int code = count == 5 ? 0 : 2;
  CALL(net_open(memory, net_size(), &opened));
  CALL(net_score(opened, x, y, samples, &before));
  CALL(net_forward(opened, x, (void *)out, samples));
  CALL(net_train(opened, x, y, samples, epochs, &loss));
  CALL(net_evaluate(opened, x, y, samples, &before, &accuracy));
  CALL(net_digest(opened, digest));
  CALL(net_save(opened, 0, 0, &written));
  void *saved = malloc(written);
  CALL(net_save(opened, saved, written, &written));
  CALL(net_reset(opened));
  CALL(net_load(opened, saved, written));
  CALL(net_digest(opened, again));
  if (!code && memcmp(digest, again, sizeof digest)) return puts("saved and loaded it is another"), 4;
  if (code) return puts(net_message(code)), 1;
  for (int i = 0; i < 32; i++) printf("%02x", digest[i]);
  printf(" %a\n", loss);
  return 0;
}
