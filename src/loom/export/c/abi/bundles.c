/* Saving and loading: bundles as Loom reads and writes them. What they have no place for (the optimiser's state, how far
 * the training is) is in a comment: the bytes that the network's own save writes. */

static const char STATE_MARK[] = "loom/export:";
#define DIGEST_KEY "sha256"

/* The header of a saved state: JSON of tensors. Its text ends with the elements' first byte, so it is bounded. */
static Text header_of(const u8 *file) { return (Text)file + 8; }

static u8 *elements_of(u8 *file) {
  u64 nbytes;
  copy(&nbytes, file, 8);
  return file + 8 + nbytes;
}

static int starts_with(Text string, const char *text) {
  Spelled s = spelled(string);
  while (*text)
    if (byte_of(&s) != (u8)*text++) return 0;
  return 1;
}

static int is_weight(Text key) {
  return !is_text(key, "__metadata__") && !starts_with(key, "training/");
}

static void put_raw(Out *out, Text from, Text to) {
  while (from < to) put(out, *from++);
}

static void offsets_of(Text about, u64 *from, u64 *to) {
  Text pair = member(about, "data_offsets");
  int negative;
  *from = *to = 0;
  whole_number(first(pair), from, &negative), whole_number(next(first(pair)), to, &negative);
}

static void put_dtype(Out *out, Text dtype) { /* as Loom calls it: in small letters */
  for (Text at = dtype; at < after(dtype); at++) put(out, *at >= 'A' && *at <= 'Z' ? (char)(*at | 32) : *at);
}

const char *LoomSaveModel(const char *id) {
  Out out;
  const char *error;
  size_t nbytes = 0;
  int several = 0;
  if (!begun(&out, id, 0, &error) || !has_network(&out, &error)) return error;
  const Net *net = here.active;
  u8 *file = here.saved[0];
  int code = net->save(net_of(net), 0, 0, &nbytes);
  if (!code) code = net->save(net_of(net), file, nbytes, &nbytes);
  if (code) return failed_with(&out, net, code);
  put_text(&out, "{\"type\":\"loom/bundle\",\"version\":1,\"models\":[{\"id\":");
  put_string(&out, id && *id ? id : net->name);
  put_text(&out, ",\"cfg\":"), put_text(&out, net->document);
  put_text(&out, ",\"comment\":\""), put_text(&out, STATE_MARK), put_base64(&out, file, nbytes);
  put_text(&out, "\",\"weights\":{\"fmt\":\"loom/1\",\"tensors\":{");
  for (Text key = first(header_of(file)); key; key = next_key(key)) {
    Text about = value_of(key);
    u64 from, to;
    if (!is_weight(key)) continue;
    if (several++) put(&out, ',');
    offsets_of(about, &from, &to);
    put_raw(&out, key, after(key)), put_text(&out, ":{\"dtype\":"), put_dtype(&out, member(about, "dtype"));
    put_text(&out, ",\"shape\":"), put_raw(&out, member(about, "shape"), after(member(about, "shape")));
    put_text(&out, ",\"data\":\""), put_base64(&out, elements_of(file) + from, to - from), put_text(&out, "\"}");
  }
  put_text(&out, "}}}],\""), put_text(&out, DIGEST_KEY), put_text(&out, "\":\"");
  char *at = out.at;
  for (int i = 0; i < 64; i++) put(&out, '0');
  put_text(&out, "\"}");
  if (!out.full) {
    *out.at = 0;
    Out digits = {at, at, at + 64, 0};
    put_hex(&digits, digest_value(out.start, DIGEST_KEY).bytes, 32);
  }
  return finished(&out);
}

/* NULL, or what is wrong with a bundle: a key, or another digest than it tells; those of older versions tell none. */
static const char *wrong_bundle(Text bundle) {
  static const char *const KEYS[] = {"type", "version", "models", "comment", "$comment", DIGEST_KEY};
  enum { COUNT = sizeof KEYS / sizeof *KEYS };
  Text told = 0;
  char digits[65] = {0};
  Out out = {digits, digits, digits + 64, 0};
  for (Text key = first(bundle); key; key = next_key(key)) {
    u32 i = 0;
    while (i < COUNT && !is_text(key, KEYS[i])) i++;
    if (i == COUNT) return "a bundle has the keys type, version, models and sha256, and this one another: take it out";
    if (i == COUNT - 1 && told) return "the key sha256 is there twice: keep one";
    if (i == COUNT - 1) told = value_of(key);
  }
  if (!told) return 0;
  put_hex(&out, digest_value(bundle, DIGEST_KEY).bytes, 32);
  return is_text(told, digits) ? 0 : "the bundle is damaged, or was changed: its SHA-256 is another. Get it again; if it "
                                     "was changed on purpose, take out sha256";
}

static int same_values(Text a, Text b) { return hash_value(a) == hash_value(b); }

