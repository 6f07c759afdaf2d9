/* The first generation's functions with JSON texts, over one active network. */

#include <stdlib.h>

static void *plain_allocate(void *user, size_t nbytes) { return (void)user, malloc(nbytes); }
static void plain_release(void *user, void *memory, size_t nbytes) { (void)user, (void)nbytes, free(memory); }

static struct {
  LoomAllocator from;
  LoomNet *active;
  Pool results[2];
  int turn;
} here = {{plain_allocate, plain_release, 0}, 0, {{{0, 0, 0}, 0, 0}, {{0, 0, 0}, 0, 0}}, 0};

static const char no_memory[] = "{\"error\":\"no memory\"}";

/* Room for a result; 0 if there is none. The result before the last goes. */
static int result_of(Out *out, u64 nbytes) {
  Pool *pool = here.results + (here.turn ^= 1);
  give_back(pool);
  pool->from = here.from;
  char *at = take(pool, nbytes + 1);
  out->start = out->at = at, out->end = at + nbytes, out->full = 0;
  return at != 0;
}

static const char *finished(Out *out) {
  *out->at = 0;
  return out->start;
}

static const char *failed(const char *what) {
  Out out;
  if (!result_of(&out, 6 * text_length(what) + 64)) return no_memory;
  put_text(&out, "{\"error\":"), put_string(&out, what), put(&out, '}');
  return finished(&out);
}

static const char *created(void) {
  char digest[65];
  Out out;
  if (!result_of(&out, 256)) return no_memory;
  loom_digest(here.active, digest);
  put_text(&out, "{\"status\":\"created\",\"digest\":\""), put_text(&out, digest), put_text(&out, "\"}");
  return finished(&out);
}

int LoomAllocate(const LoomAllocator *allocator) {
  if (here.active || !allocator || !allocator->allocate || !allocator->release) return 0;
  give_back(here.results), give_back(here.results + 1);
  here.from = *allocator;
  return 1;
}

/* Makes another network active; NULL, or an error. */
static const char *activate(const char *document) {
  LoomNet *net;
  int code = loom_make(&net, document, &here.from);
  if (code) {
    const char *error = net ? failed(loom_error(net)) : failed(document ? "no memory" : "the document is NULL: pass JSON");
    loom_free(net);
    return error;
  }
  loom_free(here.active);
  here.active = net;
  return 0;
}

const char *CreateLoomNetwork(const char *document) {
  const char *error = activate(document);
  return error ? error : created();
}

void LoomFree(const char *text) {
  if (!text) loom_free(here.active), here.active = 0;
}

/* Numbers. */

static u64 numbers_in(Text at) {
  u64 total = 0;
  at = blank(at);
  if (*at != '[') return *at == '-' || is_digit(*at);
  for (Text each = first(at); each; each = next(each)) total += numbers_in(each);
  return total;
}

/* Reads all numbers of nested lists; 0 if something else is among them. */
static int read_numbers(Text at, float **to) {
  at = blank(at);
  if (*at == '[') {
    for (Text each = first(at); each; each = next(each))
      if (!read_numbers(each, to)) return 0;
    return 1;
  }
  if (*at != '-' && !is_digit(*at)) return 0;
  Word bits;
  bits.u = (u32)number_bits(SINGLE, at);
  *(*to)++ = bits.f;
  return 1;
}

/* Whether lists are nested as a shape is. */
static int is_nested(Text at, const u64 *shape, int rank) {
  at = blank(at);
  if (!rank) return *at == '-' || is_digit(*at);
  if (*at != '[' || length_of(at) != shape[0]) return 0;
  for (Text each = first(at); each; each = next(each))
    if (!is_nested(each, shape + 1, rank - 1)) return 0;
  return 1;
}

static int is_sample(Text at, const u64 *shape, int rank) {
  u64 flat = (u64)elements_of(shape, rank);
  return is_nested(at, shape, rank) || is_nested(at, &flat, 1) || (flat == 1 && is_nested(at, shape, 0));
}

static const float *put_nested(Out *out, const float *x, const u64 *shape, int rank) {
  if (!rank) {
    Word bits;
    bits.f = *x;
    put_number(out, SINGLE, bits.u);
    return x + 1;
  }
  put(out, '[');
  for (u64 k = 0; k < shape[0]; k++) {
    if (k) put(out, ',');
    x = put_nested(out, x, shape + 1, rank - 1);
  }
  put(out, ']');
  return x;
}

