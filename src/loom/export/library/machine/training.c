/* Training: settings, orders, steps, epochs, as src/loom/nn/train does. */

enum { SCHEDULE_NONE, SCHEDULE_CONSTANT, SCHEDULE_LINEAR, SCHEDULE_WARMUP };
enum { DECAY_ALL = 7, MOST_BATCH = 1 << 30 };

static const Setting *setting_of(const Optimizer *o, Text key, int *number) {
  for (*number = 0; *number < o->settings; ++*number)
    if (is_text(key, setting_table[o->first_setting + *number].name)) return setting_table + o->first_setting + *number;
  return 0;
}

static int bad_setting(LoomNet *net, Text key, const char *what) {
  Step at = at_key(0, key);
  net->error.code = 0;
  problem(&net->error, LOOM_ARGUMENT, &at, what, 0, 0, value_of(key));
  return 0;
}

static int read_count(LoomNet *net, Text key, u64 least, u64 most, u64 *out) {
  int negative;
  Text value = value_of(key);
  if ((*value == '-' || is_digit(*value)) && whole_number(value, out, &negative) && !(negative && *out) && *out >= least && *out <= most)
    return 1;
  return bad_setting(net, key, "not a usable whole number");
}

/* Settings of the optimizer: numbers of at least 0, shares below 1. */
static int read_setting(LoomNet *net, Course *c, Text key) {
  static const char *const shares[] = {"momentum", "dampening", "beta1", "beta2", "alpha", 0};
  const Optimizer *o = optimizer_table + c->optimizer;
  Text value = value_of(key);
  int number;
  const Setting *s = setting_of(o, key, &number);
  if (is_text(key, "decay_all") && (*value == 't' || *value == 'f')) {
    c->settings[DECAY_ALL] = *value == 't';
    return 1;
  }
  if (!s) return bad_setting(net, key, "no such setting");
  if (same_text(s->name, "nesterov")) {
    c->settings[number] = *value == 't';
    return *value == 't' || *value == 'f' ? 1 : bad_setting(net, key, "neither true nor false");
  }
  if (*value != '-' && !is_digit(*value)) return bad_setting(net, key, "not a number");
  double x = double_of(number_bits(DOUBLE, value));
  if (!(x >= 0) || !(x <= 1e308) || (is_among(key, shares) && x >= 1)) return bad_setting(net, key, "out of range");
  c->settings[number] = x;
  return 1;
}

static int read_named(LoomNet *net, Course *c, Text key) {
  static const char *const schedules[] = {"constant", "linear", "warmup", 0};
  Text value = value_of(key);
  if (is_text(key, "loss")) {
    for (c->loss = 0; c->loss < LOSSES && !is_text(value, loss_names[c->loss]); c->loss++) {}
    return c->loss < LOSSES ? 1 : bad_setting(net, key, "no such loss");
  }
  if (is_text(key, "schedule")) {
    for (int i = 0; schedules[i]; i++)
      if (is_text(value, schedules[i])) return c->schedule = SCHEDULE_CONSTANT + i, 1;
    return bad_setting(net, key, "the library has not this schedule");
  }
  for (c->optimizer = 0; c->optimizer < OPTIMIZERS && !is_text(value, optimizer_table[c->optimizer].name); c->optimizer++) {}
  return c->optimizer < OPTIMIZERS ? 1 : bad_setting(net, key, "no such optimizer");
}