/* Puts the weights of a bundle into a saved state; NULL, or what is wrong. */
static const char *merge_weights(Text tensors, u8 *file) {
  u32 found = 0, given = 0;
  for (Text key = first(header_of(file)); key; key = next_key(key)) {
    Text about = value_of(key), tensor = 0;
    u64 from, to;
    if (!is_weight(key)) continue;
    for (Text each = first(tensors); each; each = next_key(each))
      if (same_strings(each, key)) {
        if (tensor) return "a weight is there twice";
        tensor = value_of(each);
      }
    if (!tensor || *tensor != '{') return "a weight is missing";
    Text dtype = member(tensor, "dtype"), shape = member(tensor, "shape"), data = member(tensor, "data");
    Spelled named, wanted = spelled(member(about, "dtype"));
    if (!dtype || !shape || !data || *dtype != '"' || *data != '"') return "a weight has no dtype, shape and data";
    for (named = spelled(dtype);;) {
      int c = byte_of(&wanted);
      if (byte_of(&named) != (c >= 'A' && c <= 'Z' ? c | 32 : c)) return "a weight has another dtype";
      if (c < 0) break;
    }
    if (!same_values(shape, member(about, "shape"))) return "a weight has another shape";
    offsets_of(about, &from, &to);
    if (!base64_bytes(spelled(data), elements_of(file) + from, to - from)) return "a weight's data is not its bytes in base64";
    found++;
  }
  for (Text each = first(tensors); each; each = next_key(each)) given++;
  return given == found ? 0 : "a weight is none of the network's";
}

/* The state that a model comment has; 1 if there is one, 0 if not, -1 if it is broken. */
static int commented_state(Text comment, u8 *file, u64 nbytes) {
  if (!comment || *comment != '"') return 0;
  Spelled s = spelled(comment);
  for (const char *c = STATE_MARK; *c; c++)
    if (byte_of(&s) != (u8)*c) return 0;
  return base64_bytes(s, file, nbytes) ? 1 : -1;
}

/* Makes the model's state of the net as it begins, of its comment and of its weights, and loads it. */
static const char *load_model(Out *out, const Net *net, Text model) {
  u8 *old = here.saved[0], *file = here.saved[1];
  void *at = net_of(net);
  size_t nbytes = 0;
  Text weights = member(model, "weights"), tensors = weights && *weights == '{' ? member(weights, "tensors") : 0;
  if (!tensors || *tensors != '{') return failed(out, "the model has no weights of the format loom/1", "");
  int code = net->save(at, 0, 0, &nbytes);
  if (!code) code = net->save(at, old, nbytes, &nbytes);
  if (code) return failed_with(out, net, code);
  int state = commented_state(member(model, "comment"), file, nbytes);
  if (state < 0 || (state && net->load(at, file, nbytes)))
    return failed(out, "the model's comment is a state of another network, or broken", ": take it out");
  if (!state) { /* training begins anew: the net says how */
    net->reset(at);
    net->save(at, file, nbytes, &nbytes);
  }
  net->load(at, old, nbytes);
  const char *wrong = merge_weights(tensors, file);
  if (wrong) return failed(out, wrong, ": save the model again");
  net->seal(file);
  code = net->load(at, file, nbytes);
  if (code) return failed_with(out, net, code);
  here.active = net;
  put_text(out, "{\"status\":\"loaded\",\"network\":\""), put_text(out, net->name);
  put_text(out, state ? "\",\"training\":\"goes on\"," : "\",\"training\":\"begins anew\",");
  put_digest(out, net), put(out, '}');
  return finished(out);
}

/* The model of an id, as a C text; the only one if there is no id. */
static Text model_of(Text models, const char *id) {
  if (!models || *models != '[') return 0;
  Text found = 0;
  for (Text model = first(models); model; model = next(model)) {
    Text name = *model == '{' ? member(model, "id") : 0;
    if (id && *id && (!name || !is_text(name, id))) continue;
    if (found) return 0;
    found = model;
  }
  return found;
}

const char *LoomLoadModel(const char *bundle, const char *id) {
  Out out;
  const char *error;
  if (!begun(&out, bundle, id, &error)) return error;
  if (!read_json(&out, bundle, "the model", &error)) return error;
  Text at = blank(bundle), type = *at == '{' ? member(at, "type") : 0;
  if (!type || !is_text(type, "loom/bundle") || number_at(at, "version") != 1)
    return failed(&out, "this is no bundle (loom/bundle, version 1): pass what LoomSaveModel or loom train wrote", "");
  const char *wrong = wrong_bundle(at);
  if (wrong) return failed(&out, wrong, "");
  Text model = model_of(member(at, "models"), id);
  if (!model || *model != '{') return failed(&out, "the bundle has no model of this id, or several", "");
  Text document = member(model, "cfg");
  const Net *net = document ? of_document(document) : 0;
  if (!net) return unknown(&out, "the model's document");
  return load_model(&out, net, model);
}
