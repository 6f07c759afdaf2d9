/* Documents: read as src/loom/nn/spec/reader.py reads them, with the same places and texts of what is wrong. The first
 * problem is told; what the library has not is told if nothing is wrong. */

typedef struct Step_ { const struct Step_ *above; Text key; const char *plain; u64 index; } Step; /* key, plain, or index */

typedef struct { int code; char path[512], text[1024]; } Error;

static Step at_key(const Step *above, Text key) {
  Step found = {above, key, 0, 0};
  return found;
}

static Step at_plain(const Step *above, const char *plain) {
  Step found = {above, 0, plain, 0};
  return found;
}

static Step at_index(const Step *above, u64 index) {
  Step found = {above, 0, 0, index};
  return found;
}

/* Texts as Python shows them. */

enum { MOST_SHOWN = 60 };

static void put_shown(Out *out, Text string) {
  u64 characters = 0, shown = 0;
  int quote = '\'', has_single = 0, has_double = 0;
  Spelled s = spelled(string);
  for (int c; (c = byte_of(&s)) >= 0;)
    characters += (c & 0xc0) != 0x80, has_single |= c == '\'', has_double |= c == '"';
  if (has_single && !has_double) quote = '"';
  put(out, (char)quote);
  s = spelled(string);
  for (int c; (c = byte_of(&s)) >= 0;) {
    shown += (c & 0xc0) != 0x80;
    if (characters > MOST_SHOWN && shown > MOST_SHOWN - 3) break;
    u8 byte = (u8)c;
    if (c == quote || c == '\\') put(out, '\\'), put(out, (char)c);
    else if (c == '\n') put_text(out, "\\n");
    else if (c == '\r') put_text(out, "\\r");
    else if (c == '\t') put_text(out, "\\t");
    else if (c < 0x20 || c == 0x7f) put_text(out, "\\x"), put_hex(out, &byte, 1);
    else put(out, (char)c);
  }
  if (characters > MOST_SHOWN) put_text(out, "...");
  put(out, (char)quote);
}

static int is_whole(Text number) {
  for (; *number == '-' || is_digit(*number); number++) {}
  return *number != '.' && *number != 'e' && *number != 'E';
}

static void put_brief(Out *out, Text value) {
  u64 n = 0;
  value = blank(value);
  if (*value == '"') {
    put_shown(out, value);
  } else if (*value == '[') {
    put_text(out, "a list of "), put_whole(out, length_of(value));
  } else if (*value == '{') {
    for (Text key = first(value); key; key = next_key(key)) n++;
    put_text(out, "an object with "), put_whole(out, n), put_text(out, n == 1 ? " key" : " keys");
  } else if (*value == '-' || is_digit(*value)) {
    if (!is_whole(value)) put_double(out, double_of(number_bits(DOUBLE, value)));
    else if (*value == '-' && value[1] == '0') put(out, '0');
    else for (Text end = after(value); value < end; value++) put(out, *value);
  } else {
    for (Text end = after(value); value < end; value++) put(out, *value);
  }
}

static void put_path(Out *out, const Step *step) {
  if (!step) {
    put(out, '$');
    return;
  }
  put_path(out, step->above);
  if (step->plain) {
    put(out, '.'), put_text(out, step->plain);
  } else if (!step->key) {
    put(out, '['), put_whole(out, step->index), put(out, ']');
  } else {
    int is_name = 1, count = 0;
    Spelled s = spelled(step->key);
    for (int c; (c = byte_of(&s)) >= 0; count++) {
      int letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
      is_name &= letter || (count ? is_digit((char)c) : c == '$');
    }
    if (is_name && count) {
      put(out, '.'), s = spelled(step->key);
      for (int c; (c = byte_of(&s)) >= 0;) put(out, (char)c);
    } else {
      put(out, '['), put_shown(out, step->key), put(out, ']');
    }
  }
}

/* Notes a problem; always 0. name: what stands for % in the text, or NULL; got: a value of the document, or NULL. */
static int problem(Error *error, int code, const Step *at, const char *what, Text name, const char *expected, Text got) {
  Out path = {error->path, error->path, error->path + sizeof error->path - 1, 0};
  Out text = {error->text, error->text, error->text + sizeof error->text - 1, 0};
  if (error->code == LOOM_DOCUMENT || (error->code && code == LOOM_ABSENT)) return 0;
  error->code = code;
  put_path(&path, at), *path.at = 0;
  put_path(&text, at), put_text(&text, ": ");
  for (; *what; what++) {
    if (*what == '%' && name) put_shown(&text, name);
    else put(&text, *what);
  }
  if (expected) put_text(&text, ": expected "), put_text(&text, expected);
  if (got) put_text(&text, expected ? ", got " : ": got "), put_brief(&text, got);
  *text.at = 0;
  return 0;
}

static int wrong(Error *error, const Step *at, const char *expected, Text got) {
  return problem(error, LOOM_DOCUMENT, at, "unusable value", 0, expected, got);
}

/* What is right, and that the library has not: told at the end. Always 1. */
static int absent(Error *error, const Step *at, const char *what) {
  if (!error->code) problem(error, LOOM_ABSENT, at, what, 0, 0, 0);
  return 1;
}

static int put_failure(Error *error, int code, const char *what) {
  Out text = {error->text, error->text, error->text + sizeof error->text - 1, 0};
  error->code = code, error->path[0] = 0;
  put_text(&text, what), *text.at = 0;
  return code;
}

