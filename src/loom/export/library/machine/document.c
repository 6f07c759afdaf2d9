/* A network of a document: its layers, their shapes, arrays and meanings. */

typedef struct {
  const Kind *kind;
  const Variant *variant;
  double symbols[MOST_SYMBOLS], fields[MOST_FIELDS];
  u64 in_shape[MOST_RANK], out_shape[MOST_RANK];
  int in_rank, out_rank, is_frozen, meaning;
  u64 width; /* of a meaning of distributions */
  char name[128];
  Word *own[MOST_OWN];
  u64 own_size[MOST_OWN];
  u32 number;         /* of its first weight among all */
  u32 own_number;     /* of its first array, states too, among all */
  u64 own_offset;     /* numbers of all arrays before */
  u32 end, last_part; /* after the layers that it holds; the last one of its own */
  u32 before;         /* the layer before in its list, NO_LAYER of the first */
  u64 place;          /* in the list */
} Layer;

enum { NO_LAYER = 0x7fffffff };

typedef struct {
  u64 seed, batch_size, input_shape[MOST_RANK];
  int input_rank;
  u32 layers, last; /* of all, those that are held too; the last one of the network's own */
  Layer *layer;
  Text text, classes;
} Document;

enum { MOST_LAYERS = 10000 };

static const char *const node_keys[] = {"type", "name", "inputs", "cell", 0};
static const char *const held_keys[] = {"type", 0};

static double elements_of(const u64 *shape, int rank) {
  double total = 1;
  for (int a = 0; a < rank; a++) total *= (double)shape[a];
  return total;
}

static int read_name(Error *error, Document *d, Text layer, const Step *here, u64 i) {
  Layer *l = d->layer + i;
  Text value = *layer == '{' ? member(layer, "name") : 0;
  Out name = {l->name, l->name, l->name + sizeof l->name - 1, 0};
  Step at = at_plain(here, "name");
  if (value) {
    int count = 0, fits = *value == '"';
    Spelled s = spelled(value);
    for (int c; fits && (c = byte_of(&s)) >= 0; count++) {
      int letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
      fits = letter || (count && (is_digit((char)c) || c == '-'));
      put(&name, (char)c);
    }
    if (!fits || !count || count > 100) return wrong(error, &at, NAME_EXPECTED, value);
  } else {
    put_text(&name, "layers."), put_whole(&name, i);
  }
  *name.at = 0;
  for (u64 k = 0; k < i && value; k++)
    if (same_text(d->layer[k].name, l->name))
      return problem(error, LOOM_DOCUMENT, &at, "another layer is called %", value, 0, 0);
  return 1;
}

static const Kind *kind_of(Text type) {
  for (u32 i = 0; i < KINDS; i++)
    if (is_text(type, kind_table[i].name)) return kind_table + i;
  return 0;
}

/* Which variant the fields choose, -1 for one that the library has not; for no axes, to which those are added. */
static int variant_number(const Kind *kind, const double *fields) {
  int found = 0;
  for (int i = 0; i < kind->options; i++) {
    const Option *o = option_table + kind->first_option + i;
    double value = fields[o->field];
    int choice = (int)value;
    if (o->how == OPTION_NAMES) {
      choice = choice_table[o->first + choice];
    } else if (o->how == OPTION_SPECIAL) {
      for (choice = 0; choice < o->count - 1 && special_table[o->first + choice] != value; choice++) {}
    }
    if (choice < 0) return -1;
    found = found * o->count + choice;
  }
  return found * (MOST_AXES + 1 - kind->least_axes);
}

static int read_layer(Error *error, Document *d, Text value, const Step *here, u32 above, u64 place);

/* Reads the layers that a layer holds; they stand after it. */
static int read_held(Error *error, Document *d, Text list, const Step *here, u32 above) {
  Step layers_at = at_plain(here, "layers");
  u64 place = 0;
  u32 before = NO_LAYER;
  for (Text each = first(list); each; each = next(each), place++) {
    Step at = at_index(&layers_at, place);
    u32 own = d->layers;
    if (!read_layer(error, d, each, &at, above, place)) return 0;
    d->layer[own].before = before;
    d->layer[above].last_part = before = own;
  }
  d->layer[above].end = d->layers;
  return 1;
}

