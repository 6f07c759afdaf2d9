/* Create, forward, train: see abi.c. */

static u64 own[(BLOCK_NBYTES + 7) / 8] __attribute__((aligned(64)));
static u8 *block = (u8 *)own;
static u64 block_nbytes = sizeof own;

/* What lies where in the block; `ready` once it does. */
static struct {
  int ready, turn;
  const Net *active;
  void *opened[NETS];
  u8 *saved[2], *samples;
  char *results[2];
  u64 result_nbytes;
} here;

static u64 rounded(u64 n) { return (n + 63) & ~(u64)63; }

/* Results: what the caller gave may be the one before, so they are written in turn. */

static char no_memory[512];

static int lies_in(Text text, const char *low, u64 nbytes) { return text >= low && text < low + nbytes; }

/* Where a result goes; 0 if the texts lie wherever it could. */
static int result_beside(Out *out, Text a, Text b) {
  Out plain = {no_memory, no_memory, no_memory + sizeof no_memory - 1, 0};
  *out = plain;
  for (int i = 0; here.ready && i < 2; i++, here.turn ^= 1) {
    char *low = here.results[here.turn];
    if (lies_in(a, low, here.result_nbytes) || lies_in(b, low, here.result_nbytes)) continue;
    out->start = out->at = low, out->end = low + here.result_nbytes - 1;
    return 1;
  }
  return 0;
}

static const char *finished(Out *out) {
  if (out->full) {
    out->at = out->start, out->full = 0;
    put_text(out, "{\"error\":\"the answer takes more than ");
    put_whole(out, (u64)(out->end - out->start));
    put_text(out, " bytes: pass fewer samples at once, or give a larger block with LoomMemory\"}");
  }
  *out->at = 0;
  here.turn ^= 1;
  return out->start;
}

/* An error: what is wrong, and what to do. */
static const char *failed(Out *out, const char *what, const char *then) {
  out->at = out->start, out->full = 0;
  put_text(out, "{\"error\":\""), put_text(out, what), put_text(out, then), put_text(out, "\"}");
  return finished(out);
}

static const char *failed_with(Out *out, const Net *net, int code) { return failed(out, net->message(code), ""); }

/* What a manifest says of arrays. */

typedef struct { Text name; Format format; u32 kind, axes, shape[MOST_AXES]; u64 elements, each, nbytes; } Array;
enum { FLOATS, SIGNED, UNSIGNED, TRUTHS };

static u64 number_at(Text object, const char *key) {
  Text at = object ? member(object, key) : 0;
  u64 value = 0;
  int negative;
  return at && whole_number(at, &value, &negative) && !negative ? value : 0;
}

static void read_port(Text port, Array *out) {
  static const struct { const char *name; u32 kind, nbytes; const Format *format; } TYPES[] = {
      {"f32", FLOATS, 4, &SINGLE}, {"f64", FLOATS, 8, &DOUBLE}, {"f16", FLOATS, 2, &HALF}, {"bf16", FLOATS, 2, &BRAIN},
      {"i8", SIGNED, 1, 0},        {"i16", SIGNED, 2, 0},       {"i32", SIGNED, 4, 0},     {"i64", SIGNED, 8, 0},
      {"u8", UNSIGNED, 1, 0},      {"u16", UNSIGNED, 2, 0},     {"u32", UNSIGNED, 4, 0},   {"u64", UNSIGNED, 8, 0},
      {"bool", TRUTHS, 1, 0}};
  Text dtype = member(port, "dtype");
  int negative;
  out->name = member(port, "name"), out->axes = 0, out->elements = 1;
  for (Text n = first(member(port, "shape")); n; n = next(n)) {
    u64 value = 0;
    whole_number(n, &value, &negative);
    out->shape[out->axes++] = (u32)value, out->elements *= value;
  }
  for (u32 i = 0; i < sizeof TYPES / sizeof *TYPES; i++)
    if (is_text(dtype, TYPES[i].name)) {
      out->kind = TYPES[i].kind, out->format = TYPES[i].format ? *TYPES[i].format : DOUBLE;
      out->each = TYPES[i].nbytes, out->nbytes = out->each * out->elements;
    }
}

static u32 read_ports(Text list, Array *out) { /* src/loom/export/c/json.py has counted them */
  u32 n = 0;
  for (Text at = list ? first(list) : 0; at; at = next(at)) read_port(at, out + n++);
  return n;
}

static Text training_of(const Net *net) { return member(net->manifest(), "training"); }

/* The block. */