/* The whole document is looked at before anything is read: keys twice, numbers that are none. */
static int examined(Error *error, Text value, const Step *here) {
  value = blank(value);
  if (*value == '{') {
    for (Text key = first(value); key; key = next_key(key))
      for (Text other = next_key(key); other; other = next_key(other))
        if (same_strings(key, other)) return problem(error, LOOM_DOCUMENT, here, "key % occurs more than once", key, 0, 0);
    for (Text key = first(value); key; key = next_key(key)) {
      Step within = at_key(here, key);
      if (!examined(error, value_of(key), &within)) return 0;
    }
  } else if (*value == '[') {
    u64 i = 0;
    for (Text each = first(value); each; each = next(each)) {
      Step within = at_index(here, i++);
      if (!examined(error, each, &within)) return 0;
    }
  } else if ((*value == '-' || is_digit(*value)) && !is_whole(value) && bits_are_infinite(DOUBLE, number_bits(DOUBLE, value))) {
    return problem(error, LOOM_DOCUMENT, here, "not a finite number", 0, 0, value);
  }
  return 1;
}

/* Fields. */

static u64 characters_of(Text string) {
  u64 n = 0;
  Spelled s = spelled(string);
  for (int c; (c = byte_of(&s)) >= 0;) n += (c & 0xc0) != 0x80;
  return n;
}

static int holds_whole(const Field *f, Text value, double *out) {
  u64 size;
  int negative;
  if ((*value != '-' && !is_digit(*value)) || !whole_number(value, &size, &negative)) return 0;
  *out = negative ? -(double)size : (double)size;
  if (negative && size) return f->low < 0 && size <= (u64) - f->low;
  return (f->low <= 0 || size >= (u64)f->low) && size <= f->high;
}

static int holds_real(const Field *f, Text value, double *out) {
  if (*value != '-' && !is_digit(*value)) return 0;
  double x = double_of(number_bits(DOUBLE, value));
  *out = x;
  if (!(x >= -1e308 && x <= 1e308)) return 0;
  return (!(f->limits & 1) || x >= f->least) && (!(f->limits & 2) || x > f->least) && (!(f->limits & 4) || x <= f->most) &&
         (!(f->limits & 8) || x < f->most);
}

/* The number of a name, -1 if it is none. */
static int name_number(const Field *f, Text value) {
  for (int i = 0; i < f->names; i++)
    if (is_text(value, name_table[f->first_name + i])) return i;
  return -1;
}

static int read_list(Error *error, const Field *f, Text value, const Step *here) {
  u64 i = 0;
  double unused;
  if (*value != '[') return wrong(error, here, f->expected, value);
  for (Text each = first(value); each; each = next(each)) {
    Step within = at_index(here, i++);
    int holds = f->rule == RULE_SIZES ? holds_whole(f, each, &unused) : *each == '"' && characters_of(each) <= f->high;
    if (!holds) return wrong(error, &within, f->each, each);
  }
  return 1;
}

/* Reads a field's value as a number: of names and truths which of them. 0: a problem was noted. */
static int read_field(Error *error, const Field *f, Text value, const Step *here, double *out) {
  int number;
  value = blank(value);
  switch (f->rule) {
    case RULE_WHOLE: return holds_whole(f, value, out) ? 1 : wrong(error, here, f->expected, value);
    case RULE_REAL: return holds_real(f, value, out) ? 1 : wrong(error, here, f->expected, value);
    case RULE_FLAG:
      *out = *value == 't';
      return *value == 't' || *value == 'f' ? 1 : wrong(error, here, f->expected, value);
    case RULE_CHOICE: case RULE_ELEMENT:
      if (*value != '"') return wrong(error, here, f->expected, value);
      *out = number = name_number(f, value);
      if (number >= 0) return 1;
      return problem(error, LOOM_DOCUMENT, here, f->rule == RULE_CHOICE ? "unknown name %" : "unknown dtype %", value, 0, 0);
    case RULE_TEXT:
      return *value == '"' && characters_of(value) <= f->high ? 1 : wrong(error, here, f->expected, value);
    case RULE_FREE: return *value == '{' ? 1 : wrong(error, here, f->expected, value);
    case RULE_LAYERS: /* which the caller reads */
      return *value == '[' && length_of(value) >= f->low ? 1 : wrong(error, here, f->expected, value);
    case RULE_SIZES: case RULE_TEXTS: return read_list(error, f, value, here);
    default: return absent(error, here, "the library has not this key");
  }
}

static int is_among(Text key, const char *const *names) {
  for (; names && *names; names++)
    if (is_text(key, *names)) return 1;
  return 0;
}

/* Reads an object's fields to numbers; `besides`: keys that the caller reads. */
static int read_fields(Error *error, const Field *fields, int count, const char *const *besides, Text object,
                       const Step *here, double *out) {
  static const char *const ignored[] = {"comment", "$comment", 0};
  object = blank(object);
  if (*object != '{') return wrong(error, here, "an object", object);
  for (Text key = first(object); key; key = next_key(key)) {
    int known = is_among(key, besides) || is_among(key, ignored);
    for (int i = 0; i < count && !known; i++) known = is_text(key, fields[i].name);
    Step within = at_key(here, key);
    if (!known) return problem(error, LOOM_DOCUMENT, &within, "unknown key %", key, 0, 0);
  }
  for (int i = 0; i < count; i++) {
    Text value = member(object, fields[i].name);
    Step within = at_plain(here, fields[i].name);
    out[i] = fields[i].fallback;
    if (value && !read_field(error, fields + i, value, &within, out + i)) return 0;
  }
  for (int i = 0; i < count; i++)
    if (fields[i].is_required && !member(object, fields[i].name))
      return problem(error, LOOM_DOCUMENT, here, fields[i].missing, 0, fields[i].expected, 0);
  return 1;
}