/* Reads a layer of the network's list, or (above: not NO_LAYER) one that is held. */
static int read_layer(Error *error, Document *d, Text value, const Step *here, u32 above, u64 place) {
  u32 own = d->layers++;
  Layer *l = d->layer + own;
  Step type_at = at_plain(here, "type"), ref_at = at_plain(here, "$ref");
  l->end = own + 1, l->place = place;
  if (*value != '{') return wrong(error, here, "a layer object", value);
  if (member(value, "$ref")) return absent(error, &ref_at, "the library has no shared layers");
  Text type = member(value, "type");
  if (!type || *type != '"') return problem(error, LOOM_DOCUMENT, type ? &type_at : here, "a layer has no type", 0, 0, type);
  l->kind = kind_of(type);
  if (!l->kind) {
    for (u32 k = 0; k < OTHER_KINDS; k++)
      if (is_text(type, other_kinds[k])) return absent(error, &type_at, "the library has not this kind of layer");
    return problem(error, LOOM_DOCUMENT, &type_at, "unknown layer type %", type, 0, 0);
  }
  const Kind *kind = l->kind;
  if (above != NO_LAYER) {
    Out name = {l->name, l->name, l->name + sizeof l->name - 1, 0};
    put_text(&name, d->layer[above].name), put_text(&name, ".layers."), put_whole(&name, place), *name.at = 0;
    if (name.full) return absent(error, here, "the library has no names so long");
  }
  if (!read_fields(error, field_table + kind->first_field, kind->fields, above == NO_LAYER ? node_keys : held_keys, value, here,
                   l->fields))
    return 0;
  if (above != NO_LAYER && d->layer[above].is_frozen) l->fields[kind->frozen] = 1;
  l->is_frozen = l->fields[kind->frozen] != 0;
  if (kind->holds && !read_held(error, d, member(value, "layers"), here, own)) return 0;
  int number = variant_number(kind, l->fields);
  if (number < 0) {
    l->kind = 0;
    return absent(error, here, "the library has not these options of the layer");
  }
  l->variant = variant_table + kind->first_variant + number; /* of the fewest axes */
  if (l->variant->problem && l->variant->is_of_fields) {
    Step at = at_plain(here, l->variant->problem_key);
    return problem(error, LOOM_DOCUMENT, &at, l->variant->problem, 0, 0, 0);
  }
  Step inputs_at = at_plain(here, "inputs"), cell_at = at_plain(here, "cell");
  if (member(value, "inputs"))
    return problem(error, LOOM_DOCUMENT, &inputs_at, "layers of a list take the layer before", 0, 0, 0);
  if (member(value, "cell")) return absent(error, &cell_at, "the library has no grids");
  return 1;
}

static int too_large(Error *error, const Step *here, const char *what, Text got) {
  return problem(error, LOOM_DOCUMENT, here, what, 0, "at most 1099511627776 elements", got);
}

/* What a layer is given: shape and meaning. */
typedef struct { u64 shape[MOST_RANK], width; int rank, meaning; } Given_;

static int fit_layer(Error *error, Document *d, u32 i, const Step *here, u32 *arrays, Given_ *given);

/* Fits the layers that a layer holds, and what is made of theirs. */
static int fit_held(Error *error, Document *d, Layer *l, const Step *here, u32 *arrays, const Given_ *given) {
  Step layers_at = at_plain(here, "layers");
  Given_ inner;
  copy(&inner, given, sizeof inner);
  for (u32 i = (u32)(l - d->layer) + 1; i < l->end; i = d->layer[i].end) {
    Step at = at_index(&layers_at, d->layer[i].place);
    if (!fit_layer(error, d, i, &at, arrays, &inner)) return 0;
  }
  if (l->kind->holds == HOLDS_ADDED) {
    int same = inner.rank == given->rank;
    for (int a = 0; a < inner.rank && same; a++) same = inner.shape[a] == given->shape[a];
    if (!same) return problem(error, LOOM_DOCUMENT, here, "what is added has another shape than the input", 0, 0, 0);
    inner.meaning = added_meaning[given->meaning * 4 + inner.meaning], inner.width = 0;
  }
  l->out_rank = inner.rank, l->meaning = inner.meaning, l->width = inner.width;
  copy(l->out_shape, inner.shape, sizeof l->out_shape);
  return 1;
}

