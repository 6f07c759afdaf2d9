/* Training and scoring: what a loop of Loom's does beside the programs, in the same order. */

#if TRAIN_SAMPLES
static void put_number(struct NET *net, const Port *to, double value) {
  float narrow = (float)value;
  copy(net->image + to->offset, to->nbytes == 8 ? (void *)&value : (void *)&narrow, to->nbytes);
}

/* Whether a program takes a number beside its samples: the rate, or its share of an update. */
static u32 takes_number(const Program *program) { return program->kind == STEP || program->kind == SUM; }

static double loss_of(const struct NET *net, const Program *program) {
  const Port *told = net->level->ports + program->port + INPUTS + TARGETS + takes_number(program);
  return number(net->image + told->offset, told->nbytes);
}

static int one_batch(struct NET *net, const Program *program, const void *const *given, const u32 *chosen, u64 first,
                     double value, double *loss) {
  for (u32 i = 0; i < INPUTS + TARGETS; i++) feed(net, program, i, given[i], chosen, first);
  if (takes_number(program)) put_number(net, net->level->ports + program->port + INPUTS + TARGETS, value);
  int code = run(net, program);
  if (code) return code;
  *loss = loss_of(net, program);
  return is_finite(*loss) ? LOOM_OK : LOOM_NOT_FINITE;
}

static double rate_of(const struct NET *net) { return rates[RATES == 1 ? 0 : net->updates]; }

static int step(struct NET *net, const void *const *given, u32 samples, double *loss) {
  double found = 0;
  if (!is_open(net)) return LOOM_NOT_OPEN;
  if (is_null(given, INPUTS + TARGETS)) return LOOM_NULL;
  const Program *program = program_of(net, STEP, samples);
  if (!program) return LOOM_BATCH;
  if (RATES > 1 && net->updates >= RATES) return LOOM_SCHEDULE_OVER;
  int code = check(given, INPUTS + TARGETS, samples);
  if (code) return code;
  code = one_batch(net, program, given, 0, 0, rate_of(net), &found);
  if (loss) *loss = found;
  if (!code) net->updates++;
  return code;
}

/* Scores. */

/* The class that a row says: the first of the largest numbers, none beside a NaN. */
static u32 largest_of(const u8 *row, const Measure *about) {
  double best = number(row, about->nbytes);
  u32 found = 0;
  for (u32 k = 1; k < about->classes && best == best; k++) {
    double value = number(row + k * about->nbytes, about->nbytes);
    if (value > best || value != value) best = value, found = k;
  }
  return best == best ? found : about->classes;
}

static u64 count_right(const struct NET *net, const Program *program, u32 target, u64 *count) {
  const Measure *about = measures + target;
  const Port *to = net->level->ports + program->port, *y = to + INPUTS + target;
  const Port *out = to + INPUTS + TARGETS + 1 + target;
  u64 right = 0, rows = y->nbytes / about->target_nbytes;
  const u8 *said = net->image + out->offset, *truth = net->image + y->offset;
  if (about->kind == CLASSES) {
    u64 padding = 0;
    for (u64 row = 0; row < rows; row++) {
      u32 true_class;
      copy(&true_class, truth + row * 4, 4);
      if (true_class == (u32)PADDING)
        padding++;
      else
        right += largest_of(said + row * about->classes * about->nbytes, about) == true_class;
    }
    rows -= padding;
  } else if (about->kind == CHANCES) {
    for (u64 row = 0; row < rows; row++) {
      double is = number(truth + row * about->target_nbytes, about->target_nbytes);
      double chance = number(said + row * about->nbytes, about->nbytes);
      if (is != 0 && is != 1) return 0; /* none of this batch are classes */
      right += chance == chance && (chance > about->above) == (is == 1);
    }
  } else {
    return 0;
  }
  *count += rows;
  return right;
}

