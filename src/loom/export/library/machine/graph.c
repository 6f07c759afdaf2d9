/* A program: templates joined into one list of values. Views share their operand's memory. */

typedef struct {
  const Node *node; /* NULL: a source, whose memory is given */
  u32 in[3], axes, draw;
  u8 kind, rank, needed, is_view;
  u64 shape[MOST_RANK], stride[MOST_RANK], size;
  Word *data;
} Value;

typedef struct {
  Pool pool;
  Value *values;
  u32 count, room, draws;
  Word *scratch;
  u64 seed;
} Graph;

static int is_packed(const Value *v) {
  u64 step = 1;
  for (int a = v->rank - 1; a >= 0; step *= v->shape[a--])
    if (v->shape[a] != 1 && v->stride[a] != step) return 0;
  return 1;
}

static void pack_strides(Value *v) {
  v->size = 1;
  for (int a = v->rank - 1; a >= 0; a--) v->stride[a] = v->size, v->size *= v->shape[a];
}

static u32 add_value(Graph *g, const Value *v) {
  copy(g->values + g->count, v, sizeof *v);
  return g->count++;
}

static u32 add_source(Graph *g, int kind, int rank, const u64 *shape, Word *data) {
  Value v;
  clear(&v, sizeof v);
  v.kind = (u8)kind, v.rank = (u8)rank, v.data = data, v.needed = 1;
  for (int a = 0; a < rank; a++) v.shape[a] = shape[a];
  pack_strides(&v);
  return add_value(g, &v);
}

static int set_number(Graph *g, Value *v, const double *symbols) {
  const Node *n = v->node;
  v->data = take(&g->pool, sizeof(Word));
  if (!v->data) return 0;
  if (n->told < 0) {
    v->data->u = n->number;
  } else {
    double x = evaluated(n->told, symbols);
    if (n->kind == KIND_F32) v->data->f = (float)x;
    else if (n->kind == KIND_U32) v->data->u = (u32)(u64)x;
    else v->data->i = (int32_t)(int64_t)x;
  }
  return 1;
}

/* What puts the layers that a layer holds in the place of their row: of an input its output, of a gradient the input's. */
typedef struct { int (*put)(void *about, int is_backward, u32 given, u32 *made); void *about; } Inner;

/* Adds rows `from` to `to` of a template; slots: values of its inputs; at: where its rows are. 0: no memory. */
static int instantiate(Graph *g, const Template *t, u32 from, u32 to, const double *symbols, const u32 *slots, u32 *at,
                       const Inner *inner) {
  for (u32 k = from; k < to; k++) {
    const Node *n = node_table + t->first + k;
    Value v;
    if (n->op == OP_INPUT) {
      at[k] = slots[n->number];
      continue;
    }
    if (n->op == OP_PART || n->op == OP_PART_GRADIENT) {
      if (!inner->put(inner->about, n->op == OP_PART_GRADIENT, at[n->in[0]], at + k)) return 0;
      continue;
    }
    clear(&v, sizeof v);
    v.node = n, v.kind = n->kind, v.rank = n->rank, v.axes = n->number;
    for (int a = 0; a < n->rank; a++) v.shape[a] = size_told(n->shape[a], symbols);
    for (int i = 0; i < n->inputs; i++) v.in[i] = at[n->in[i]];
    pack_strides(&v);
    if (n->op == OP_NUMBER && !set_number(g, &v, symbols)) return 0;
    if (n->op == OP_RANDOM_WORDS) v.draw = ++g->draws;
    at[k] = add_value(g, &v);
  }
  return 1;
}

/* What a broadcast repeated, whose gradient this is: axes of the gradient, as src/loom/tensor/arrays/derivatives.py has
 * them; *is_same: nothing was broadcast. */
static u32 repeated_axes(const Value *gradient, const Value *result, int *is_same) {
  int more = gradient->rank - result->rank;
  u32 axes = 0;
  *is_same = !more;
  for (int a = 0; a < gradient->rank; a++) {
    u64 own = a < more ? 1 : result->shape[a - more];
    if (a < more || (own == 1 && gradient->shape[a] != 1)) axes |= (u32)1 << a;
    if (own != gradient->shape[a]) *is_same = 0;
  }
  return axes;
}

/* Makes a value a view of its operand, if it is one. */
static void set_view(const Graph *g, Value *v) {
  const Value *x = g->values + v->in[0];
  int is_same = 0;
  switch (v->node->op) {
    case OP_SAME:
      for (int a = 0; a < v->rank; a++) v->stride[a] = x->stride[a];
      break;
    case OP_BROADCAST:
      for (int a = 0; a < v->rank; a++) {
        int from = a - (v->rank - x->rank);
        v->stride[a] = from < 0 || x->shape[from] != v->shape[a] ? 0 : x->stride[from];
      }
      break;
    case OP_PERMUTE:
      for (int a = 0; a < v->rank; a++) v->stride[a] = x->stride[v->axes >> 4 * a & 15];
      break;
    case OP_RESHAPE:
      if (!is_packed(x)) return;
      break;
    case OP_UNBROADCAST:
      v->axes = repeated_axes(x, v, &is_same);
      if (!is_same) return;
      for (int a = 0; a < v->rank; a++) v->stride[a] = x->stride[a];
      break;
    default: return;
  }
  v->is_view = 1;
}