/* Shapes, arrays and meaning of a layer; *given becomes what it gives. */
static int fit_layer(Error *error, Document *d, u32 i, const Step *here, u32 *arrays, Given_ *given) {
  Layer *l = d->layer + i;
  const Kind *kind = l->kind;
  if (!kind) return 0; /* told already */
  l->in_rank = given->rank;
  copy(l->in_shape, given->shape, sizeof l->in_shape);
  if (l->in_rank > MOST_AXES) return absent(error, here, "the library has no samples of so many axes"), 0;
  if (l->in_rank < kind->least_axes) return absent(error, here, "the library has no samples of so few axes"), 0;
  l->variant += l->in_rank - kind->least_axes;
  const Variant *v = l->variant;
  if (v->problem && v->problem_key) {
    Step at = at_plain(here, v->problem_key);
    return problem(error, LOOM_DOCUMENT, &at, v->problem, 0, 0, 0);
  }
  if (v->problem) return problem(error, LOOM_DOCUMENT, here, v->problem, 0, v->problem_expected, 0);
  for (int a = 0; a < l->in_rank; a++) l->symbols[AXIS_SYMBOLS + a] = (double)l->in_shape[a];
  for (int f = 0; f < kind->fields; f++) l->symbols[FIELD_SYMBOLS + f] = l->fields[f];
  for (int c = 0; c < kind->checks; c++) {
    const Check *check = check_table + kind->first_check + c;
    double met = (double)l->in_shape[check->axis < 0 ? l->in_rank + check->axis : check->axis];
    Step at = at_plain(here, field_table[kind->first_field + check->field].name);
    if (l->fields[check->field] != NOT_GIVEN && l->fields[check->field] != met)
      return problem(error, LOOM_DOCUMENT, &at, check->what, 0, 0, 0);
  }
  if (kind->holds) {
    if (!fit_held(error, d, l, here, arrays, given)) return 0;
    given->rank = l->out_rank, given->meaning = l->meaning, given->width = l->width;
    copy(given->shape, l->out_shape, sizeof given->shape);
    return 1;
  }
  l->out_rank = v->rank;
  double wide = 1;
  for (int a = 0; a < v->rank; a++) {
    l->out_shape[a] = size_told(v->shape[a], l->symbols);
    wide *= evaluated(v->shape[a], l->symbols);
  }
  if (wide > 1099511627776.0) return too_large(error, here, "the output is too large", 0);
  l->number = *arrays, *arrays += v->weights;
  for (int k = 0; k < v->weights + v->states; k++) {
    const Own *own = own_table + v->first_own + k;
    double size = 1;
    for (int a = 0; a < own->rank; a++) size *= evaluated(own->shape[a], l->symbols);
    if (size > 1099511627776.0) return too_large(error, here, own->too_large, 0);
    l->own_size[k] = (u64)size;
  }
  l->meaning = v->meaning[given->meaning];
  l->width = v->width[given->meaning] < 0 ? given->width : size_told(v->width[given->meaning], l->symbols);
  given->rank = l->out_rank, given->meaning = l->meaning, given->width = l->width;
  copy(given->shape, l->out_shape, sizeof given->shape);
  return 1;
}

static int read_input(Error *error, Document *d, Text top) {
  double out[INPUT_FIELDS];
  Step here = at_plain(0, "input"), shape_at = at_plain(&here, "shape"), dtype_at = at_plain(&here, "dtype");
  Step several_at = at_plain(0, "inputs"), length_at = at_plain(&here, "variable_length");
  Text value = member(top, "input"), shape;
  if (!value == !member(top, "inputs"))
    return problem(error, LOOM_DOCUMENT, 0, "a network has either 'input' or 'inputs'", 0, 0, 0);
  if (!value) return absent(error, &several_at, "the library has no networks of named inputs"), 0;
  shape = *value == '{' ? member(value, "shape") : 0;
  for (Text each = shape && *shape == '[' ? first(shape) : 0; each; each = next(each))
    if (*each == 'n') return problem(error, LOOM_DOCUMENT, &shape_at, "a size is null", 0, 0, 0);
  if (!read_fields(error, input_fields, INPUT_FIELDS, 0, value, &here, out)) return 0;
  if (member(value, "dtype") && !is_text(member(value, "dtype"), "f32"))
    absent(error, &dtype_at, "the library has inputs of f32 alone");
  if (out[INPUT_LENGTH_FIELD]) absent(error, &length_at, "the library has no samples of different lengths");
  if (length_of(shape) > MOST_AXES) return absent(error, &shape_at, "the library has no samples of so many axes"), 0;
  for (Text each = first(shape); each; each = next(each)) {
    int negative;
    whole_number(each, d->input_shape + d->input_rank++, &negative);
  }
  return 1;
}

static int check_classes(Error *error, const Document *d) {
  const Layer *last = d->layer + d->last;
  Step here = at_plain(0, "classes");
  u64 size = last->out_rank ? last->out_shape[last->out_rank - 1] : 1;
  if (!d->classes || !first(d->classes)) return 1;
  for (Text a = first(d->classes); a; a = next(a))
    for (Text b = next(a); b; b = next(b))
      if (same_strings(a, b)) return problem(error, LOOM_DOCUMENT, &here, "two classes have the same name", 0, 0, 0);
  if (length_of(d->classes) == (size == 1 ? 2 : size)) return 1;
  return problem(error, LOOM_DOCUMENT, &here, "not one name for each class of the output", 0, 0, 0);
}