/* The mean loss, NaN and infinite as it may be, and the share of classes that are right, NaN without any. */
static int measure(struct NET *net, const void *const *given, u32 samples, double *loss, double *accuracy) {
  double total = 0, found = 0;
  u64 right = 0, count = 0;
  for (u64 first = 0; first < samples;) {
    u32 left = (u32)(samples - first);
    const Program *program = program_of(net, SCORE, left < BATCH ? left : BATCH);
    if (!program) program = largest(net, SCORE, left);
    int code = one_batch(net, program, given, 0, first, 0, &found);
    if (code && code != LOOM_NOT_FINITE) return code;
    for (u32 i = 0; accuracy && i < TARGETS; i++) right += count_right(net, program, i, &count);
    total += found * program->samples;
    first += program->samples;
  }
  *loss = total / samples;
  if (accuracy) *accuracy = count ? (double)right / (double)count : __builtin_nan("");
  return LOOM_OK;
}

static int score(struct NET *net, const void *const *given, u32 samples, double *loss, double *accuracy) {
  double found = 0, right = 0;
  if (!is_open(net)) return LOOM_NOT_OPEN;
  if (!loss || is_null(given, INPUTS + TARGETS)) return LOOM_NULL;
  if (!samples) return LOOM_BATCH;
  int code = check(given, INPUTS + TARGETS, samples);
  if (code) return code;
  code = measure(net, given, samples, &found, accuracy ? &right : 0);
  if (!code && !is_finite(found)) code = LOOM_NOT_FINITE;
  if (!code) *loss = found;
  if (!code && accuracy) *accuracy = right;
  return code;
}

/* The order of samples of an epoch: Philox4x32-10, sorted; words that are equal keep their order. */

static void philox(u32 block, u32 stream, u32 out[4]) {
  u32 c[4] = {block, 0, 0, stream}, k0 = (u32)SEED, k1 = (u32)(SEED >> 32);
  for (int i = 0; i < 10; i++) {
    u64 p = (u64)0xD2511F53u * c[0], q = (u64)0xCD9E8D57u * c[2];
    u32 a = (u32)(q >> 32) ^ c[1] ^ k0, b = (u32)(p >> 32) ^ c[3] ^ k1;
    c[0] = a, c[1] = (u32)q, c[2] = b, c[3] = (u32)p;
    k0 += 0x9E3779B9u, k1 += 0xBB67AE85u;
  }
  for (int i = 0; i < 4; i++) out[i] = c[i];
}

static int before(const struct NET *net, u32 a, u32 b) {
  return net->words[a] != net->words[b] ? net->words[a] < net->words[b] : a < b;
}

static void sift(struct NET *net, u32 at, u32 n) {
  for (u32 child; (child = 2 * at + 1) < n; at = child) {
    if (child + 1 < n && before(net, net->order[child], net->order[child + 1])) child++;
    if (!before(net, net->order[at], net->order[child])) return;
    u32 kept = net->order[at];
    net->order[at] = net->order[child], net->order[child] = kept;
  }
}

static void set_order(struct NET *net, u32 n) {
  for (u32 i = 0; i < n; i++) net->order[i] = i;
  if (!SHUFFLE) return;
  for (u32 i = 0; i < n; i += 2) {
    u32 w[4];
    philox(i / 2, 0x80000000u + (u32)(net->epoch & 0x7fffffffu), w);
    net->words[i] = (u64)w[1] << 32 | w[0];
    if (i + 1 < n) net->words[i + 1] = (u64)w[3] << 32 | w[2];
  }
  for (u32 i = n / 2; i-- > 0;) sift(net, i, n);
  for (u32 end = n; end-- > 1;) {
    u32 kept = net->order[0];
    net->order[0] = net->order[end], net->order[end] = kept;
    sift(net, 0, end);
  }
}


/* Epochs. */