static u32 root_of(const Graph *g, u32 k) {
  while (g->values[k].is_view) k = g->values[k].in[0];
  return k;
}

/* Axes that a fold joins: (outer, n, inner) of the last run; 0 if no axis is longer than 1. What is left of *axes then:
 * the runs before. docs/numerics.md, section 2. */
static int last_run(const Value *x, const u64 *shape, u32 *axes, u64 *outer, u64 *n, u64 *inner) {
  int end = -1, begin = -1;
  for (int a = x->rank - 1; a >= 0; a--) {
    int is_summed = *axes >> a & 1;
    if (shape[a] == 1) continue;
    if (!is_summed) {
      if (end >= 0) break;
      continue;
    }
    if (end < 0) end = a;
    begin = a, *axes &= ~((u32)1 << a);
  }
  if (end < 0) return 0;
  *outer = *n = *inner = 1;
  for (int a = 0; a < x->rank; a++) *(a < begin ? outer : a <= end ? n : inner) *= shape[a];
  return 1;
}

/* Words of scratch memory that a value takes while it is computed. */
static u64 scratch_of(const Graph *g, const Value *v) {
  const Value *x = g->values + v->in[0], *y = g->values + v->in[1];
  u64 total = 0;
  if (v->node->op == OP_MATMUL) {
    total = y->size + (parts(x->shape[1], PRODUCT_CHUNK) > 1 ? parts(x->shape[1], PRODUCT_CHUNK) * v->size : 0);
  } else if (v->node->op == OP_FOLD_SUM || v->node->op == OP_FOLD_MAX || v->node->op == OP_UNBROADCAST) {
    u32 axes = v->axes;
    u64 shape[MOST_RANK], outer, n, inner;
    copy(shape, x->shape, sizeof shape);
    total = x->size;
    while (last_run(x, shape, &axes, &outer, &n, &inner)) {
      total += outer * inner + fold_scratch(outer, n, inner);
      for (int a = 0; a < x->rank; a++) /* what is folded is 1 from here on */
        if ((v->axes & ~axes) >> a & 1) shape[a] = 1;
    }
  } else if (v->node->op >= OP_FUNCTIONS) {
    total = x->size;
  }
  return total + 64;
}

typedef struct { Word *data; u64 size; } Room;

/* Marks what is needed for the ends, makes views, gives memory: that of values whose last use is over again. */
static int plan(Graph *g, const u32 *ends, u32 count) {
  u64 most = 0;
  u32 free_rooms = 0;
  u32 *last = take(&g->pool, (u64)g->count * sizeof *last);
  Room *rooms = take(&g->pool, (u64)g->count * sizeof *rooms);
  if (!last || !rooms) return 0;
  for (u32 k = 0; k < count; k++) g->values[ends[k]].needed = 1;
  for (u32 k = g->count; k-- > 0;) {
    Value *v = g->values + k;
    if (v->needed && v->node)
      for (int i = 0; i < v->node->inputs; i++) g->values[v->in[i]].needed = 1;
  }
  for (u32 k = 0; k < g->count; k++) {
    Value *v = g->values + k;
    if (!v->node || !v->needed || v->node->op == OP_NUMBER) continue;
    set_view(g, v);
    for (int i = 0; i < v->node->inputs; i++) last[root_of(g, v->in[i])] = k;
    if (!v->is_view && scratch_of(g, v) > most) most = scratch_of(g, v);
  }
  for (u32 k = 0; k < g->count; k++) /* a view is used as long as its root */
    if (g->values[k].is_view && last[k] > last[root_of(g, k)]) last[root_of(g, k)] = last[k];
  for (u32 k = 0; k < count; k++) last[root_of(g, ends[k])] = ~(u32)0;
  for (u32 k = 0; k < g->count; k++) {
    Value *v = g->values + k;
    if (!v->node || !v->needed || v->node->op == OP_NUMBER) continue;
    if (v->is_view) {
      v->data = g->values[v->in[0]].data;
    } else {
      u32 best = free_rooms;
      for (u32 i = 0; i < free_rooms; i++)
        if (rooms[i].size >= v->size && (best == free_rooms || rooms[i].size < rooms[best].size)) best = i;
      if (best < free_rooms && rooms[best].size <= 2 * v->size + 64) {
        v->data = rooms[best].data;
        rooms[best] = rooms[--free_rooms];
      } else if (!(v->data = take(&g->pool, v->size * sizeof(Word)))) {
        return 0;
      }
    }
    for (int i = 0; i < v->node->inputs; i++) {
      u32 root = root_of(g, v->in[i]);
      Value *r = g->values + root;
      if (last[root] != k || !r->node || r->node->op == OP_NUMBER) continue;
      last[root] = 0; /* once, though it may be read twice here */
      rooms[free_rooms].data = r->data, rooms[free_rooms++].size = r->size;
    }
  }
  g->scratch = take(&g->pool, most * sizeof(Word));
  return g->scratch != 0;
}
