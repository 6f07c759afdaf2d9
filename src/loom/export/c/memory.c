/* What compiled code may call without a C library, for those who link none. */
#include <stddef.h>
#include <stdint.h>

#if defined(_WIN32) /* there the compiler's own functions are linked, which have these */

int _fltused = 0;
int DllMainCRTStartup(void *library, unsigned long reason, void *reserved) {
  (void)library, (void)reason, (void)reserved;
  return 1;
}

#else

#define WEAK __attribute__((weak))

#ifdef __wasm_bulk_memory__ /* an instruction each */

WEAK void *memcpy(void *restrict to, const void *restrict from, size_t n) { return __builtin_memcpy(to, from, n); }

WEAK void *memmove(void *to, const void *from, size_t n) { return __builtin_memmove(to, from, n); }

WEAK void *memset(void *to, int value, size_t n) { return __builtin_memset(to, value, n); }

#else

WEAK void *memcpy(void *restrict to, const void *restrict from, size_t n) {
  unsigned char *t = to;
  const unsigned char *f = from;
  while (n--) *t++ = *f++;
  return to;
}

WEAK void *memmove(void *to, const void *from, size_t n) {
  unsigned char *t = to;
  const unsigned char *f = from;
  if ((uintptr_t)t < (uintptr_t)f)
    while (n--) *t++ = *f++;
  else
    while (n--) t[n] = f[n];
  return to;
}

WEAK void *memset(void *to, int value, size_t n) {
  unsigned char *t = to;
  while (n--) *t++ = (unsigned char)value;
  return to;
}

#endif
#endif