static const char *no_json(Text text) {
  Text where;
  if (!here.active) return failed("no network is there: call CreateLoomNetwork or LoomLoadModel first");
  if (!text) return failed("the text is NULL: pass JSON");
  return is_json(text, &where) ? 0 : failed("the text is no JSON");
}

const char *LoomForward(const char *inputs) {
  const char *error = no_json(inputs);
  if (error) return error;
  const Document *d = &here.active->document;
  const Layer *last = last_layer(here.active);
  Pool pool = {here.from, 0, 0};
  Text top = blank(inputs);
  int one = is_sample(top, d->input_shape, d->input_rank);
  u64 samples = one ? 1 : length_of(top), wide = input_size(here.active), each = output_size(here.active);
  for (Text at = one || *top != '[' ? 0 : first(top); at; at = next(at))
    if (!is_sample(at, d->input_shape, d->input_rank)) samples = 0;
  if (!samples) return failed("the input is no sample, and no list of samples, of the network's input");
  float *x = take(&pool, samples * wide * 4), *y = take(&pool, samples * each * 4), *to = x;
  Out out;
  if (!x || !y || !result_of(&out, samples * (each * 34 + 64) + 64)) {
    give_back(&pool);
    return no_memory;
  }
  read_numbers(top, &to);
  if (loom_forward(here.active, x, (size_t)samples, y)) {
    give_back(&pool);
    return failed(loom_error(here.active));
  }
  if (!one) put(&out, '[');
  const float *from = y;
  for (u64 k = 0; k < samples; k++) {
    if (k) put(&out, ',');
    from = put_nested(&out, from, last->out_shape, last->out_rank);
  }
  if (!one) put(&out, ']');
  give_back(&pool);
  return finished(&out);
}

/* Settings without the samples, which LoomTrain has among them. */
static void put_settings(Out *out, Text top) {
  int several = 0;
  put(out, '{');
  for (Text key = first(top); key; key = next_key(key)) {
    if (is_text(key, "data")) continue;
    if (several++) put(out, ',');
    for (Text at = key; at < after(value_of(key)); at++) put(out, *at);
  }
  put(out, '}'), put(out, 0);
}

static int are_whole(Text at) {
  at = blank(at);
  if (*at != '[') return is_whole(at);
  for (Text each = first(at); each; each = next(each))
    if (!are_whole(each)) return 0;
  return 1;
}

/* Trains with the list of samples; NULL, or what is wrong. */
static const char *train_with(Text top, Text data, Pool *pool, double *loss) {
  LoomNet *net = here.active;
  const Layer *last = last_layer(net);
  u64 samples = length_of(data), wide = input_size(net), out_size = output_size(net), k = 0;
  u64 rows = last->out_rank ? out_size / last->out_shape[last->out_rank - 1] : out_size;
  int classes = rows != out_size;
  for (Text each = first(data); each; each = next(each)) {
    Text input = *each == '{' ? member(each, "input") : 0, target = input ? member(each, "target") : 0;
    if (!target) return "a sample of data has no input and target, or one of them twice";
    if (!is_sample(input, net->document.input_shape, net->document.input_rank)) return "a sample's input has not the shape of the network's";
    classes &= numbers_in(target) == rows && are_whole(target);
  }
  u64 wanted = classes ? rows : out_size;
  float *x = take(pool, samples * wide * 4), *y = take(pool, samples * wanted * 4), *to = x, *end = y;
  char *settings = take(pool, text_length(top) + 4);
  if (!x || !y || !settings) return "no memory";
  for (Text each = first(data); each; each = next(each), k++) {
    Text target = member(each, "target");
    read_numbers(member(each, "input"), &to);
    if (numbers_in(target) != wanted || !read_numbers(target, &end)) return "a sample's target is no class, and has not the output's shape";
  }
  int32_t *numbers = (int32_t *)(void *)y;
  for (k = 0; classes && k < samples * rows; k++) numbers[k] = y[k] >= -2147483648.0f && y[k] < 2147483648.0f ? (int32_t)y[k] : -1;
  Out text = {settings, settings, settings + text_length(top) + 4, 0};
  put_settings(&text, top);
  return loom_train(net, settings, x, classes ? numbers : 0, classes ? 0 : y, (size_t)samples, loss) ? loom_error(net) : 0;
}

