/* Digests, and weights as .safetensors files, which Network.load reads. */

enum { SHA_DIGITS = 64 };

static void put_shape(Out *out, const u64 *shape, int rank, const char *open, const char *close, int is_tuple) {
  put_text(out, open);
  for (int a = 0; a < rank; a++) put_text(out, a ? (is_tuple ? ", " : ",") : ""), put_whole(out, shape[a]);
  if (is_tuple && rank == 1) put(out, ',');
  put_text(out, close);
}

static void own_shape(const Layer *l, int k, u64 *shape) {
  const Own *own = own_table + l->variant->first_own + k;
  for (int a = 0; a < own->rank; a++) shape[a] = size_told(own->shape[a], l->symbols);
}

/* SHA-256 of names, types, shapes and bits: trained arrays first, then states. */
static void weights_digest(const LoomNet *net, u8 out[32]) {
  Sha s = SHA_START;
  for (int states = 0; states < 2; states++)
    for (u32 i = 0; i < net->document.layers; i++) {
      const Layer *l = net->document.layer + i;
      const Variant *v = l->variant;
      for (int k = states ? v->weights : 0; k < (states ? v->weights + v->states : v->weights); k++) {
        const Own *own = own_table + v->first_own + k;
        char text[512];
        u64 shape[MOST_RANK];
        Out told = {text, text, text + sizeof text, 0};
        own_shape(l, k, shape);
        put_text(&told, l->name), put(&told, '.'), put_text(&told, own->name), put_text(&told, " <f4 ");
        put_shape(&told, shape, own->rank, "(", ")\n", 1);
        sha_add(&s, text, (u64)(told.at - text));
        sha_add(&s, l->own[k], l->own_size[k] * sizeof(Word));
      }
    }
  sha_end(&s, out);
}

/* The header but for its padding; *digits: where the digest goes. */
static void put_file_header(const LoomNet *net, Out *out, char **digits) {
  u64 offset = 0;
  put_text(out, "{\"__metadata__\":{\"loom.network\":"), put_string(out, net->document.text), put_text(out, ",\"loom.sha256\":\"");
  *digits = out->at;
  for (int i = 0; i < SHA_DIGITS; i++) put(out, '0');
  put_text(out, "\"}");
  for (u32 i = 0; i < net->document.layers; i++) {
    const Layer *l = net->document.layer + i;
    for (int k = 0; k < l->variant->weights + l->variant->states; k++) {
      const Own *own = own_table + l->variant->first_own + k;
      u64 shape[MOST_RANK];
      own_shape(l, k, shape);
      put_text(out, ",\""), put_text(out, l->name), put(out, '.'), put_text(out, own->name);
      put_text(out, "\":{\"dtype\":\"F32\",\"shape\":"), put_shape(out, shape, own->rank, "[", "]", 0);
      put_text(out, ",\"data_offsets\":["), put_whole(out, offset), put(out, ',');
      put_whole(out, offset += l->own_size[k] * sizeof(Word)), put_text(out, "]}");
    }
  }
  put(out, '}');
}

static u64 header_room(const LoomNet *net) { return 6 * text_length(net->document.text) + 512 + 512 * (u64)numbers_of_own(net); }

static int save_file(LoomNet *net, u8 *out, u64 room, u64 *nbytes) {
  Pool pool = {net->pool.from, 0, 0};
  u64 most = header_room(net);
  char *header = take(&pool, most), *digits;
  if (!header) return failure(net, LOOM_MEMORY, "no memory for the file's header");
  Out text = {header, header, header + most, 0};
  put_file_header(net, &text, &digits);
  while ((text.at - header) & 7) put(&text, ' ');
  u64 wide = (u64)(text.at - header), at = 8 + wide;
  *nbytes = at + net->weight_numbers * sizeof(Word);
  int code = !out || room >= *nbytes ? LOOM_OK : failure(net, LOOM_ARGUMENT, "the memory is too small for the file");
  if (out && !code) {
    Sha s = SHA_START;
    u8 digest[32];
    copy(out, &wide, 8), copy(out + 8, header, wide);
    for (u32 i = 0; i < net->document.layers; i++) {
      const Layer *l = net->document.layer + i;
      for (int k = 0; k < l->variant->weights + l->variant->states; at += l->own_size[k++] * sizeof(Word))
        copy(out + at, l->own[k], l->own_size[k] * sizeof(Word));
    }
    sha_add(&s, out, *nbytes), sha_end(&s, digest);
    char *place = (char *)out + 8 + (digits - header);
    Out told = {place, place, place + SHA_DIGITS, 0};
    put_hex(&told, digest, 32);
  }
  give_back(&pool);
  return code;
}

