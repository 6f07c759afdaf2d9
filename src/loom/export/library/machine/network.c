/* A network: its document, its weights, and the programs that are made of both. */

enum { MOST_PROGRAMS = 3, AT_ONCE = 256 };

typedef struct {
  Graph g;
  u64 samples;
  int is_training, form; /* form: of the loss, -1 for none */
  u32 x, target, y, loss, *new_own, *new_kept, *new_powers;
  Word *input, *targets, *rate;
  u64 age;
} Net_Program;

typedef struct {
  int loss, form_classes, optimizer, schedule, shuffle, is_begun;
  u64 seed, epochs, batch_size;
  double rate, settings[8];
  const int16_t *unused;
} Course;

struct LoomNet {
  Pool pool, kept_pool, backup_pool;
  Error error;
  Document document;
  Net_Program programs[MOST_PROGRAMS];
  u64 clock;
  Course course;
  Word *kept[2], *powers, *step, *backup; /* of all weights one after the other */
  u64 weight_numbers;                     /* numbers of all weights and states */
  const LoomAllocator *own_allocator;
};

static int failure(LoomNet *net, int code, const char *what) { return put_failure(&net->error, code, what); }

static u64 input_size(const LoomNet *net) { return (u64)elements_of(net->document.input_shape, net->document.input_rank); }

static const Layer *last_layer(const LoomNet *net) { return net->document.layer + net->document.last; }

static u64 output_size(const LoomNet *net) {
  const Layer *l = last_layer(net);
  return (u64)elements_of(l->out_shape, l->out_rank);
}

/* Makes normal numbers of words in place of these, by the template of pairs; n is even. 0: no memory. */
static int normal_numbers(Word *words, u64 n, const LoomAllocator *from) {
  const Template *t = template_table + NORMAL_TEMPLATE;
  double symbols[MOST_SYMBOLS] = {0};
  u64 half = n / 2;
  u32 at[64], slots[SLOTS] = {0};
  Graph g;
  clear(&g, sizeof g);
  g.pool.from = *from, symbols[AXIS_SYMBOLS] = (double)half;
  Word *first_half = take(&g.pool, half * sizeof(Word)), *second_half = take(&g.pool, half * sizeof(Word));
  g.values = take(&g.pool, (t->count + 2) * sizeof(Value));
  int has_room = first_half && second_half && g.values;
  for (u64 k = 0; has_room && k < half; k++) {
    first_half[k].f = (float)(words[2 * k].u >> 8), second_half[k].f = (float)(words[2 * k + 1].u >> 8);
  }
  if (has_room) {
    slots[SLOT_X] = add_source(&g, KIND_F32, 1, &half, first_half);
    slots[SLOT_TARGET] = add_source(&g, KIND_F32, 1, &half, second_half);
    has_room = instantiate(&g, t, 0, t->count, symbols, slots, at, 0);
    u32 ends[2] = {at[t->ends[0]], at[t->ends[1]]};
    has_room = has_room && plan(&g, ends, 2);
    if (has_room) run_graph(&g);
    for (u64 k = 0; has_room && k < half; k++)
      words[2 * k] = g.values[ends[0]].data[k], words[2 * k + 1] = g.values[ends[1]].data[k];
  }
  give_back(&g.pool);
  return has_room;
}

/* First weights: src/loom/nn/layers/registry.py, Key. */
static int draw_own(LoomNet *net, const Own *own, const double *symbols, Word *to, u64 size, u32 number) {
  double reach = evaluated(own->reach, symbols);
  if (own->start == START_FILL) {
    for (u64 k = 0; k < size; k++) to[k].f = (float)reach;
    return 1;
  }
  Pool pool = {net->pool.from, 0, 0};
  u64 many = (size + 3) & ~(u64)3;
  Word *words = take(&pool, many * sizeof(Word));
  int has_room = words != 0;
  if (has_room) random_words(net->document.seed, STREAM_OF_WEIGHTS, number, 0, &words->u, many);
  if (has_room && own->start == START_NORMAL) {
    has_room = normal_numbers(words, many, &net->pool.from);
    for (u64 k = 0; has_room && k < size; k++) to[k].f = words[k].f * (float)reach;
  } else if (has_room) {
    for (u64 k = 0; k < size; k++) to[k].f = ((float)(words[k].u >> 8) * 0x1p-24f * 2 - 1) * (float)reach;
  }
  give_back(&pool);
  return has_room;
}

static int draw_weights(LoomNet *net) {
  u32 number = 0;
  for (u32 i = 0; i < net->document.layers; i++) {
    Layer *l = net->document.layer + i;
    const Variant *v = l->variant;
    l->own_number = number, l->own_offset = net->weight_numbers, number += (u32)(v->weights + v->states);
    for (int k = 0; k < v->weights + v->states; k++) {
      l->own[k] = take(&net->pool, l->own_size[k] * sizeof(Word));
      if (!l->own[k]) return 0;
      net->weight_numbers += l->own_size[k];
      if (!draw_own(net, own_table + v->first_own + k, l->symbols, l->own[k], l->own_size[k], l->number + (u32)k)) return 0;
    }
  }
  return 1;
}