static u64 arrays_nbytes(Text list, u64 samples) {
  Array ports[MOST_PORTS];
  u64 total = 0;
  for (u32 i = 0, n = read_ports(list, ports); i < n; i++) total += rounded(ports[i].nbytes * samples);
  return total;
}

static u64 samples_nbytes(const Net *net) { /* one with its answer, or all that it trains with */
  Text told = net->manifest(), training = training_of(net);
  u64 all = number_at(training, "samples"), one = arrays_nbytes(member(told, "inputs"), 1);
  one += arrays_nbytes(member(told, "outputs"), 1);
  if (!training) return one;
  all = arrays_nbytes(member(told, "inputs"), all) + arrays_nbytes(member(training, "targets"), all);
  return all > one ? all : one;
}

static u64 larger(u64 a, u64 b) { return a > b ? a : b; }

static u64 length(const char *text) {
  u64 n = 0;
  while (text[n]) n++;
  return n;
}

static u64 place(u64 *used, u64 nbytes) { /* the offset of so many bytes more */
  u64 at = *used;
  *used += rounded(nbytes);
  return at;
}

/* Lays the block out and opens all networks; 0 if it is too small. */
static int arranged(void) {
  u64 used = (64 - ((u64)(uintptr_t)block & 63)) & 63, saved = 0, samples = 0, least = 0;
  void *opened[NETS];
  if (here.ready) return 1;
  for (u32 i = 0; i < NETS; i++) {
    u64 nbytes = nets[i].size(), at = place(&used, nbytes);
    size_t file = 0;
    if (used > block_nbytes || nets[i].open(block + at, (size_t)nbytes, opened + i)) return 0;
    nets[i].save(opened[i], 0, 0, &file);
    saved = larger(saved, file), samples = larger(samples, samples_nbytes(nets + i));
    least = larger(least, 3 * (u64)file + 2 * length(nets[i].document) + length(nets[i].manifest()) + 4096);
  }
  u64 first_saved = place(&used, saved), second_saved = place(&used, saved), given = place(&used, samples);
  if (used + 2 * rounded(least) > block_nbytes) return 0;
  for (u32 i = 0; i < NETS; i++) here.opened[i] = opened[i];
  here.saved[0] = block + first_saved, here.saved[1] = block + second_saved, here.samples = block + given;
  here.result_nbytes = ((block_nbytes - used) / 2) & ~(u64)63;
  here.results[0] = (char *)block + used, here.results[1] = here.results[0] + here.result_nbytes;
  return here.ready = 1;
}

size_t LoomMemoryNeeded(void) {
  u64 total = 64, samples = 0, largest = 0;
  for (u32 i = 0; i < NETS; i++) {
    u64 told = length(nets[i].document) + length(nets[i].manifest());
    total += rounded(nets[i].size());
    largest = larger(largest, nets[i].size() + 4 * told + 8192), samples = larger(samples, samples_nbytes(nets + i));
  }
  return (size_t)(total + rounded(samples) + 8 * rounded(largest) + (1 << 17));
}

int LoomMemory(void *memory, size_t nbytes) {
  u8 *old = block;
  u64 old_nbytes = block_nbytes;
  int was_ready = here.ready;
  if (memory && (nbytes < 64 || (uintptr_t)memory + nbytes < nbytes)) return 0;
  block = memory ? memory : (u8 *)own, block_nbytes = memory ? nbytes : sizeof own;
  here.ready = 0;
  if (arranged()) {
    here.active = 0;
    return 1;
  }
  block = old, block_nbytes = old_nbytes, here.ready = was_ready;
  return 0;
}

void LoomFree(const char *text) {
  if (!text) here.active = 0;
}

/* Whether a call can be made at all: memory, an active network, JSON; what is wrong is in *out otherwise. */

static int begun(Out *out, Text a, Text b, const char **error) {
  int is_there = arranged();
  if (result_beside(out, a, b)) return 1;
  if (is_there) {
    *error = failed(out, "both texts are results of the last calls, where this one's has to go", ": pass copies");
    return 0;
  }
  put_text(out, "{\"error\":\"too little memory: give LoomMemory ");
  put_whole(out, LoomMemoryNeeded());
  put_text(out, " bytes\"}");
  *error = finished(out);
  return 0;
}

static int has_network(Out *out, const char **error) {
  if (here.active) return 1;
  *error = failed(out, "no network is there: call CreateLoomNetwork or LoomLoadModel first", "");
  return 0;
}

static int read_json(Out *out, Text text, const char *what, const char **error) {
  Text where;
  if (text && is_json(text, &where)) return 1;
  if (!text) {
    *error = failed(out, what, " is NULL: pass JSON");
    return 0;
  }
  put_text(out, "{\"error\":\""), put_text(out, what), put_text(out, " is no JSON from character ");
  put_whole(out, (u64)(where - text)), put_text(out, " on\"}");
  *error = finished(out);
  return 0;
}

