/* What an exported kernel does with what it is given. It keeps nothing: any number of threads may call it at once. */

/* Whether two buffers share memory of which one is written. */
static int overlap(const Binding *bound, u32 i, u32 k) {
  u64 a = bound[i].address, b = bound[k].address;
  return (buffers[i].writes || buffers[k].writes) && a < b + bound[k].elements * buffers[k].nbytes &&
         b < a + bound[i].elements * buffers[i].nbytes;
}

static int bind(Binding *bound, const void *const *memory, const u64 *counts) {
  static const u64 nothing[8] = {0};
  for (u32 i = 0, given = 0; i < BUFFERS; i++) {
    if (buffers[i].constant) {
      bound[i].address = (u64)(uintptr_t)(constants + buffers[i].constant - 1);
      bound[i].elements = table_elements[i];
      continue;
    }
    const void *at = counts[given] ? memory[given] : nothing;
    if (!at) return LOOM_NULL;
    if (counts[given] > 0xffffffffu || counts[given] > (size_t)-1 / buffers[i].nbytes) return LOOM_TOO_MANY;
    if ((uintptr_t)at % buffers[i].aligned) return LOOM_ALIGNMENT;
    bound[i].address = (u64)(uintptr_t)at;
    bound[i].elements = counts[given++];
    if ((size_t)-1 - (uintptr_t)at < bound[i].elements * buffers[i].nbytes) return LOOM_TOO_MANY;
  }
  for (u32 i = 0; i < BUFFERS; i++)
    for (u32 k = 0; k < i; k++)
      if (bound[i].elements && bound[k].elements && overlap(bound, i, k)) return LOOM_OVERLAP;
  return LOOM_OK;
}

#if TALKS
static int start(const void *const *memory, const u64 *counts, const u64 *slots, u32 x, u32 y, u32 z, Tell *tell,
                 void *user) {
  u64 log[4 + LOG_WORDS];
  for (u32 i = 0; i < 4 + LOG_WORDS; i++) log[i] = 0;
  log[0] = LOG_WORDS;
#else
static int start(const void *const *memory, const u64 *counts, const u64 *slots, u32 x, u32 y, u32 z) {
  u64 log[8] = {0};
#endif
  Binding bound[BUFFERS + 1];
  Record r = {0, (u64)(uintptr_t)bound, (u64)(uintptr_t)slots, 0, {x, y, z}, 0, 0, 0, 0};
  int code = bind(bound, memory, counts);
  if (code) return code;
  for (int i = 0; i < 3; i++)
    if ((u64)r.groups[i] * workgroup[i] > (u64)1 << 32) return LOOM_TOO_MANY;
  if (y && z && (u64)x * y > 0xffffffffu / z) return LOOM_TOO_MANY;
  r.total = (u64)x * y * z;
  if (r.total) kernels[level_number()](&r, log, 0, r.total);
#if TALKS
  return told(log, tell, user);
#else
  return LOOM_OK;
#endif
}

const char *LOOM(manifest)(void) { return manifest; }

const char *LOOM(message)(int code) {
  return code < 0 || code >= LOOM_CODES ? "no such code" : messages[code];
}