/* Reads the settings of a training; keys of `besides` are the caller's. */
static int read_course(LoomNet *net, Text text, const char *const *besides, Course *c) {
  static const char *const named[] = {"loss", "schedule", "optimizer", 0};
  Text where, top = text ? blank(text) : 0;
  Course fresh = {-1, 0, 0, SCHEDULE_NONE, 1, 0, net->document.seed, 1, 32, 0.01, {0}, 0};
  *c = fresh;
  if (net->document.batch_size > 1) c->batch_size = net->document.batch_size;
  if (top && (!is_json(text, &where) || *top != '{')) return failure(net, LOOM_ARGUMENT, "the settings are no JSON object"), 0;
  for (Text key = top ? first(top) : 0; key; key = next_key(key))
    if (is_among(key, named) && !read_named(net, c, key)) return 0;
  const Optimizer *o = optimizer_table + c->optimizer;
  for (int i = 0; i < o->settings; i++) c->settings[i] = setting_table[o->first_setting + i].value;
  for (Text key = top ? first(top) : 0; key; key = next_key(key)) {
    Text value = value_of(key);
    u64 most = (u64)1 << 40;
    if (is_among(key, besides) || is_among(key, named)) continue;
    if (is_text(key, "epochs")) {
      if (!read_count(net, key, 1, most, &c->epochs)) return 0;
    } else if (is_text(key, "batch_size")) {
      if (!read_count(net, key, 1, MOST_BATCH, &c->batch_size)) return 0;
    } else if (is_text(key, "seed")) {
      if (!read_count(net, key, 0, ~(u64)0, &c->seed)) return 0;
    } else if (is_text(key, "shuffle")) {
      if (*value != 't' && *value != 'f') return bad_setting(net, key, "neither true nor false");
      c->shuffle = *value == 't';
    } else if (is_text(key, "learning_rate")) {
      c->rate = *value == '-' || is_digit(*value) ? double_of(number_bits(DOUBLE, value)) : -1;
      if (!(c->rate >= 0) || !(c->rate <= 1e308)) return bad_setting(net, key, "not a number of at least 0");
    } else if (!read_setting(net, c, key)) {
      return 0;
    }
  }
  if (update_template(c, 0) < 0) return failure(net, LOOM_ARGUMENT, "dampening and nesterov have no effect without a momentum"), 0;
  return 1;
}

/* Which form of the loss there is for the targets; -1, and an error, for none. */
static int form_of(LoomNet *net, Course *c, int classes) {
  const Layer *last = last_layer(net);
  u64 wide = last->out_rank ? last->out_shape[last->out_rank - 1] : 1;
  int single = wide == 1, fits = last->width == wide, meaning = last->meaning;
  int asked = c->loss;
  for (int i = 0; asked < 0 && i < LOSSES; i++)
    if (same_text(loss_names[i], classes ? "cross_entropy" : "mse")) asked = i;
  int meant = meant_loss[((asked * 4 + meaning) * 2 + single) * 2 + fits];
  if (meant < 0) return failure(net, LOOM_ARGUMENT, "the loss means nothing for this output"), -1;
  if (classes && (!is_of_chances[meant] || !last->out_rank || (meant == BINARY_LOSS && single)))
    return failure(net, LOOM_ARGUMENT, "the loss takes numbers of the output's shape, not classes"), -1;
  int chances = meaning == MEANING_PROBABILITIES || meaning == MEANING_INDEPENDENT;
  for (int i = 0; i < LOSS_FORMS; i++) {
    const LossForm *f = loss_table + i;
    if (f->loss == meant && f->classes == classes && f->axes == last->out_rank && f->probabilities == chances) return i;
  }
  return failure(net, LOOM_ARGUMENT, "the loss takes classes, one for each row of the output"), -1;
}

static u64 target_size(const LoomNet *net, int form) {
  const Layer *last = last_layer(net);
  u64 size = output_size(net);
  return loss_table[form].classes ? size / last->out_shape[last->out_rank - 1] : size;
}

static int check_samples(LoomNet *net, const float *x, u64 samples) {
  if (!x) return failure(net, LOOM_NULL, "x is NULL");
  if (!samples) return failure(net, LOOM_ARGUMENT, "no samples");
  if (samples > (u64)1 << 40 || !are_finite_numbers((const Word *)x, samples * input_size(net)))
    return failure(net, LOOM_NOT_FINITE, "NaN or an infinity among the samples");
  return LOOM_OK;
}

static int check_targets(LoomNet *net, const Word *targets, u64 samples, int form) {
  const LossForm *f = loss_table + form;
  const Layer *last = last_layer(net);
  u64 n = samples * target_size(net, form), counting = 0;
  if (!f->classes) {
    if (!are_finite_numbers(targets, n)) return failure(net, LOOM_NOT_FINITE, "NaN or an infinity among the targets");
    for (u64 k = 0; k < n && is_of_chances[f->loss]; k++)
      if (!(targets[k].f >= 0 && targets[k].f <= 1)) return failure(net, LOOM_ARGUMENT, "a target out of range: 0 to 1");
    return LOOM_OK;
  }
  for (u64 k = 0; k < n; k++) {
    int padded = f->loss == NEXT_TOKEN_LOSS && targets[k].i == PADDED_CLASS;
    counting += !padded;
    if (!padded && (targets[k].i < 0 || (u64)targets[k].i >= last->out_shape[last->out_rank - 1]))
      return failure(net, LOOM_ARGUMENT, "a class out of range: they count from 0");
  }
  return counting ? LOOM_OK : failure(net, LOOM_ARGUMENT, "no token counts");
}