static Text named_member(Text object, const Layer *l, const Own *own) {
  char name[256];
  Out out = {name, name, name + sizeof name - 1, 0};
  put_text(&out, l->name), put(&out, '.'), put_text(&out, own->name), *out.at = 0;
  return member(object, name);
}

/* Where the elements of an array are in the file, NULL if it has not that array of that shape. */
static const u8 *array_in(Text header, const Layer *l, int k, const u8 *data, u64 nbytes) {
  const Own *own = own_table + l->variant->first_own + k;
  u64 shape[MOST_RANK], from = 0, to = 0, n = 0, value;
  int negative, fits = 1;
  Text about = named_member(header, l, own);
  own_shape(l, k, shape);
  if (!about || *about != '{' || !member(about, "dtype") || !is_text(member(about, "dtype"), "F32")) return 0;
  Text sizes = member(about, "shape"), pair = member(about, "data_offsets");
  if (!sizes || *sizes != '[' || !pair || length_of(pair) != 2) return 0;
  for (Text each = first(sizes); each; each = next(each), n++)
    fits &= n < (u64)own->rank && whole_number(each, &value, &negative) && !negative && value == shape[n];
  fits &= n == (u64)own->rank && whole_number(first(pair), &from, &negative) && !negative;
  fits &= whole_number(next(first(pair)), &to, &negative) && !negative;
  return fits && from <= to && to <= nbytes && to - from == l->own_size[k] * sizeof(Word) ? data + from : 0;
}

static int damaged(const u8 *file, u64 nbytes, Text header, const char *start) {
  static const char zeros[] = "0000000000000000000000000000000000000000000000000000000000000000";
  Text told = member(header, "__metadata__");
  char text[SHA_DIGITS + 1] = {0};
  u8 digest[32];
  Out digits = {text, text, text + SHA_DIGITS, 0};
  told = told && *told == '{' ? member(told, "loom.sha256") : 0;
  if (!told || *told != '"') return 0; /* written by others, who tell none */
  Sha s = SHA_START;
  u64 at = 8 + (u64)(told + 1 - start);
  if (after(told) - told != SHA_DIGITS + 2) return 1;
  sha_add(&s, file, at), sha_add(&s, zeros, SHA_DIGITS), sha_add(&s, file + at + SHA_DIGITS, nbytes - at - SHA_DIGITS);
  sha_end(&s, digest), put_hex(&digits, digest, 32);
  return !is_text(told, text);
}

static int load_file(LoomNet *net, const u8 *file, u64 nbytes) {
  Pool pool = {net->pool.from, 0, 0};
  u64 wide = 0;
  Text where;
  if (nbytes >= 8) copy(&wide, file, 8);
  if (nbytes < 8 || wide > nbytes - 8) return failure(net, LOOM_FILE, "the file is no .safetensors file, or not all of it");
  char *text = take(&pool, wide + 1);
  if (!text) return failure(net, LOOM_MEMORY, "no memory for the file's header");
  copy(text, file + 8, wide);
  int code = is_json(text, &where) && *blank(text) == '{' ? LOOM_OK : failure(net, LOOM_FILE, "the file's header is no JSON");
  if (!code && damaged(file, nbytes, blank(text), text)) code = failure(net, LOOM_FILE, "the file is damaged: its SHA-256 is another");
  const u8 *data = file + 8 + wide;
  for (int take_over_now = 0; take_over_now < 2 && !code; take_over_now++)
    for (u32 i = 0; i < net->document.layers && !code; i++) {
      Layer *l = net->document.layer + i;
      for (int k = 0; k < l->variant->weights + l->variant->states && !code; k++) {
        const u8 *from = array_in(blank(text), l, k, data, nbytes - 8 - wide);
        if (!from) code = failure(net, LOOM_FILE, "the file is of another network: a weight is missing, or has another shape");
        else if (take_over_now) copy(l->own[k], from, l->own_size[k] * sizeof(Word));
      }
    }
  give_back(&pool);
  net->course.is_begun = 0;
  return code;
}