const char *LoomTrain(const char *training) {
  const char *error = no_json(training);
  if (error) return error;
  Text top = blank(training), data = *top == '{' ? member(top, "data") : 0;
  Pool pool = {here.from, 0, 0};
  char digest[65];
  double loss = 0;
  Out out;
  if (!data || *data != '[' || !first(data)) return failed("the training has no list data of samples");
  error = train_with(top, data, &pool, &loss);
  give_back(&pool);
  if (error) return failed(error);
  if (!result_of(&out, 256)) return no_memory;
  loom_digest(here.active, digest);
  put_text(&out, "{\"loss\":"), put_double(&out, loss), put_text(&out, ",\"digest\":\""), put_text(&out, digest), put_text(&out, "\"}");
  return finished(&out);
}

const char *LoomSaveModel(const char *id) {
  LoomNet *net = here.active;
  Out out;
  int several = 0;
  if (!net) return failed("no network is there: call CreateLoomNetwork or LoomLoadModel first");
  u64 room = net->weight_numbers * 6 + text_length(net->document.text) + 512 * ((u64)numbers_of_own(net) + 2) + (id ? 6 * text_length(id) : 0);
  if (!result_of(&out, room)) return no_memory;
  put_text(&out, "{\"type\":\"loom/bundle\",\"version\":1,\"models\":[{\"id\":"), put_string(&out, id && *id ? id : "model");
  put_text(&out, ",\"cfg\":"), put_text(&out, net->document.text);
  put_text(&out, ",\"weights\":{\"fmt\":\"loom/1\",\"tensors\":{");
  for (u32 i = 0; i < net->document.layers; i++) {
    const Layer *l = net->document.layer + i;
    for (int k = 0; k < l->variant->weights + l->variant->states; k++) {
      const Own *own = own_table + l->variant->first_own + k;
      u64 shape[MOST_RANK];
      own_shape(l, k, shape);
      put_text(&out, several++ ? ",\"" : "\""), put_text(&out, l->name), put(&out, '.'), put_text(&out, own->name);
      put_text(&out, "\":{\"dtype\":\"f32\",\"shape\":"), put_shape(&out, shape, own->rank, "[", "]", 0);
      put_text(&out, ",\"data\":\""), put_base64(&out, (const u8 *)l->own[k], l->own_size[k] * sizeof(Word)), put_text(&out, "\"}");
    }
  }
  put_text(&out, "}}}]}");
  return finished(&out);
}

/* The model of an id in a bundle, or its first. */
static Text model_of(Text bundle, const char *id) {
  Text models = *bundle == '{' ? member(bundle, "models") : 0;
  for (Text each = models && *models == '[' ? first(models) : 0; each; each = next(each)) {
    Text named = *each == '{' ? member(each, "id") : 0;
    if (!id || !*id || (named && is_text(named, id))) return each;
  }
  return 0;
}

static const char *load_tensors(LoomNet *net, Text model) {
  Text weights = member(model, "weights"), tensors = weights && *weights == '{' ? member(weights, "tensors") : 0;
  if (!tensors || *tensors != '{') return "the model has no weights of the format loom/1";
  for (u32 i = 0; i < net->document.layers; i++) {
    Layer *l = net->document.layer + i;
    for (int k = 0; k < l->variant->weights + l->variant->states; k++) {
      Text about = named_member(tensors, l, own_table + l->variant->first_own + k);
      Text data = about && *about == '{' ? member(about, "data") : 0;
      if (!data || *data != '"' || !base64_bytes(spelled(data), (u8 *)l->own[k], l->own_size[k] * sizeof(Word)))
        return "a weight is missing, or its data is not its bytes in base64";
    }
  }
  return 0;
}

const char *LoomLoadModel(const char *text, const char *id) {
  Text where, model;
  Pool pool = {here.from, 0, 0};
  if (!text || !is_json(text, &where)) return failed("the bundle is no JSON");
  model = model_of(blank(text), id);
  Text config = model && *model == '{' ? member(model, "cfg") : 0;
  if (!config) return failed("the text is no bundle with that model");
  u64 nbytes = (u64)(after(config) - config);
  char *document = take(&pool, nbytes + 1);
  if (!document) return no_memory;
  copy(document, config, nbytes);
  LoomNet *before = here.active;
  here.active = 0; /* kept until the other is whole */
  const char *error = activate(document);
  give_back(&pool);
  if (!error) {
    const char *wrong_weights = load_tensors(here.active, model);
    if (wrong_weights) loom_free(here.active), error = failed(wrong_weights);
  }
  if (error) {
    here.active = before;
    return error;
  }
  loom_free(before);
  return created();
}