static int read_header(Error *error, Document *d, Text top) {
  static const char *const structure[] = {"format", "$schema", "input", "inputs", "layers", "nodes", "output", "outputs", 0};
  double out[HEADER_FIELDS];
  Step dtype_at = at_plain(0, "dtype"), precision_at = at_plain(0, "precision");
  int negative;
  if (!read_fields(error, header_fields, HEADER_FIELDS, structure, top, 0, out)) return 0;
  if (member(top, "dtype") && !is_text(member(top, "dtype"), "f32")) absent(error, &dtype_at, "the library has networks of f32 alone");
  if (member(top, "precision") && !is_text(member(top, "precision"), "full"))
    absent(error, &precision_at, "the library has products in full precision alone");
  if (member(top, "seed")) whole_number(member(top, "seed"), &d->seed, &negative);
  d->batch_size = member(top, "batch_size") ? (u64)out[HEADER_BATCH_FIELD] : 1;
  d->classes = member(top, "classes");
  return 1;
}

/* Objects in a text at most: there are no more layers. */
static u64 braces_of(Text list) {
  u64 total = 0;
  for (Text end = after(list); list < end; list++) total += *list == '{';
  return total;
}

static int read_layers(Error *error, Document *d, Text list, Pool *pool) {
  Step layers_at = at_plain(0, "layers");
  u64 count = length_of(list), i = 0;
  u32 arrays = 0, before = NO_LAYER;
  if (*list != '[' || !count) return wrong(error, &layers_at, "a list of at least one layer", list);
  if (count > MOST_LAYERS) return problem(error, LOOM_DOCUMENT, &layers_at, "the network has too many layers", 0, 0, 0);
  d->layer = take(pool, (count + braces_of(list)) * sizeof(Layer));
  if (!d->layer) return put_failure(error, LOOM_MEMORY, "no memory for the layers"), 0;
  for (Text each = first(list); each; each = next(each), i++) { /* names stand together until layers are read */
    Step here = at_index(&layers_at, i);
    if (!read_name(error, d, each, &here, i)) return 0;
  }
  for (i = 0; i < count; i++) {
    Step here = at_index(&layers_at, i);
    if (same_text(d->layer[i].name, "input"))
      return problem(error, LOOM_DOCUMENT, &here, "a network input is called 'input' as well", 0, 0, 0);
  }
  Layer *names = take(pool, count * sizeof(Layer));
  if (!names) return put_failure(error, LOOM_MEMORY, "no memory for the layers"), 0;
  for (i = 0; i < count; i++) copy(names[i].name, d->layer[i].name, sizeof names[i].name);
  i = 0;
  for (Text each = first(list); each; each = next(each), i++) {
    Step here = at_index(&layers_at, i);
    Layer *l = d->layer + d->layers;
    copy(l->name, names[i].name, sizeof l->name), l->before = before, before = d->last = d->layers;
    if (!read_layer(error, d, each, &here, NO_LAYER, i)) return 0;
  }
  if (elements_of(d->input_shape, d->input_rank) > 1099511627776.0)
    return too_large(error, 0, "the input 'input' is too large", 0);
  Given_ given;
  clear(&given, sizeof given);
  given.rank = d->input_rank, given.meaning = MEANING_NUMBERS;
  copy(given.shape, d->input_shape, sizeof given.shape);
  for (u32 k = 0; k < d->layers; k = d->layer[k].end) {
    Step here = at_index(&layers_at, d->layer[k].place);
    if (!fit_layer(error, d, k, &here, &arrays, &given)) return 0;
  }
  return check_classes(error, d);
}

/* Reads a document; 0, and *error, for one that is wrong or asks for what there is not. */
static int read_document(Error *error, Document *d, Text text, Pool *pool) {
  Text where, top, list;
  Step format_at = at_plain(0, "format"), nodes_at = at_plain(0, "nodes"), output_at = at_plain(0, "output");
  if (!is_json(text, &where)) return problem(error, LOOM_DOCUMENT, 0, "malformed JSON", 0, 0, 0);
  if (!examined(error, text, 0)) return 0;
  top = blank(text);
  if (*top != '{') return wrong(error, 0, "an object", top);
  if (!member(top, "format")) return absent(error, 0, "the library reads loom/1 alone: convert it with loom convert"), 0;
  if (!is_text(member(top, "format"), "loom/1"))
    return problem(error, LOOM_DOCUMENT, &format_at, "unknown format", 0, "'loom/1'", member(top, "format"));
  if (!read_header(error, d, top) || !read_input(error, d, top)) return 0;
  list = member(top, "layers");
  if (!list == !member(top, "nodes"))
    return problem(error, LOOM_DOCUMENT, 0, "a network has either a list 'layers' or a graph 'nodes'", 0, 0, 0);
  if (!list) return absent(error, &nodes_at, "the library has no graphs"), 0;
  if (!read_layers(error, d, list, pool)) return 0;
  if (member(top, "output") || member(top, "outputs")) absent(error, &output_at, "the library has the last layer's output alone");
  return !error->code;
}