/* Programs. */

static u64 rows_of(const Template *t) { return t->count; }

/* How many values a program may have. */
static u64 values_of(const LoomNet *net, int is_training, int form, const Optimizer *o, int update) {
  u64 total = 16;
  for (u32 i = 0; i < net->document.layers; i++) {
    const Variant *v = net->document.layer[i].variant;
    total += rows_of(template_table + (is_training ? v->training : v->inference)) + (u64)(v->weights + v->states) * 4;
    if (o) total += (u64)v->weights * 96;
  }
  (void)update;
  return total + (form >= 0 ? rows_of(template_table + loss_table[form].form) : 0);
}

static void symbols_of(const Layer *l, u64 samples, double *out) {
  copy(out, l->symbols, sizeof l->symbols);
  out[BATCH_SYMBOL] = (double)samples;
}

/* The template of an update: by options, then by whether the weight decays. -1: settings that do not go together. */
static int update_template(const Course *course, int decays) {
  const Optimizer *o = optimizer_table + course->optimizer;
  int found = 0;
  for (int i = 0; i < o->options; i++) {
    const Option *each = option_table + o->first_option + i;
    double value = course->settings[each->field];
    int choice = value != 0;
    if (each->how == OPTION_SPECIAL)
      for (choice = 0; choice < each->count - 1 && special_table[each->first + choice] != value; choice++) {}
    found = found * each->count + choice;
  }
  return update_table[o->first_update + 2 * found + decays];
}

static int has_kept(const Template *t, int k) { return t->ends[2 + k] >= 0; }

typedef struct { u32 *at; u32 slots[SLOTS]; } Placed; /* where a layer's rows are */

/* Adds the update of one weight; its new value and those of what is kept are ends. */
static int add_update(LoomNet *net, Net_Program *p, const Layer *l, int k, u64 offset, u32 gradient, u32 old, u32 number,
                      u32 *at) {
  const Own *own = own_table + l->variant->first_own + k;
  const Course *course = &net->course;
  const Template *t = template_table + update_template(course, own->rank > 1 || course->settings[7] != 0);
  double symbols[MOST_SYMBOLS] = {0};
  u32 slots[SLOTS] = {0};
  u64 shape[2] = {l->own_size[k], 1};
  int rank = own->rank > 1 || course->settings[7] != 0 ? 2 : 1;
  Value *v = p->g.values;
  for (int f = 0; f < optimizer_table[course->optimizer].settings; f++) symbols[FIELD_SYMBOLS + f] = course->settings[f];
  symbols[AXIS_SYMBOLS] = (double)shape[0], symbols[AXIS_SYMBOLS + 1] = 1;
  /* the weight and its gradient as one axis of all elements */
  u32 flat[2] = {old, gradient};
  for (int i = 0; i < 2; i++) {
    static const Node as_list = {OP_RESHAPE, KIND_F32, 1, 1, {0}, {0}, 0, -1};
    static const Node as_column = {OP_RESHAPE, KIND_F32, 1, 2, {0}, {0}, 0, -1};
    Value view;
    clear(&view, sizeof view);
    view.node = rank == 2 ? &as_column : &as_list, view.in[0] = flat[i], view.rank = (u8)rank, view.kind = KIND_F32;
    view.shape[0] = shape[0], view.shape[1] = 1;
    pack_strides(&view);
    flat[i] = add_value(&p->g, &view);
  }
  (void)v;
  slots[SLOT_X] = flat[0], slots[SLOT_GRADIENT] = flat[1], slots[SLOT_LOSS] = p->loss;
  Word *rate = p->rate;
  if (l->kind->rate >= 0 && l->fields[l->kind->rate] != NOT_GIVEN) {
    rate = take(&p->g.pool, sizeof *rate);
    if (!rate) return 0;
    rate->f = (float)l->fields[l->kind->rate];
  }
  slots[SLOT_RATE] = add_source(&p->g, KIND_F32, 0, shape, rate);
  for (int i = 0; i < 2; i++) {
    slots[FIRST_KEPT_SLOT + i] = add_source(&p->g, KIND_F32, rank, shape, net->kept[i] + offset);
    slots[FIRST_POWER_SLOT + i] = add_source(&p->g, KIND_F32, 0, shape, net->powers + i);
  }
  if (!instantiate(&p->g, t, 0, t->count, symbols, slots, at, 0)) return 0;
  p->new_own[number] = at[t->ends[0]];
  for (int i = 0; i < 2; i++) {
    if (has_kept(t, i)) p->new_kept[2 * number + (u32)i] = at[t->ends[2 + i]];
    if (t->powers[i] >= 0) p->new_powers[i] = at[t->powers[i]];
  }
  return 1;
}