static void *net_of(const Net *net) { return here.opened[net - nets]; }

static void put_digest(Out *out, const Net *net) {
  u8 digest[32];
  net->digest(net_of(net), digest);
  put_text(out, "\"digest\":\""), put_hex(out, digest, 32), put(out, '"');
}

/* Which network a document is, or an id; NULL for others. */

static const Net *of_document(Text document) {
  u64 identity = hash_value(document);
  for (u32 i = 0; i < NETS; i++)
    for (const u64 *known = nets[i].identities; *known; known++)
      if (*known == identity) return nets + i;
  return 0;
}

static const Net *of_name(Text text) { /* plain, or a JSON string */
  for (u32 i = 0; i < NETS; i++) {
    const char *name = nets[i].name;
    Text at = blank(text);
    if (*at == '"') {
      if (is_text(at, name)) return nets + i;
      continue;
    }
    while (*name && *at == *name) at++, name++;
    if (!*name && !*blank(at)) return nets + i;
  }
  return 0;
}

static const char *unknown(Out *out, const char *what) {
  put_text(out, "{\"error\":\""), put_text(out, what);
  put_text(out, " is none that this library was made of. It has");
  for (u32 i = 0; i < NETS; i++) put_text(out, i ? ", " : ": "), put_text(out, nets[i].name);
  put_text(out, ". To make one for another: loom export NET.json --to c\"}");
  return finished(out);
}

const char *CreateLoomNetwork(const char *document) {
  Out out;
  const char *error;
  const Net *net;
  if (!begun(&out, document, 0, &error)) return error;
  if (!document) return failed(&out, "the document is NULL: pass it, or the network's name", "");
  char begin = *blank(document);
  if (begin == '{' || begin == '[' || begin == '"') {
    if (!read_json(&out, document, "the document", &error)) return error;
    if (begin == '{' && member(blank(document), "models"))
      return failed(&out, "this is a model with weights: call LoomLoadModel", "");
  }
  net = begin == '{' || begin == '[' ? of_document(blank(document)) : of_name(document);
  if (!net) return unknown(&out, "the document");
  int code = net->reset(net_of(net));
  if (code) return failed_with(&out, net, code);
  here.active = net;
  put_text(&out, "{\"status\":\"created\",\"network\":\""), put_text(&out, net->name), put_text(&out, "\",");
  put_digest(&out, net), put(&out, '}');
  return finished(&out);
}

/* Samples. */

/* Whether a value can be an element of a type; it is put at `to` then. */
static int read_element(const Array *t, Text at, u8 *to) {
  u64 value = 0;
  int negative = 0;
  if (t->kind == FLOATS) {
    if (*at != '-' && !is_digit(*at)) return 0;
    value = number_bits(t->format, at);
    if (bits_are_infinite(t->format, value)) return 0;
  } else if (t->kind == TRUTHS && (*at == 't' || *at == 'f')) {
    value = *at == 't';
  } else {
    u64 most = t->kind == TRUTHS ? 1 : ~(u64)0 >> (64 - 8 * t->each + (t->kind == SIGNED));
    if ((*at != '-' && !is_digit(*at)) || !whole_number(at, &value, &negative)) return 0;
    if (negative && t->kind != SIGNED && value) return 0;
    if (value > most + (u64)negative) return 0;
    if (negative) value = 0 - value;
  }
  copy(to, &value, t->each); /* all machines of exports have the least byte first */
  return 1;
}

/* Reads an array with the shape of a port from axis `axis` on; *to moves on. */
static int read_nested(const Array *t, u32 axis, Text at, u8 **to) {
  if (axis == t->axes) {
    if (!read_element(t, at, *to)) return 0;
    *to += t->each;
    return 1;
  }
  if (*at != '[' || length_of(at) != t->shape[axis]) return 0;
  for (Text each = first(at); each; each = next(each))
    if (!read_nested(t, axis + 1, each, to)) return 0;
  return 1;
}

/* Reads one sample of a port: nested as its shape is, or flat; a number alone where there is one element. */
static int read_sample(const Array *t, Text at, u8 *to) {
  u8 *end = to;
  at = blank(at);
  if (*at == '[' && t->axes != 1 && length_of(at) == t->elements && (!first(at) || *first(at) != '[')) {
    for (Text each = first(at); each; each = next(each), end += t->each)
      if (!read_element(t, each, end)) return 0;
    return 1;
  }
  if (*at != '[' && t->elements == 1) return read_element(t, at, to);
  return read_nested(t, 0, at, &end);
}

