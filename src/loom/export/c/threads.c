/* Worker threads, of exports that asked for them: all of them take pieces of a dispatch's groups, which are strangers
 * to each other, so that the bits are those of one thread. Workers that have nothing to do spin, then sleep. */

#include <pthread.h>

enum { MOST_THREADS = 64, SPINS = 4000 };

typedef struct {
  pthread_mutex_t lock;
  pthread_cond_t work, done;
  pthread_t threads[MOST_THREADS];
  u32 count;              /* of workers, beside the caller */
  u32 arrived;            /* workers that are done with the dispatch at hand */
  u64 number, stop;       /* of the dispatch, counted from 1; whether workers shall end */
  u64 next, piece, total; /* the first group that nobody took, groups of a piece, all groups */
  const Record *record;
  Kernel *kernel;
} Pool;

static void take_pieces(Pool *pool) {
  u64 log[8] = {0};
  for (u64 first; (first = __atomic_fetch_add(&pool->next, pool->piece, __ATOMIC_RELAXED)) < pool->total;) {
    u64 end = pool->total - first < pool->piece ? pool->total : first + pool->piece;
    pool->kernel(pool->record, log, first, end);
  }
}

static void *worker(void *given) {
  Pool *pool = given;
  u64 seen = 0;
  enter();
  for (;;) {
    for (u32 i = 0; i < SPINS && __atomic_load_n(&pool->number, __ATOMIC_ACQUIRE) == seen; i++) {}
    pthread_mutex_lock(&pool->lock);
    while (pool->number == seen && !pool->stop) pthread_cond_wait(&pool->work, &pool->lock);
    int stop = pool->number == seen;
    seen = pool->number;
    pthread_mutex_unlock(&pool->lock);
    if (stop) return 0;
    take_pieces(pool);
    if (__atomic_add_fetch(&pool->arrived, 1, __ATOMIC_ACQ_REL) == pool->count) {
      pthread_mutex_lock(&pool->lock);
      pthread_cond_signal(&pool->done);
      pthread_mutex_unlock(&pool->lock);
    }
  }
}

/* Run a dispatch with all workers; it is over when they all are. */
static void run_together(Pool *pool, Kernel *kernel, const Record *record) {
  pthread_mutex_lock(&pool->lock);
  pool->kernel = kernel, pool->record = record, pool->total = record->total;
  pool->piece = record->total / (4 * (pool->count + 1)) + 1;
  pool->next = 0, pool->arrived = 0;
  __atomic_store_n(&pool->number, pool->number + 1, __ATOMIC_RELEASE);
  pthread_cond_broadcast(&pool->work);
  pthread_mutex_unlock(&pool->lock);
  take_pieces(pool);
  for (u32 i = 0; i < SPINS; i++)
    if (__atomic_load_n(&pool->arrived, __ATOMIC_ACQUIRE) == pool->count) return;
  pthread_mutex_lock(&pool->lock);
  while (__atomic_load_n(&pool->arrived, __ATOMIC_ACQUIRE) < pool->count) pthread_cond_wait(&pool->done, &pool->lock);
  pthread_mutex_unlock(&pool->lock);
}

static void end_workers(Pool *pool) {
  if (!pool->count) return;
  pthread_mutex_lock(&pool->lock);
  pool->stop = 1;
  pthread_cond_broadcast(&pool->work);
  pthread_mutex_unlock(&pool->lock);
  for (u32 i = 0; i < pool->count; i++) pthread_join(pool->threads[i], 0);
  pthread_cond_destroy(&pool->work), pthread_cond_destroy(&pool->done), pthread_mutex_destroy(&pool->lock);
  pool->count = 0;
}

/* Start workers; returns how many there are then. */
static u32 start_workers(Pool *pool, u32 wanted) {
  pool->number = pool->stop = pool->arrived = 0;
  if (!wanted || pthread_mutex_init(&pool->lock, 0)) return 0;
  pthread_cond_init(&pool->work, 0), pthread_cond_init(&pool->done, 0);
  u32 made = 0;
  while (made < wanted && !pthread_create(pool->threads + made, 0, worker, pool)) made++;
  return pool->count = made;
}