/* One update, of ACCUMULATE batches at most; the samples taken. */
static int update(struct NET *net, const void *const *given, u32 first, u32 samples, double *total, u32 *taken) {
  u64 most = (u64)BATCH * ACCUMULATE;
  u32 group = samples - first < most ? samples - first : (u32)most;
  double found = 0;
  for (u32 at = 0; at < group; at += BATCH) {
    u32 n = group - at < BATCH ? group - at : BATCH;
    const Program *program = program_of(net, ACCUMULATE > 1 ? SUM : STEP, n);
    double value = ACCUMULATE > 1 ? (double)n / (double)group : rate_of(net);
    int code = one_batch(net, program, given, net->order + first + at, 0, value, &found);
    if (code) return code;
    *total += found * n;
  }
  *taken = group;
  if (ACCUMULATE == 1) return LOOM_OK;
  const Program *program = program_of(net, UPDATE, 0);
  put_number(net, net->level->ports + program->port, rate_of(net));
  return run(net, program);
}

static int epoch(struct NET *net, const void *const *given, u32 samples, double *mean) {
  u64 most = (u64)BATCH * ACCUMULATE, updates = (samples + most - 1) / most;
  u64 before = net->updates;
  double total = 0;
  if (RATES > 1 && (net->epoch + 1) * updates > RATES) return LOOM_SCHEDULE_OVER;
  clear(net->image + SUMS_OFFSET, SUMS_NBYTES); /* what an epoch that failed left */
  copy(net->good, net->image, STATE_NBYTES);
  set_order(net, samples);
  net->updates = net->epoch * updates;
  for (u32 first = 0, taken = 0; first < samples; first += taken, net->updates++) {
    int code = update(net, given, first, samples, &total, &taken);
    if (code == LOOM_NOT_FINITE && !all_finite(net->image)) {
      copy(net->image, net->good, STATE_NBYTES);
      net->updates = before;
    }
    if (code) return code;
  }
  if (!all_finite(net->image)) {
    copy(net->image, net->good, STATE_NBYTES);
    net->updates = before;
    return LOOM_NOT_FINITE;
  }
  net->epoch++;
  *mean = total / samples;
  return LOOM_OK;
}

#if PATIENT
/* Keep the best weights; put them back when no epoch was better for long, and at the end. */
static void watch(struct NET *net, double loss) {
  if (net->epoch == 1 || loss < net->best - LEAST_GAIN) {
    net->best = loss, net->stale = 0;
    copy(net->image + BEST_OFFSET, net->image, WEIGHTS_NBYTES);
  } else {
    net->stale++;
  }
  if (net->stale < PATIENCE && net->epoch < EPOCHS) return;
  copy(net->image, net->image + BEST_OFFSET, WEIGHTS_NBYTES);
  net->over = 1;
}
#else
static void watch(struct NET *net, double loss) { (void)net, (void)loss; }
#endif

/* `held`: samples and targets that are measured after each epoch, or null. */
static int train(struct NET *net, const void *const *given, u32 samples, const void *const *held, u32 of_held,
                 u32 epochs, double *loss, double *held_loss) {
  if (!is_open(net)) return LOOM_NOT_OPEN;
  if (is_null(given, INPUTS + TARGETS) || (held && is_null(held, INPUTS + TARGETS))) return LOOM_NULL;
  if (samples != TRAIN_SAMPLES || (held && of_held != HELD_SAMPLES)) return LOOM_BATCH;
  if (net->over && epochs) return LOOM_OVER;
  int code = check(given, INPUTS + TARGETS, samples);
  if (!code && held) code = check(held, INPUTS + TARGETS, of_held);
  if (code) return code;
  for (u32 e = 0; e < epochs && !net->over; e++) {
    double mean = 0, watched;
    code = epoch(net, given, samples, &mean);
    if (code) return code;
    if (loss) *loss = mean;
    watched = mean;
    if (held) code = measure(net, held, of_held, &watched, 0);
    if (held && held_loss) *held_loss = watched;
    watch(net, watched);
  }
  return LOOM_OK;
}
#endif