static u32 numbers_of_own(const LoomNet *net) {
  u32 total = 0;
  for (u32 i = 0; i < net->document.layers; i++)
    total += (u32)(net->document.layer[i].variant->weights + net->document.layer[i].variant->states);
  return total;
}

/* What is needed while layers are joined: `at` is the layer whose held ones are asked for. */
typedef struct {
  LoomNet *net;
  Net_Program *p;
  Placed *placed;
  u32 step, *ends, count, at;
} Joining;

static int add_layer(Joining *j, u32 i, u32 x, u32 *y);
static int add_layer_backward(Joining *j, u32 i, u32 gradient, u32 *before);

static int put_held(void *about, int is_backward, u32 given, u32 *made) {
  Joining *j = about;
  u32 own = j->at;
  const Layer *all = j->net->document.layer;
  *made = given;
  if (is_backward) {
    for (u32 i = all[own].last_part; i != NO_LAYER; i = all[i].before)
      if (!add_layer_backward(j, i, *made, made)) return 0;
  } else {
    for (u32 i = own + 1; i < all[own].end; i = all[i].end)
      if (!add_layer(j, i, *made, made)) return 0;
  }
  j->at = own;
  return 1;
}

static int add_layer(Joining *j, u32 i, u32 x, u32 *y) {
  Net_Program *p = j->p;
  const Layer *l = j->net->document.layer + i;
  const Variant *v = l->variant;
  const Template *t = template_table + (p->is_training ? v->training : v->inference);
  Inner inner = {put_held, j};
  Placed *placed = j->placed + i;
  double symbols[MOST_SYMBOLS];
  symbols_of(l, p->samples, symbols);
  placed->at = take(&p->g.pool, t->count * sizeof(u32));
  if (!placed->at) return 0;
  placed->slots[SLOT_X] = x, placed->slots[SLOT_STEP] = j->step;
  for (int k = 0; k < v->weights + v->states; k++) {
    const Own *own = own_table + v->first_own + k;
    u64 shape[MOST_RANK] = {0};
    for (int a = 0; a < own->rank; a++) shape[a] = size_told(own->shape[a], symbols);
    placed->slots[FIRST_OWN_SLOT + k] = add_source(&p->g, KIND_F32, own->rank, shape, l->own[k]);
  }
  j->at = i;
  if (!instantiate(&p->g, t, 0, t->forward, symbols, placed->slots, placed->at, &inner)) return 0;
  *y = placed->at[t->ends[0]];
  return 1;
}

/* Adds the gradients of a layer and the updates of its weights; ends are gathered. */
static int add_layer_backward(Joining *j, u32 i, u32 gradient, u32 *before) {
  Net_Program *p = j->p;
  const Layer *l = j->net->document.layer + i;
  const Variant *v = l->variant;
  const Template *t = template_table + v->training;
  Inner inner = {put_held, j};
  Placed *placed = j->placed + i;
  double symbols[MOST_SYMBOLS];
  u32 update_at[256];
  symbols_of(l, p->samples, symbols);
  placed->slots[SLOT_GRADIENT] = gradient;
  j->at = i;
  if (!instantiate(&p->g, t, t->forward, t->count, symbols, placed->slots, placed->at, &inner)) return 0;
  *before = placed->at[t->ends[1]];
  u64 offset = l->own_offset;
  for (int k = 0; k < v->weights + v->states; offset += l->own_size[k++]) {
    u32 number = l->own_number + (u32)k;
    if (t->ends[2 + k] < 0 || (l->is_frozen && k < v->weights)) continue;
    u32 end = placed->at[t->ends[2 + k]];
    if (k >= v->weights) p->new_own[number] = end;
    else if (!add_update(j->net, p, l, k, offset, end, placed->slots[FIRST_OWN_SLOT + k], number, update_at)) return 0;
    j->ends[j->count++] = p->new_own[number];
    for (u32 kept = 2 * number; kept < 2 * number + 2; kept++)
      if (p->new_kept[kept]) j->ends[j->count++] = p->new_kept[kept];
  }
  return 1;
}

static int add_loss(LoomNet *net, Net_Program *p, u32 *gradient) {
  const LossForm *form = loss_table + p->form;
  const Template *t = template_table + form->form;
  const Layer *last = last_layer(net);
  double symbols[MOST_SYMBOLS] = {0};
  u32 slots[SLOTS] = {0}, *at = take(&p->g.pool, t->count * sizeof(u32));
  if (!at) return 0;
  symbols[BATCH_SYMBOL] = (double)p->samples;
  for (int a = 0; a < last->out_rank; a++) symbols[AXIS_SYMBOLS + a] = (double)last->out_shape[a];
  slots[SLOT_X] = p->y, slots[SLOT_TARGET] = p->target;
  if (!instantiate(&p->g, t, 0, t->count, symbols, slots, at, 0)) return 0;
  p->loss = at[t->ends[0]], *gradient = at[t->ends[1]];
  return 1;
}

