/* Tensors by name. */

static const Tensor *tensor_of(const char *name) {
  for (u32 i = 0; name && i < TENSORS; i++)
    if (same_text(name, tensors[i].name)) return tensors + i;
  return 0;
}

/* How far a training is: epochs, updates, epochs since the best, whether it is over, the best loss, batches of the epoch. */

static int is_progress(const char *name) { return TRAINS && same_text(name, "training/progress"); }

static int write_progress(const struct NET *net, u8 *at) {
  u64 words[PROGRESS] = {net->epoch, net->updates, net->stale, net->over};
  copy(words + 4, &net->best, 8);
  copy(at, words, sizeof words);
  return LOOM_OK;
}

static int read_progress(struct NET *net, const void *at) {
  u64 words[PROGRESS];
  copy(words, at, sizeof words);
  if (words[0] >> 31 || words[1] >> 62 || words[2] >> 31 || words[3] > 1 || words[5]) return LOOM_FOREIGN;
  net->epoch = words[0], net->updates = words[1], net->stale = words[2], net->over = words[3];
  copy(&net->best, words + 4, 8);
  return LOOM_OK;
}

int LOOM(read)(const struct NET *net, const char *name, void *out, size_t nbytes) {
  const Tensor *found = tensor_of(name);
  if (!is_open(net)) return LOOM_NOT_OPEN;
  if (!name || !out) return LOOM_NULL;
  if (is_progress(name)) return nbytes == 8 * PROGRESS ? write_progress(net, out) : LOOM_SIZE;
  if (!found) return LOOM_NO_TENSOR;
  if (nbytes != found->nbytes) return LOOM_SIZE;
  copy(out, net->image + found->offset, found->nbytes);
  return LOOM_OK;
}

int LOOM(write)(struct NET *net, const char *name, const void *data, size_t nbytes) {
  const Tensor *found = tensor_of(name);
  if (!is_open(net)) return LOOM_NOT_OPEN;
  if (!name || !data) return LOOM_NULL;
  if (is_progress(name)) return nbytes == 8 * PROGRESS ? read_progress(net, data) : LOOM_SIZE;
  if (!found) return LOOM_NO_TENSOR;
  if (nbytes != found->nbytes) return LOOM_SIZE;
  if (!are_finite(data, found->nbytes / found->element, found->kind)) return LOOM_NOT_FINITE;
  copy(net->image + found->offset, data, found->nbytes);
  return LOOM_OK;
}

int LOOM(digest)(const struct NET *net, uint8_t out[32]) {
  Sha s = SHA_START;
  if (!is_open(net)) return LOOM_NOT_OPEN;
  if (!out) return LOOM_NULL;
  for (u32 i = 0; i < TENSORS; i++) {
    const char *about = tensors[i].told;
    if (!about) continue;
    u64 n = 0;
    while (about[n]) n++;
    sha_add(&s, about, n);
    sha_add(&s, net->image + tensors[i].offset, tensors[i].nbytes);
  }
  sha_end(&s, out);
  return LOOM_OK;
}

/* Saving: a .safetensors file as Loom writes it, of which everything is known beforehand but the elements, how far the
 * training is, and the digest: 64 digits in the header, which count as zeros in what it is of. */

enum { DIGITS = 64 };

static u64 saved_nbytes(void) { return SAVED_HEADER_NBYTES + SAVED_NBYTES; }

static void digits_of(const u8 *file, u64 nbytes, u64 at, u8 out[DIGITS]) {
  static const char hex[] = "0123456789abcdef", zeros[] = "0000000000000000000000000000000000000000000000000000000000000000";
  Sha s = SHA_START;
  u8 digest[32];
  sha_add(&s, file, at), sha_add(&s, zeros, DIGITS), sha_add(&s, file + at + DIGITS, nbytes - at - DIGITS);
  sha_end(&s, digest);
  for (int i = 0; i < DIGITS; i++) out[i] = (u8)hex[digest[i / 2] >> (i & 1 ? 0 : 4) & 15];
}

/* Writes the digest of a saved file into it; the functions with JSON texts put weights there. */
void LOOM(seal)(void *file) {
  u8 digits[DIGITS];
  digits_of(file, saved_nbytes(), DIGEST_AT, digits);
  copy((u8 *)file + DIGEST_AT, digits, DIGITS);
}

/* bf16 of a weight is the f32 of the same number there. */
static u64 nbytes_in_file(const Tensor *t) { return t->is_wide ? 2 * t->nbytes : t->nbytes; }

