/* How good predictions are, as the first generation measured it: src/loom/nn/train/measures.py. */

static double wide(const Array *t, const u8 *at) {
  u64 bits = 0;
  float narrow;
  double found;
  copy(&bits, at, t->each);
  if (t->kind == SIGNED) return (double)((i64)(bits << (64 - 8 * t->each)) >> (64 - 8 * t->each));
  if (t->kind != FLOATS) return (double)bits;
  if (t->format.digits == BRAIN.digits) {
    u32 word = (u32)bits << 16;
    copy(&narrow, &word, 4);
    return narrow;
  }
  if (t->each == 2) {
    u64 field = bits >> 10 & 31;
    found = (double)((field ? 1024 : 0) + (bits & 1023)) / (1 << 24);
    for (u64 e = 1; e < field; e++) found *= 2;
    return field == 31 ? found / 0.0 : bits >> 15 ? -found : found;
  }
  if (t->each == 8) {
    copy(&found, &bits, 8);
    return found;
  }
  copy(&narrow, at, 4);
  return narrow;
}

/* The number, or the index of the largest one, the first of several. */
static double said(const Group *made) {
  const Array *t = made->types;
  double best = wide(t, made->arrays[0]);
  u64 found = 0;
  if (t->elements == 1) return best;
  for (u64 i = 1; i < t->elements && best == best; i++) {
    double value = wide(t, made->arrays[0] + i * t->each);
    if (value > best || value != value) best = value, found = i;
  }
  return (double)found;
}

static double size_of(double x) { return x < 0 ? -x : x; }

static const struct { const char *name; double low, high; } BUCKETS[] = {
    {"0-10%", 0, 10},   {"10-20%", 10, 20},  {"20-30%", 20, 30}, {"30-40%", 30, 40},
    {"40-50%", 40, 50}, {"50-100%", 50, 100}, {"100%+", 100, 1e9}};
enum { BUCKET_COUNT = 7 };

static const char *evaluate(const char *inputs, const char *expected) {
  Out out;
  const char *error;
  Group given, made;
  u64 counts[BUCKET_COUNT] = {0}, number = 0, right = 0;
  double score = 0, away = 0;
  if (!begun(&out, inputs, expected, &error) || !has_network(&out, &error)) return error;
  if (!read_json(&out, inputs, "the inputs", &error) || !read_json(&out, expected, "the expected numbers", &error))
    return error;
  arrange_forward(&given, &made);
  Text at = blank(inputs), wanted = blank(expected);
  u64 count = length_of(at);
  if (made.count != 1) return failed(&out, "the network has several outputs", ": evaluate them by LoomForward");
  if (!count || *wanted != '[' || length_of(wanted) != count)
    return failed(&out, "not one expected number for each sample", ": pass two lists of one length");
  put_text(&out, "{\"results\":[");
  wanted = first(wanted);
  for (Text sample = first(at); sample; sample = next(sample), wanted = next(wanted), number++) {
    double e, a, off;
    u64 bits = *wanted == '-' || is_digit(*wanted) ? number_bits(DOUBLE, wanted) : (u64)0x7ff << 52;
    if (bits_are_infinite(DOUBLE, bits)) return failed(&out, "what is expected is no list of numbers", "");
    if ((error = answer(&out, &given, &made, sample, number, count))) return error;
    copy(&e, &bits, sizeof e);
    a = said(&made), off = size_of(a - e);
    off = (size_of(e) < 1e-10 ? off : size_of((a - e) / e)) * 100;
    if (off - off != 0) off = 100;
    u32 bucket = 0;
    while (bucket < BUCKET_COUNT - 1 && off > BUCKETS[bucket].high) bucket++;
    counts[bucket]++, right += a == e, away += off, score += off < 100 ? 100 - off : 0;
    put_text(&out, number ? ",{\"sample_index\":" : "{\"sample_index\":"), put_whole(&out, number);
    put_text(&out, ",\"expected\":"), put_double(&out, e), put_text(&out, ",\"actual\":"), put_double(&out, a);
    put_text(&out, ",\"deviation\":"), put_double(&out, off);
    put_text(&out, ",\"bucket\":\""), put_text(&out, BUCKETS[bucket].name), put_text(&out, "\"}");
  }
  put_text(&out, "],\"buckets\":{");
  for (u32 i = 0; i < BUCKET_COUNT; i++) {
    put_text(&out, i ? ",\"" : "\""), put_text(&out, BUCKETS[i].name), put_text(&out, "\":{\"range_min\":");
    put_double(&out, BUCKETS[i].low), put_text(&out, ",\"range_max\":"), put_double(&out, BUCKETS[i].high);
    put_text(&out, ",\"count\":"), put_whole(&out, counts[i]), put(&out, '}');
  }
  put_text(&out, "},\"score\":"), put_double(&out, score / (double)count);
  put_text(&out, ",\"total_samples\":"), put_whole(&out, count);
  put_text(&out, ",\"failures\":"), put_whole(&out, counts[BUCKET_COUNT - 1]);
  put_text(&out, ",\"avg_deviation\":"), put_double(&out, away / (double)count);
  put_text(&out, ",\"correct_count\":"), put_whole(&out, right);
  put_text(&out, ",\"accuracy\":"), put_double(&out, (double)right / (double)count), put(&out, '}');
  return finished(&out);
}

const char *LoomEvaluateNetwork(const char *inputs, const char *expected) {
  __typeof__(enter()) old = enter();
  const char *found = evaluate(inputs, expected);
  leave(old);
  return found;
}