static int make_program(LoomNet *net, Net_Program *p) {
  const Document *d = &net->document;
  const Layer *last = last_layer(net);
  u64 shape[MOST_RANK], room = values_of(net, p->is_training, p->form, p->is_training ? optimizer_table : 0, 0);
  u32 owns = numbers_of_own(net), gradient = 0;
  Placed *placed = take(&p->g.pool, d->layers * sizeof *placed);
  u32 *ends = take(&p->g.pool, (3 * (u64)owns + 4) * sizeof *ends);
  p->new_own = take(&p->g.pool, ((u64)owns + 1) * sizeof(u32)), p->new_kept = take(&p->g.pool, 2 * ((u64)owns + 1) * sizeof(u32));
  p->new_powers = take(&p->g.pool, 2 * sizeof(u32)), p->rate = take(&p->g.pool, sizeof(Word));
  p->g.values = take(&p->g.pool, room * sizeof(Value)), p->g.room = (u32)room, p->g.seed = d->seed;
  p->input = take(&p->g.pool, p->samples * input_size(net) * sizeof(Word));
  p->targets = take(&p->g.pool, p->samples * output_size(net) * sizeof(Word));
  if (!placed || !ends || !p->new_own || !p->new_kept || !p->new_powers || !p->rate || !p->g.values || !p->input || !p->targets)
    return 0;
  shape[0] = p->samples;
  for (int a = 0; a < d->input_rank; a++) shape[a + 1] = d->input_shape[a];
  p->x = add_source(&p->g, KIND_F32, d->input_rank + 1, shape, p->input);
  for (int a = 0; a < last->out_rank; a++) shape[a + 1] = last->out_shape[a];
  if (p->form >= 0) {
    int classes = loss_table[p->form].classes;
    p->target = add_source(&p->g, classes ? KIND_I32 : KIND_F32, last->out_rank + !classes, shape, p->targets);
  }
  u32 step = add_source(&p->g, KIND_U32, 0, shape, net->step);
  Joining j = {net, p, placed, step, ends, 0, 0};
  p->y = p->x;
  for (u32 i = 0; i < d->layers; i = d->layer[i].end)
    if (!add_layer(&j, i, p->y, &p->y)) return 0;
  ends[j.count++] = p->y;
  if (p->form >= 0 && !add_loss(net, p, &gradient)) return 0;
  if (p->form >= 0) ends[j.count++] = p->loss;
  for (u32 i = p->is_training ? d->last : NO_LAYER; i != NO_LAYER; i = d->layer[i].before)
    if (!add_layer_backward(&j, i, gradient, &gradient)) return 0;
  for (int i = 0; i < 2; i++)
    if (p->new_powers[i]) ends[j.count++] = p->new_powers[i];
  return plan(&p->g, ends, j.count);
}

/* The program for so many samples; NULL if there is no memory. */
static Net_Program *program_for(LoomNet *net, u64 samples, int is_training, int form) {
  Net_Program *oldest = net->programs;
  net->clock++;
  for (int i = 0; i < MOST_PROGRAMS; i++) {
    Net_Program *p = net->programs + i;
    if (p->samples == samples && p->is_training == is_training && p->form == form) {
      p->age = net->clock;
      return p;
    }
    if (p->age < oldest->age) oldest = p;
  }
  give_back(&oldest->g.pool);
  clear(oldest, sizeof *oldest);
  oldest->g.pool.from = net->pool.from;
  oldest->samples = samples, oldest->is_training = is_training, oldest->form = form, oldest->age = net->clock;
  if (make_program(net, oldest)) return oldest;
  give_back(&oldest->g.pool);
  oldest->samples = 0;
  failure(net, LOOM_MEMORY, "no memory for a program: take smaller batches");
  return 0;
}

static void forget_programs(LoomNet *net) {
  for (int i = 0; i < MOST_PROGRAMS; i++) {
    give_back(&net->programs[i].g.pool);
    net->programs[i].samples = 0, net->programs[i].age = 0;
  }
}

static int are_finite_numbers(const Word *x, u64 n) {
  u32 worst = 0;
  for (u64 k = 0; k < n; k++) worst |= (x[k].u & 0x7f800000u) == 0x7f800000u;
  return !worst;
}

/* What of a packed value its array becomes. */
static void copy_value(const Graph *g, u32 k, Word *to) {
  const Value *v = g->values + k;
  Word *end = to;
  const Word *from = packed(v, &end);
  if (from == v->data && from != to) copy(to, from, v->size * sizeof(Word));
}