int LOOM(save)(const struct NET *net, void *out, size_t capacity, size_t *written) {
  if (!is_open(net)) return LOOM_NOT_OPEN;
  if (!written || (!out && capacity)) return LOOM_NULL;
  *written = (size_t)saved_nbytes();
  if (!out) return LOOM_OK; /* how much it takes was asked */
  if (capacity < saved_nbytes()) return LOOM_TOO_SMALL;
  if (!all_finite(net->image)) return LOOM_NOT_FINITE;
  copy(out, saved_header, SAVED_HEADER_NBYTES);
  u8 *at = (u8 *)out + SAVED_HEADER_NBYTES;
  for (u32 i = 0; i < TENSORS; i++) {
    const u8 *from = net->image + tensors[i].offset;
    u8 *to = at + tensors[i].saved;
    if (!tensors[i].is_wide) copy(to, from, tensors[i].nbytes);
    for (u64 k = 0; tensors[i].is_wide && k < tensors[i].nbytes; k += 2)
      to[2 * k] = to[2 * k + 1] = 0, to[2 * k + 2] = from[k], to[2 * k + 3] = from[k + 1];
  }
  if (TRAINS) write_progress(net, at + SAVED_NBYTES - 8 * PROGRESS);
  LOOM(seal)(out);
  return LOOM_OK;
}

/* The JSON of a file's header, of which nothing is believed: every look has an end. */

typedef struct { const u8 *at, *end; } Span;

static const Span NOTHING = {0, 0};

static u64 length_of_span(Span s) { return (u64)(s.end - s.at); }

static int same_span(Span a, Span b) { return length_of_span(a) == length_of_span(b) && same(a.at, b.at, length_of_span(a)); }

static int is_next(Span *s, u8 wanted) { /* after blanks; it is taken then */
  while (s->at < s->end && (*s->at == ' ' || *s->at == '\n' || *s->at == '\r' || *s->at == '\t')) s->at++;
  if (s->at == s->end || *s->at != wanted) return 0;
  s->at++;
  return 1;
}

static Span take_value(Span *s) {
  is_next(s, 0);
  Span found = {s->at, s->at};
  u64 depth = 0;
  for (; s->at < s->end; s->at++) {
    u8 c = *s->at;
    if (c == '"') {
      for (s->at++; s->at < s->end && *s->at != '"'; s->at++)
        if (*s->at == '\\' && ++s->at == s->end) return found;
      if (s->at == s->end) return found;
    } else if (c == '{' || c == '[') {
      depth++;
    } else if (c == '}' || c == ']') {
      if (!depth) break; /* of what it is in */
      depth--;
    } else {
      if (!depth && (c == ',' || c == ':')) break;
      continue;
    }
    if (!depth) {
      s->at++;
      break;
    }
  }
  found.end = s->at;
  return found;
}

/* Takes the next name and its value of what is within an object. */
static int take_member(Span *s, Span *name, Span *value) {
  is_next(s, ',');
  *name = take_value(s);
  if (name->at == name->end || !is_next(s, ':')) return 0;
  *value = take_value(s);
  return value->at < value->end;
}

typedef struct { Span all, left; } Members; /* the next that is looked for often comes next */

static Members members_of(Span object) {
  Members found = {object, object};
  if (!is_next(&found.all, '{')) found.all = NOTHING;
  found.left = found.all;
  return found;
}

/* The value of a name, given as JSON that has `before` more at its beginning. */
static Span find(Members *m, const char *before, Span key) {
  Span name, value;
  u64 more = 0;
  while (before[more]) more++;
  for (int turn = 0; turn < 2; turn++, m->left = m->all)
    while (take_member(&m->left, &name, &value)) {
      if (length_of_span(name) != length_of_span(key) + more || !same(name.at + 1, before, more)) continue;
      if (same(name.at + 1 + more, key.at + 1, length_of_span(key) - 1)) return value;
    }
  return NOTHING;
}

static Span find_text(Members *m, const char *key) {
  Span name = {(const u8 *)key, (const u8 *)key};
  while (*name.end) name.end++;
  return find(m, "", name);
}

/* A file: its header's members, those of the metadata, and the elements. */
typedef struct { Members tensors, metadata; Span body; } File;

static int open_file(const u8 *data, u64 nbytes, File *out) {
  u64 header = 0;
  if (nbytes < 8) return 0;
  copy(&header, data, 8);
  if (header > nbytes - 8) return 0;
  Span text = {data + 8, data + 8 + header};
  out->tensors = members_of(text);
  out->metadata = members_of(find_text(&out->tensors, "\"__metadata__\""));
  out->body.at = text.end, out->body.end = data + nbytes;
  return 1;
}

static u64 whole(Span *s) {
  u64 n = 0;
  while (s->at < s->end && *s->at >= '0' && *s->at <= '9' && n < (u64)1 << 58) n = 10 * n + (u64)(*s->at++ - '0');
  return n;
}

/* Where so many elements of a file are, if they are described as ours; 0 if not. */
static const u8 *elements(const File *file, Span ours, Span theirs, u64 nbytes) {
  u64 n = length_of_span(ours);
  while (n && ours.at[n - 1] != '[') n--; /* "data_offsets":[ */
  if (length_of_span(theirs) < n || !same(ours.at, theirs.at, n)) return 0;
  theirs.at += n;
  u64 from = whole(&theirs);
  if (!is_next(&theirs, ',')) return 0;
  u64 to = whole(&theirs);
  if (!is_next(&theirs, ']') || from > to || to - from != nbytes || to > length_of_span(file->body)) return 0;
  return file->body.at + from;
}

/* What a file says of a training: nothing (0), another's (-1), or that it goes on from here (1). */
typedef struct { u64 words[PROGRESS]; int goes_on; } Progress;