static int require_several(LoomNet *net, u64 samples) {
  for (u32 i = 0; i < net->document.layers && samples == 1; i++) {
    const Layer *l = net->document.layer + i;
    if (l->kind->takes_statistics && !l->is_frozen && elements_of(l->in_shape + 1, l->in_rank - 1) == 1)
      return failure(net, LOOM_ARGUMENT, "a batch of one sample, of which batch_norm has no statistics");
  }
  return LOOM_OK;
}

/* Begins a training: what the optimizer keeps is 0, its powers 1, the step 0. */
static int begin_course(LoomNet *net) {
  u64 nbytes = (net->weight_numbers + 16) * sizeof(Word);
  int trained = 0;
  for (u32 i = 0; i < net->document.layers; i++)
    trained |= net->document.layer[i].variant->weights && !net->document.layer[i].is_frozen;
  if (!trained) return failure(net, LOOM_ARGUMENT, "nothing can be trained: no layer has weights that are not frozen");
  forget_programs(net);
  if (!net->kept[0]) net->kept[0] = take(&net->kept_pool, nbytes);
  if (!net->kept[1]) net->kept[1] = take(&net->kept_pool, nbytes);
  if (!net->kept[0] || !net->kept[1]) return failure(net, LOOM_MEMORY, "no memory for what the optimizer keeps");
  clear(net->kept[0], nbytes), clear(net->kept[1], nbytes);
  net->powers[0].f = net->powers[1].f = 1, net->step->u = 0;
  net->course.is_begun = 1;
  return LOOM_OK;
}

/* Does `each` with the arrays of all layers one after the other; offsets count numbers. */
static void copy_weights(LoomNet *net, Word *beside, int out) {
  u64 at = 0;
  for (u32 i = 0; i < net->document.layers; i++) {
    Layer *l = net->document.layer + i;
    for (int k = 0; k < l->variant->weights + l->variant->states; at += l->own_size[k++])
      copy(out ? beside + at : l->own[k], out ? l->own[k] : beside + at, l->own_size[k] * sizeof(Word));
  }
}

static int weights_are_finite(const LoomNet *net) {
  for (u32 i = 0; i < net->document.layers; i++) {
    const Layer *l = net->document.layer + i;
    for (int k = 0; k < l->variant->weights + l->variant->states; k++)
      if (!are_finite_numbers(l->own[k], l->own_size[k])) return 0;
  }
  return 1;
}

static int keep_weights(LoomNet *net) {
  if (!net->backup) net->backup = take(&net->backup_pool, (net->weight_numbers + 1) * sizeof(Word));
  if (!net->backup) return failure(net, LOOM_MEMORY, "no memory for a copy of the weights");
  if (weights_are_finite(net)) return copy_weights(net, net->backup, 1), LOOM_OK;
  copy_weights(net, net->backup, 0);
  return failure(net, LOOM_NOT_FINITE, "a weight is not finite: the weights are those at the start of the epoch");
}

/* New values of weights, states and what is kept; the programs have looked whether the loss is finite. */
static void take_over(LoomNet *net, const Net_Program *p) {
  u64 offset = 0;
  u32 number = 0;
  for (u32 i = 0; i < net->document.layers; i++) {
    Layer *l = net->document.layer + i;
    for (int k = 0; k < l->variant->weights + l->variant->states; offset += l->own_size[k++], number++) {
      if (p->new_own[number]) copy_value(&p->g, p->new_own[number], l->own[k]);
      for (u32 j = 0; j < 2; j++)
        if (p->new_kept[2 * number + j]) copy_value(&p->g, p->new_kept[2 * number + j], net->kept[j] + offset);
    }
  }
  for (int j = 0; j < 2; j++)
    if (p->new_powers[j]) copy_value(&p->g, p->new_powers[j], net->powers + j);
}