/* What arrays a sample has: one for each port. */
typedef struct { u32 count; Array types[MOST_PORTS]; u8 *arrays[MOST_PORTS]; } Group;

static u8 *arrange_group(Group *group, Text list, u64 samples, u8 *at) {
  group->count = read_ports(list, group->types);
  for (u32 i = 0; i < group->count; i++) {
    group->arrays[i] = at;
    at += rounded(group->types[i].nbytes * samples);
  }
  return at;
}

/* Reads a sample's arrays: the only one, or an object that has all of them by name. NULL, or the port that is wrong. */
static const Array *read_group(const Group *group, Text at, u64 sample) {
  at = blank(at);
  for (u32 i = 0; i < group->count; i++) {
    const Array *t = group->types + i;
    Text value = group->count == 1 && *at != '{' ? at : 0;
    for (Text key = *at == '{' ? first(at) : 0; key; key = next_key(key))
      if (same_strings(key, t->name)) value = value ? (Text) "" : value_of(key);
    if (!value || !read_sample(t, value, group->arrays[i] + sample * t->nbytes)) return t;
  }
  u32 keys = 0;
  if (*at == '{')
    for (Text key = first(at); key; key = next_key(key)) keys++;
  return *at == '{' && keys != group->count ? group->types : 0;
}

static const char *wrong_sample(Out *out, const Array *t, u64 sample, u64 count) {
  out->at = out->start, out->full = 0;
  put_text(out, "{\"error\":\"");
  if (count) put_text(out, "sample "), put_whole(out, sample), put_text(out, ": ");
  for (Spelled s = spelled(t->name);;) {
    int c = byte_of(&s);
    if (c < 0) break;
    if (c == '"' || c == '\\' || c < 0x20) put(out, '?');
    else put(out, (char)c);
  }
  put_text(out, " takes "), put_text(out, t->kind == FLOATS ? "numbers" : t->kind == TRUTHS ? "truths" : "whole numbers");
  put_text(out, " of shape (");
  for (u32 i = 0; i < t->axes; i++) put_text(out, i ? ", " : ""), put_whole(out, t->shape[i]);
  put_text(out, ") that its type has: nested so, or flat\"}");
  return finished(out);
}

static void put_element(Out *out, const Array *t, const u8 *at) {
  u64 value = 0;
  copy(&value, at, t->each);
  if (t->kind == FLOATS) {
    put_number(out, t->format, value);
  } else if (t->kind == TRUTHS) {
    put_text(out, value ? "true" : "false");
  } else {
    u64 sign = (u64)1 << (8 * t->each - 1);
    if (t->kind == SIGNED && (value & sign)) put(out, '-'), value = (sign << 1) - value;
    put_whole(out, value);
  }
}

static const u8 *put_nested(Out *out, const Array *t, u32 axis, const u8 *at) {
  if (axis == t->axes) {
    put_element(out, t, at);
    return at + t->each;
  }
  put(out, '[');
  for (u32 i = 0; i < t->shape[axis]; i++) {
    if (i) put(out, ',');
    at = put_nested(out, t, axis + 1, at);
  }
  put(out, ']');
  return at;
}

static void put_group(Out *out, const Group *group) {
  if (group->count > 1) put(out, '{');
  for (u32 i = 0; i < group->count; i++) {
    if (i) put(out, ',');
    if (group->count > 1) {
      for (Text at = group->types[i].name; at < after(group->types[i].name); at++) put(out, *at);
      put(out, ':');
    }
    put_nested(out, group->types + i, 0, group->arrays[i]);
  }
  if (group->count > 1) put(out, '}');
}

/* The answer to one sample; NULL, or an error. */
static const char *answer(Out *out, const Group *given, const Group *made, Text sample, u64 number, u64 count) {
  const void *x[MOST_PORTS];
  void *y[MOST_PORTS];
  const Array *wrong = read_group(given, sample, 0);
  if (wrong) return wrong_sample(out, wrong, number, count);
  for (u32 i = 0; i < given->count; i++) x[i] = given->arrays[i];
  for (u32 i = 0; i < made->count; i++) y[i] = made->arrays[i];
  int code = here.active->forward(net_of(here.active), x, y, 1);
  return code ? failed_with(out, here.active, code) : 0;
}

static void arrange_forward(Group *given, Group *made) {
  Text told = here.active->manifest();
  u8 *at = arrange_group(given, member(told, "inputs"), 1, here.samples);
  arrange_group(made, member(told, "outputs"), 1, at);
}

