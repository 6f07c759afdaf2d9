/* Running a program: value after value. */

static void run_product(const Graph *g, Value *v) {
  const Value *a = g->values + v->in[0], *b = g->values + v->in[1];
  Word *scratch = g->scratch;
  u64 depth = a->shape[1], n = b->shape[1];
  int plain = (b->shape[0] == 1 || b->stride[0] == n) && (n == 1 || b->stride[1] == 1);
  int turned = (n == 1 || b->stride[1] == depth) && (b->shape[0] == 1 || b->stride[0] == 1);
  const Word *right = plain || turned ? b->data : packed(b, &scratch);
  multiply(a->data, a->stride[0], a->stride[1], right, !plain && turned, v->data, a->shape[0], n, depth, scratch);
}

static void run_fold(const Graph *g, Value *v) {
  const Value *x = g->values + v->in[0];
  Word *scratch = g->scratch;
  int is_sum = v->node->op != OP_FOLD_MAX;
  u32 axes = v->axes;
  u64 shape[MOST_RANK], outer, n, inner;
  const Word *from = packed(x, &scratch);
  copy(shape, x->shape, sizeof shape);
  if (!last_run(x, shape, &axes, &outer, &n, &inner)) { /* a sum begins at +0, of one element as well */
    for (u64 k = 0; k < v->size; k++)
      if (is_sum) v->data[k].f = from[k].f + 0.0f;
      else v->data[k] = from[k];
    return;
  }
  for (;;) {
    u64 next_outer, next_n, next_inner;
    for (int a = 0; a < x->rank; a++)
      if ((v->axes & ~axes) >> a & 1) shape[a] = 1;
    int is_last = !last_run(x, shape, &axes, &next_outer, &next_n, &next_inner);
    Word *to = is_last ? v->data : scratch;
    if (!is_last) scratch += outer * inner;
    fold_axis(is_sum, from, to, outer, n, inner, scratch);
    if (is_last) return;
    from = to, outer = next_outer, n = next_n, inner = next_inner;
  }
}

static void run_coordinate(Value *v) {
  u64 after_it = 1;
  for (int a = v->rank - 1; a > (int)v->axes; a--) after_it *= v->shape[a];
  for (u64 at = 0; at < v->size; at++) v->data[at].u = (u32)(at / after_it % v->shape[v->axes]);
}

static void run_graph(Graph *g) {
  for (u32 k = 0; k < g->count; k++) {
    Value *v = g->values + k;
    Word *scratch = g->scratch;
    if (!v->node || !v->needed || v->is_view) continue;
    switch (v->node->op) {
      case OP_NUMBER: break;
      case OP_MATMUL: run_product(g, v); break;
      case OP_FOLD_SUM: case OP_FOLD_MAX: case OP_UNBROADCAST: run_fold(g, v); break;
      case OP_COORDINATE: run_coordinate(v); break;
      case OP_RANDOM_WORDS:
        random_words(g->seed, v->axes, v->draw, g->values[v->in[0]].data->u, &v->data->u, v->size);
        break;
      case OP_RESHAPE: {
        const Word *from = packed(g->values + v->in[0], &scratch);
        if (from == g->scratch) copy(v->data, from, v->size * sizeof(Word));
        break;
      }
      default:
        if (v->node->op < OP_FUNCTIONS) run_map(g, v);
        else apply_function(v->node->op - OP_FUNCTIONS + KERNEL_FUNCTIONS, packed(g->values + v->in[0], &scratch), v->data,
                            v->size);
    }
  }
}
