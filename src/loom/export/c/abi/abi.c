/* Networks behind a few functions with JSON texts: one of them is active, no handle is needed.
 *
 * All memory is one block: a static one, or that of LoomMemory. It has a place for each network, two copies of a saved
 * state, samples, and two results, which are written in turn. One thread at a time may call. */

enum { MOST_PORTS = 16, MOST_AXES = 8 };

typedef struct {
  const char *name, *document;
  const u64 *identities; /* of the documents that it was made of; 0 at the end */
  const double *rate;    /* of all updates; NULL if they have several */
  size_t (*size)(void);
  int (*open)(void *, size_t, void **);
  int (*reset)(void *);
  int (*forward)(void *, const void *const *, void *const *, u32);
  int (*train)(void *, const void *const *, u32, u32, double *); /* NULL: it does not train */
  int (*digest)(const void *, u8 *);
  int (*save)(const void *, void *, size_t, size_t *);
  int (*load)(void *, const void *, size_t);
  void (*seal)(void *); /* the digest of a saved state that was changed */
  const char *(*manifest)(void), *(*message)(int);
} Net;