/* One batch: samples are chosen by order, or in their own; *loss. */
static int run_batch(LoomNet *net, int form, int is_training, const float *x, const Word *targets, const u64 *order, u64 begin,
                     u64 samples, double rate, double *loss) {
  u64 wide = input_size(net), each = target_size(net, form);
  Net_Program *p = program_for(net, samples, is_training, form);
  if (!p) return net->error.code;
  for (u64 k = 0; k < samples; k++) {
    u64 from = order ? order[begin + k] : begin + k;
    copy(p->input + k * wide, x + from * wide, wide * sizeof(Word));
    copy(p->targets + k * each, targets + from * each, each * sizeof(Word));
  }
  p->rate->f = (float)rate;
  run_graph(&p->g);
  float found = p->g.values[p->loss].data->f;
  *loss = (double)found;
  Word bits;
  bits.f = found;
  if (!is_training) return LOOM_OK;
  if (!are_finite_numbers(&bits, 1)) {
    if (!weights_are_finite(net) && net->backup) copy_weights(net, net->backup, 0);
    return failure(net, LOOM_NOT_FINITE, "the loss is not finite: the weights are the last good ones");
  }
  take_over(net, p);
  net->step->u++;
  return LOOM_OK;
}

/* Rates: src/loom/nn/train/schedules.py, of the schedules that need no cosine and no power. */
static double rate_of(const Course *c, u64 step, u64 steps) {
  u64 rise = steps / 10 ? steps / 10 : 1;
  if (c->schedule == SCHEDULE_LINEAR) {
    double end = 0.01 * c->rate;
    return step >= steps ? end : c->rate + (end - c->rate) * ((double)step / (double)steps);
  }
  if (c->schedule == SCHEDULE_WARMUP && step < rise) return 0.0 + (c->rate - 0.0) * ((double)step / (double)rise);
  return c->rate;
}

/* 0 to n - 1 in the order of an epoch: sorted by words of 64 bits, equal ones as they came. */
typedef struct { u64 key, at; } Keyed;

static void merge_sort(Keyed *a, Keyed *b, u64 n) {
  for (u64 run = 1; run < n; run *= 2) {
    for (u64 low = 0; low < n; low += 2 * run) {
      u64 middle = low + run < n ? low + run : n, high = low + 2 * run < n ? low + 2 * run : n, i = low, k = middle;
      for (u64 at = low; at < high; at++) b[at] = i < middle && (k >= high || a[i].key <= a[k].key) ? a[i++] : a[k++];
    }
    for (u64 at = 0; at < n; at++) a[at] = b[at];
  }
}

static void order_epoch(u64 *order, u64 n, u64 seed, u64 epoch, Keyed *a, Keyed *b) {
  u32 *words = (u32 *)(void *)b;
  random_words(seed, 0x80000000u + (u32)(epoch & 0x7fffffffu), 0, 0, words, 2 * n);
  for (u64 i = 0; i < n; i++) a[i].key = (u64)words[2 * i + 1] << 32 | words[2 * i], a[i].at = i;
  merge_sort(a, b, n);
  for (u64 i = 0; i < n; i++) order[i] = a[i].at;
}

static int run_epochs(LoomNet *net, int form, const float *x, const Word *targets, u64 samples, double *loss) {
  const Course *c = &net->course;
  Pool pool = {net->pool.from, 0, 0};
  u64 batches = parts(samples, c->batch_size), *order = take(&pool, (samples + 2) * sizeof(u64));
  Keyed *a = take(&pool, (samples + 2) * sizeof *a), *b = take(&pool, (samples + 2) * sizeof *b);
  int code = order && a && b ? LOOM_OK : failure(net, LOOM_MEMORY, "no memory for the order of samples");
  if (!code) code = keep_weights(net);
  for (u64 epoch = 0; epoch < c->epochs && !code; epoch++) {
    double total = 0;
    for (u64 i = 0; i < samples; i++) order[i] = i;
    if (c->shuffle) order_epoch(order, samples, c->seed, epoch, a, b);
    for (u64 at = 0; at < samples && !code; at += c->batch_size) {
      u64 count = samples - at < c->batch_size ? samples - at : c->batch_size;
      double rate = rate_of(c, epoch * batches + at / c->batch_size, batches * c->epochs);
      code = run_batch(net, form, 1, x, targets, order, at, count, rate, loss);
      total += *loss * (double)count;
    }
    if (!code) code = keep_weights(net);
    *loss = total / (double)samples;
  }
  give_back(&pool);
  return code;
}