static int progress_in(File *file, File *own, Progress *out) {
  Span settings = find_text(&file->metadata, "\"loom.settings\"");
  out->goes_on = TRAINS && settings.at;
  if (!out->goes_on) return LOOM_OK;
  if (!same_span(settings, find_text(&own->metadata, "\"loom.settings\""))) return LOOM_FOREIGN;
  static const char key[] = "\"training/progress\"";
  const u8 *at = elements(file, find_text(&own->tensors, key), find_text(&file->tensors, key), 8 * PROGRESS);
  if (!at) return LOOM_FOREIGN;
  u64 *words = out->words;
  copy(words, at, 8 * PROGRESS);
  struct NET tried;
  if (read_progress(&tried, words)) return LOOM_FOREIGN;
#if PATIENT
  words[3] |= words[0] >= EPOCHS; /* then weights are the best already */
#endif
  return LOOM_OK;
}

static int begins(const char *text, const char *with) {
  while (*with && *text == *with) text++, with++;
  return !*with;
}

/* The elements of a tensor in a file; 0 where it stays as it begins, or, with `missing`, where they have to be there. */
static const u8 *tensor_in(File *file, const Tensor *t, Span name, Span ours, const Progress *progress, int *missing) {
  Span last = NOTHING, theirs = NOTHING;
  *missing = 0;
  if (TRAINS && !t->told && !progress->goes_on) return 0;
  if (t->told && progress->goes_on && !progress->words[3]) /* those of the last epoch, where others were put back */
    last = find(&file->tensors, "training/weights/", name);
  theirs = last.at ? last : find(&file->tensors, "", name);
  if (!theirs.at && !t->told && !progress->words[0] && begins(t->name, "best/")) return 0;
  const u8 *at = elements(file, ours, theirs, nbytes_in_file(t));
  *missing = !at;
  return at;
}

static int is_narrow(const u8 *at, u64 nbytes) { /* f32 that are bf16 */
  for (u64 k = 0; k < nbytes; k += 4)
    if (at[k] | at[k + 1]) return 0;
  return 1;
}

/* Looks at the tensors of a file, or puts them into the net. */
static int take_tensors(struct NET *net, File *file, File *own, const Progress *progress, int are_put) {
  Span name, ours;
  Span left = own->tensors.all; /* as in the table, after the metadata */
  take_member(&left, &name, &ours);
  for (u32 i = 0; i < TENSORS && take_member(&left, &name, &ours); i++) {
    const Tensor *t = tensors + i;
    int missing;
    const u8 *at = tensor_in(file, t, name, ours, progress, &missing);
    u64 nbytes = nbytes_in_file(t);
    if (missing) return LOOM_FOREIGN;
    if (!at) continue;
    if (!are_put) {
      if (t->is_wide && !is_narrow(at, nbytes)) return LOOM_FOREIGN;
      if (!are_finite(at, t->nbytes / t->element, t->is_wide ? F32 : t->kind)) return LOOM_NOT_FINITE;
    } else if (t->is_wide) {
      u8 *to = net->image + t->offset;
      for (u64 k = 0; k < t->nbytes; k += 2) to[k] = at[2 * k + 2], to[k + 1] = at[2 * k + 3];
    } else {
      copy(net->image + t->offset, at, nbytes);
    }
  }
  return LOOM_OK;
}

static int look(struct NET *net, const u8 *data, u64 nbytes, File *file, File *own, Progress *progress) {
  u8 digits[DIGITS];
  open_file((const u8 *)saved_header, SAVED_HEADER_NBYTES, own);
  if (!open_file(data, nbytes, file)) return LOOM_SIZE;
  if (nbytes != saved_nbytes() && nbytes > DIGEST_AT && same(data, saved_header, DIGEST_AT)) return LOOM_SIZE;
  Span digest = find_text(&file->metadata, "\"loom.sha256\"");
  if (length_of_span(digest) != DIGITS + 2) return LOOM_FOREIGN;
  digits_of(data, nbytes, (u64)(digest.at + 1 - data), digits);
  if (!same(digits, digest.at + 1, DIGITS)) return LOOM_DAMAGED;
  if (!same_span(find_text(&file->metadata, IDENTITY), find_text(&own->metadata, IDENTITY))) return LOOM_FOREIGN;
  int code = progress_in(file, own, progress);
  return code ? code : take_tensors(net, file, own, progress, 0);
}

int LOOM(load)(struct NET *net, const void *data, size_t nbytes) {
  File file, own;
  Progress progress = {{0}, 0};
  if (!is_open(net)) return LOOM_NOT_OPEN;
  if (!data) return LOOM_NULL;
  int code = look(net, data, nbytes, &file, &own, &progress);
  if (code) return code;
  LOOM(reset)(net);
  take_tensors(net, &file, &own, &progress, 1);
  return read_progress(net, progress.words);
}

const char *LOOM(manifest)(void) { return manifest; }

const char *LOOM(message)(int code) {
  return code < 0 || code >= LOOM_CODES ? "no such code" : messages[code];
}