const char *LoomForward(const char *inputs) {
  Out out;
  const char *error;
  Group given, made;
  if (!begun(&out, inputs, 0, &error) || !has_network(&out, &error)) return error;
  if (!read_json(&out, inputs, "the input", &error)) return error;
  arrange_forward(&given, &made);
  Text at = blank(inputs);
  if (*at == '[' && first(at) && read_group(&given, at, 0)) { /* not one sample: several */
    u64 number = 0, count = length_of(at);
    put(&out, '[');
    for (Text sample = first(at); sample; sample = next(sample), number++) {
      if ((error = answer(&out, &given, &made, sample, number, count))) return error;
      if (number) put(&out, ',');
      put_group(&out, &made);
    }
    put(&out, ']');
    return finished(&out);
  }
  if ((error = answer(&out, &given, &made, at, 0, 0))) return error;
  put_group(&out, &made);
  return finished(&out);
}

/* Training. */

static const char *train_settings(Out *out, Text text, u64 *epochs) {
  const Net *net = here.active;
  *epochs = 1;
  if (*text != '{' || !member(text, "data")) return failed(out, "the training has no list data of samples", "");
  for (Text key = first(text); key; key = next_key(key)) {
    Text value = value_of(key);
    int negative;
    if (is_text(key, "data")) continue;
    if (is_text(key, "epochs")) {
      if (whole_number(value, epochs, &negative) && !negative && *epochs && *epochs <= 0xffffffffu) continue;
      return failed(out, "epochs is not a whole number of at least 1", "");
    }
    if (is_text(key, "learning_rate")) {
      u64 rate;
      if (!net->rate) return failed(out, "learning_rate has no effect: a schedule was exported", "; leave it out");
      copy(&rate, net->rate, sizeof rate);
      if ((*value == '-' || is_digit(*value)) && number_bits(DOUBLE, value) == rate) continue;
      put_text(out, "{\"error\":\"the network was exported with the learning rate "), put_double(out, *net->rate);
      put_text(out, ": leave it out, or export it with another: loom export NET.json --to c --rate ...\"}");
      return finished(out);
    }
    return failed(out, "a setting is none of data, epochs, learning_rate: all others are as they were exported", "");
  }
  return 0;
}

/* Reads samples with their targets; NULL, or an error. */
static const char *read_training(Out *out, Text data, u64 count, const Group *given, const Group *wanted) {
  u64 number = 0;
  if (*data != '[' || length_of(data) != count) {
    put_text(out, "{\"error\":\"data is no list of "), put_whole(out, count);
    put_text(out, " samples, for which the network was exported: export it with as many\"}");
    return finished(out);
  }
  for (Text sample = first(data); sample; sample = next(sample), number++) {
    Text input = member(sample, "input"), target = member(sample, "target");
    if (!input || !target) return failed(out, "a sample of data has no input and target, or one of them twice", "");
    const Array *wrong = read_group(given, input, number);
    if (!wrong) wrong = read_group(wanted, target, number);
    if (wrong) return wrong_sample(out, wrong, number, count);
  }
  return 0;
}

const char *LoomTrain(const char *text) {
  Out out;
  const char *error;
  Group given, wanted;
  const void *arrays[2 * MOST_PORTS];
  u64 epochs;
  double loss = 0;
  if (!begun(&out, text, 0, &error) || !has_network(&out, &error)) return error;
  if (!read_json(&out, text, "the training", &error)) return error;
  const Net *net = here.active;
  Text training = training_of(net), settings = blank(text);
  if (!net->train || !training)
    return failed(&out, "the network was exported without training: loom export NET.json --to c --data ...", "");
  if ((error = train_settings(&out, settings, &epochs))) return error;
  u64 count = number_at(training, "samples");
  u8 *at = arrange_group(&given, member(net->manifest(), "inputs"), count, here.samples);
  arrange_group(&wanted, member(training, "targets"), count, at);
  if ((error = read_training(&out, member(settings, "data"), count, &given, &wanted))) return error;
  for (u32 i = 0; i < given.count; i++) arrays[i] = given.arrays[i];
  for (u32 i = 0; i < wanted.count; i++) arrays[given.count + i] = wanted.arrays[i];
  int code = net->train(net_of(net), arrays, (u32)count, (u32)epochs, &loss);
  if (code) return failed_with(&out, net, code);
  put_text(&out, "{\"status\":\"trained\",\"epochs\":"), put_whole(&out, epochs);
  put_text(&out, ",\"loss\":"), put_double(&out, loss);
  put(&out, ','), put_digest(&out, net), put(&out, '}');
  return finished(&out);
}
