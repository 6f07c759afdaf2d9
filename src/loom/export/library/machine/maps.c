/* Operations element by element, each rounded by itself: src/loom/ir/evaluate.py. */

static float larger_of(float a, float b) {
  Word x;
  if (a != a) return a;
  if (b != b) return b;
  x.f = a;
  return a > b || (a == b && !(x.u >> 31)) ? a : b;
}

static float smaller_of(float a, float b) {
  Word x;
  if (a != a) return a;
  if (b != b) return b;
  x.f = a;
  return a < b || (a == b && x.u >> 31) ? a : b;
}

/* An operand of a run of elements: from one to the next it is `step` words, 0 or 1 most often. */
typedef struct { const Word *at; u64 step; } Operand;

#define LOOP(expression)                                                                     \
  if (a.step == 1 && b.step == 1) {                                                          \
    for (u64 k = 0; k < n; k++) { const Word x = a.at[k], y = b.at[k]; (void)y; expression; } \
  } else if (a.step == 1 && !b.step) {                                                       \
    const Word y = *b.at;                                                                    \
    for (u64 k = 0; k < n; k++) { const Word x = a.at[k]; (void)y; expression; }              \
  } else if (!a.step && b.step == 1) {                                                       \
    const Word x = *a.at;                                                                    \
    for (u64 k = 0; k < n; k++) { const Word y = b.at[k]; (void)y; expression; }              \
  } else {                                                                                   \
    for (u64 k = 0; k < n; k++) { const Word x = a.at[k * a.step], y = b.at[k * b.step]; (void)y; expression; } \
  }                                                                                          \
  break;

#define COMPARE(sign)                                  \
  if (kind == KIND_F32) { LOOP(out[k].u = x.f sign y.f) } \
  if (kind == KIND_I32) { LOOP(out[k].u = x.i sign y.i) } \
  LOOP(out[k].u = x.u sign y.u)

static void compare_run(int op, int kind, Word *restrict out, u64 n, Operand a, Operand b) {
  switch (op) {
    case OP_GT: COMPARE(>)
    case OP_GE: COMPARE(>=)
    case OP_LT: COMPARE(<)
    case OP_LE: COMPARE(<=)
    case OP_EQ: COMPARE(==)
    default: COMPARE(!=)
  }
}

static void select_run(Word *restrict out, u64 n, Operand c, Operand a, Operand b) {
  for (u64 k = 0; k < n; k++) {
    u32 mask = 0 - c.at[k * c.step].u;
    out[k].u = (a.at[k * a.step].u & mask) | (b.at[k * b.step].u & ~mask);
  }
}

/* A conversion: all those between these kinds but from floats, which templates have none of. */
static void convert_run(int from, int to, Word *restrict out, u64 n, Operand a) {
  Operand b = a;
  switch (to == KIND_F32 ? from : KIND_BOOL + 1) {
    case KIND_I32: LOOP(out[k].f = (float)x.i)
    case KIND_F32: LOOP(out[k] = x)
    case KIND_U32: case KIND_BOOL: LOOP(out[k].f = (float)x.u)
    default: LOOP(out[k] = x)
  }
}

static void map_run(int op, int kind, Word *restrict out, u64 n, Operand a, Operand b) {
  switch (op) {
    case OP_ADD: LOOP(out[k].f = x.f + y.f)
    case OP_SUB: LOOP(out[k].f = x.f - y.f)
    case OP_MUL: LOOP(out[k].f = x.f * y.f)
    case OP_DIV: LOOP(out[k].f = x.f / y.f)
    case OP_NEG: LOOP(out[k].u = x.u ^ 0x80000000u)
    case OP_ABS: LOOP(out[k].u = x.u & 0x7fffffffu)
    case OP_RELU: case OP_MAX: LOOP(out[k].f = larger_of(x.f, y.f))
    case OP_MIN: LOOP(out[k].f = smaller_of(x.f, y.f))
    case OP_OR: LOOP(out[k].u = x.u | y.u)
    case OP_AND: LOOP(out[k].u = x.u & y.u)
    case OP_SHR: LOOP(out[k].u = x.u >> (y.u & 31))
    case OP_RESHAPE: LOOP(out[k] = x)
    default: compare_run(op, kind, out, n, a, b);
  }
}

static int is_flat(const Value *x, u64 size) { return is_packed(x) && x->size == size; }

static int is_repeated(const Value *x) {
  for (int a = 0; a < x->rank; a++)
    if (x->shape[a] != 1 && x->stride[a]) return 0;
  return 1;
}

/* The offset of row number `row` of a value whose rows are its last axis. */
static u64 row_offset(const Value *x, u64 row) {
  u64 offset = 0;
  for (int a = x->rank - 2; a >= 0; row /= x->shape[a--]) offset += row % x->shape[a] * x->stride[a];
  return offset;
}

/* Computes v of operands of its shape: in one run if all are packed or one number, else row by row. */
static void run_map(const Graph *g, Value *v) {
  const Value *in[3];
  int count = v->node->inputs, op = v->node->op, flat = 1;
  for (int i = 0; i < 3; i++) in[i] = g->values + v->in[i < count ? i : 0];
  for (int i = 0; i < count; i++) flat &= is_flat(in[i], v->size) || is_repeated(in[i]);
  u64 n = flat || !v->rank ? v->size : v->shape[v->rank - 1];
  for (u64 at = 0; at < v->size; at += n) {
    Operand operand[3];
    for (int i = 0; i < 3; i++) {
      const Value *x = in[i];
      operand[i].at = x->data + (flat ? 0 : row_offset(x, at / n));
      operand[i].step = flat ? !is_repeated(x) : x->stride[x->rank - 1];
    }
    Word *out = v->data + at;
    if (op == OP_SELECT) select_run(out, n, operand[0], operand[1], operand[2]);
    else if (op == OP_CONVERT) convert_run(in[0]->kind, v->kind, out, n, operand[0]);
    else map_run(op, in[0]->kind, out, n, operand[0], operand[1]);
  }
}

/* The elements of x in row-major order: where they are, or copied to *scratch. */
static const Word *packed(const Value *x, Word **scratch) {
  u64 n = x->rank ? x->shape[x->rank - 1] : 1;
  Word *out = *scratch;
  if (is_packed(x)) return x->data;
  for (u64 at = 0; at < x->size; at += n) {
    Operand a = {x->data + row_offset(x, at / n), x->stride[x->rank - 1]};
    map_run(OP_RESHAPE, KIND_F32, out + at, n, a, a);
  }
  *scratch += x->size;
  return out;
}
