/* The functions of libloom.h on handles. */

int loom_make(LoomNet **out, const char *document, const LoomAllocator *allocator) {
  Pool pool = {{0, 0, 0}, 0, 0};
  u64 nbytes;
  char *text;
  if (!out || !allocator || !allocator->allocate || !allocator->release) return LOOM_NULL;
  *out = 0;
  if (!document) return LOOM_NULL;
  pool.from = *allocator;
  LoomNet *net = take(&pool, sizeof *net);
  if (!net) return LOOM_MEMORY;
  net->pool = pool, net->kept_pool.from = net->backup_pool.from = *allocator;
  *out = net;
  nbytes = text_length(document);
  text = take(&net->pool, nbytes + 1);
  net->powers = take(&net->pool, 2 * sizeof(Word)), net->step = take(&net->pool, sizeof(Word));
  if (!text || !net->powers || !net->step) return failure(net, LOOM_MEMORY, "no memory for the document");
  copy(text, document, nbytes);
  net->document.text = text;
  if (!read_document(&net->error, &net->document, text, &net->pool)) {
    net->document.layers = 0;
    return net->error.code;
  }
  if (draw_weights(net)) return LOOM_OK;
  net->document.layers = 0;
  return failure(net, LOOM_MEMORY, "no memory for the weights");
}

void loom_free(LoomNet *net) {
  if (!net) return;
  Pool pool = net->pool;
  forget_programs(net);
  give_back(&net->kept_pool), give_back(&net->backup_pool);
  give_back(&pool); /* the handle is in it */
}

const char *loom_error(const LoomNet *net) { return net ? net->error.text : "no network"; }
const char *loom_error_path(const LoomNet *net) { return net ? net->error.path : ""; }
size_t loom_input_size(const LoomNet *net) { return net && net->document.layers ? (size_t)input_size(net) : 0; }
size_t loom_output_size(const LoomNet *net) { return net && net->document.layers ? (size_t)output_size(net) : 0; }

/* Whether a network can be used; what the last call said is forgotten. */
static int begun(LoomNet *net) {
  if (!net || !net->document.layers) return 0;
  net->error.code = 0, net->error.path[0] = net->error.text[0] = 0;
  return 1;
}

int loom_forward(LoomNet *net, const float *x, size_t samples, float *y) {
  int code;
  if (!begun(net) || !y) return LOOM_NULL;
  if ((code = check_samples(net, x, samples))) return code;
  u64 wide = input_size(net), each = output_size(net);
  for (u64 at = 0; at < samples; at += AT_ONCE) {
    u64 count = samples - at < AT_ONCE ? samples - at : AT_ONCE;
    Net_Program *p = program_for(net, count, 0, -1);
    if (!p) return net->error.code;
    copy(p->input, x + at * wide, count * wide * sizeof(Word));
    u32 mode = (u32)enter();
    run_graph(&p->g);
    copy_value(&p->g, p->y, (Word *)(void *)(y + at * each));
    leave(mode);
  }
  return LOOM_OK;
}

int loom_begin(LoomNet *net, const char *settings) {
  Course course;
  if (!begun(net)) return LOOM_NULL;
  if (!read_course(net, settings, 0, &course)) return net->error.code;
  net->course = course;
  return begin_course(net);
}

/* The form of the loss for targets that are given, which are checked. */
static int prepare(LoomNet *net, const float *x, const int32_t *classes, const float *numbers, u64 samples, int *form) {
  int code = check_samples(net, x, samples);
  if (code) return code;
  if (!classes == !numbers) return failure(net, LOOM_NULL, "classes or numbers are the targets, one of both");
  *form = form_of(net, &net->course, classes != 0);
  if (*form < 0) return net->error.code;
  return check_targets(net, classes ? (const Word *)(const void *)classes : (const Word *)(const void *)numbers, samples, *form);
}

int loom_step(LoomNet *net, const float *x, const int32_t *classes, const float *numbers, size_t samples, double *loss) {
  const Word *targets = classes ? (const Word *)(const void *)classes : (const Word *)(const void *)numbers;
  int form, code;
  double found = 0;
  if (!begun(net)) return LOOM_NULL;
  if (!net->course.is_begun) return failure(net, LOOM_ARGUMENT, "no training was begun: call loom_begin first");
  if ((code = prepare(net, x, classes, numbers, samples, &form)) || (code = require_several(net, samples))) return code;
  u32 mode = (u32)enter();
  code = run_batch(net, form, 1, x, targets, 0, 0, samples, rate_of(&net->course, net->step->u, ~(u64)0), &found);
  leave(mode);
  if (loss) *loss = found;
  return code;
}

int loom_train(LoomNet *net, const char *settings, const float *x, const int32_t *classes, const float *numbers, size_t samples,
               double *loss) {
  const Word *targets = classes ? (const Word *)(const void *)classes : (const Word *)(const void *)numbers;
  Course course;
  int form, code;
  double found = 0;
  if (!begun(net)) return LOOM_NULL;
  if (!read_course(net, settings, 0, &course)) return net->error.code;
  net->course = course, net->course.is_begun = 0;
  if ((code = prepare(net, x, classes, numbers, samples, &form))) return code;
  u64 left = samples % course.batch_size;
  if ((code = require_several(net, left == 1 ? 1 : course.batch_size))) return code;
  if ((code = begin_course(net))) return code;
  u32 mode = (u32)enter();
  code = run_epochs(net, form, x, targets, samples, &found);
  leave(mode);
  if (loss) *loss = found;
  return code;
}

int loom_score(LoomNet *net, const char *settings, const float *x, const int32_t *classes, const float *numbers, size_t samples,
               double *loss) {
  const Word *targets = classes ? (const Word *)(const void *)classes : (const Word *)(const void *)numbers;
  Course course, before;
  int form, code;
  double total = 0;
  if (!begun(net) || !loss) return LOOM_NULL;
  if (!read_course(net, settings, 0, &course)) return net->error.code;
  before = net->course, net->course = course;
  code = prepare(net, x, classes, numbers, samples, &form);
  net->course = before;
  u32 mode = (u32)enter();
  for (u64 at = 0; at < samples && !code; at += course.batch_size) {
    u64 count = samples - at < course.batch_size ? samples - at : course.batch_size;
    double found = 0;
    code = run_batch(net, form, 0, x, targets, 0, at, count, 0, &found);
    total += found * (double)count;
  }
  leave(mode);
  *loss = total / (double)samples;
  return code;
}

int loom_digest(LoomNet *net, char out[65]) {
  u8 digest[32];
  Out digits = {out, out, out + 64, 0};
  if (!begun(net) || !out) return LOOM_NULL;
  weights_digest(net, digest);
  put_hex(&digits, digest, 32), out[64] = 0;
  return LOOM_OK;
}

int loom_save(LoomNet *net, void *out, size_t room, size_t *nbytes) {
  u64 needed = 0;
  if (!begun(net) || !nbytes) return LOOM_NULL;
  int code = save_file(net, out, room, &needed);
  *nbytes = (size_t)needed;
  return code;
}

int loom_load(LoomNet *net, const void *file, size_t nbytes) {
  if (!begun(net) || !file) return LOOM_NULL;
  return load_file(net, file, nbytes);
}
