// The network on WebGPU: kernels in WGSL over one buffer. Whoever opens it has the device prove its arithmetic first,
// and computes by integers what it gets wrong; what cannot be put right is said, and WebAssembly computes. Generated;
// do not edit.

import { NetError } from "./net.js";

const unable = (why) => {
  throw new NetError("BACKEND", why);
};
const { STORAGE, UNIFORM, COPY_SRC, COPY_DST, MAP_READ } = { MAP_READ: 1, COPY_SRC: 4, COPY_DST: 8, UNIFORM: 64, STORAGE: 128 };
const decoded = (text) => Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
const ALIGNMENT = 256; // of words in a uniform buffer, on every device

/** Open the device, or say why not; a processor that plays a GPU is left out unless it is asked for by name. */
async function deviceFor(about, isAsked) {
  const adapter = (await navigator.gpu.requestAdapter({ powerPreference: "high-performance" })) ?? unable("there is no adapter");
  if (!isAsked && (adapter.info?.isFallbackAdapter ?? adapter.isFallbackAdapter)) unable("the adapter is the processor");
  const nbytes = about.nbytes + decoded(about.constants).length;
  const { maxBufferSize, maxStorageBufferBindingSize } = adapter.limits;
  if (nbytes > Math.min(maxBufferSize, maxStorageBufferBindingSize)) unable(`the network takes ${nbytes} bytes in one buffer`);
  return adapter.requestDevice({ requiredLimits: { maxBufferSize, maxStorageBufferBindingSize } });
}

/** What runs rows of kernels over one buffer. */
class Machine {
  constructor(device, about) {
    this.device = device;
    this.about = about;
    this.forms = { ...about.first };
    this.layout = device.createBindGroupLayout({
      entries: [
        { binding: 0, visibility: 4, buffer: { type: "uniform", hasDynamicOffset: true } },
        { binding: 1, visibility: 4, buffer: { type: "storage" } },
      ],
    });
  }

  buffer(nbytes, usage = STORAGE | COPY_SRC | COPY_DST) {
    return this.device.createBuffer({ size: Math.max(16, Math.ceil(nbytes / 4) * 4), usage });
  }

  /** The functions of these names and all they use, in the forms of this device. */
  library(names) {
    const { library, families } = this.about;
    const family = (name) => Object.keys(families).find((key) => families[key].includes(name));
    const found = new Map();
    const waiting = [...names];
    while (waiting.length) {
      const name = waiting.pop();
      if (found.has(name)) continue;
      const kind = family(name);
      const text = library[kind ? `${name}__${this.forms[kind]}` : name];
      found.set(name, text);
      for (const word of text.match(/\b[A-Za-z]\w*\b/g))
        if (word !== name && (word in library || `${word}__integers` in library)) waiting.push(word);
    }
    return [...found.values()].join("");
  }

  async pipeline(own, called) {
    const { device } = this;
    device.pushErrorScope("validation");
    const module = device.createShaderModule({ code: this.library(called) + own });
    const layout = device.createPipelineLayout({ bindGroupLayouts: [this.layout] });
    let made;
    try {
      made = await device.createComputePipelineAsync({ layout, compute: { module, entryPoint: "main" } });
    } catch (error) {
      await device.popErrorScope();
      const told = (await module.getCompilationInfo()).messages.find((m) => m.type === "error")?.message;
      unable(`a kernel is refused: ${told ?? error.message}`);
    }
    const error = await device.popErrorScope();
    return error ? unable(`a kernel is refused: ${error.message}`) : made;
  }

  bind(words, nbytes, memory) {
    return this.device.createBindGroup({
      layout: this.layout,
      entries: [
        { binding: 0, resource: { buffer: words, size: nbytes } },
        { binding: 1, resource: { buffer: memory } },
      ],
    });
  }

  async read(buffer, offset, nbytes) {
    const room = Math.ceil(nbytes / 4) * 4;
    const target = this.buffer(room, MAP_READ | COPY_DST);
    const encoder = this.device.createCommandEncoder();
    encoder.copyBufferToBuffer(buffer, offset, target, 0, room);
    this.device.queue.submit([encoder.finish()]);
    await target.mapAsync(1);
    const found = new Uint8Array(target.getMappedRange()).slice(0, nbytes);
    target.destroy();
    return found;
  }

  write(buffer, offset, bytes) {
    const padded = bytes.byteLength % 4 ? new Uint8Array(Math.ceil(bytes.byteLength / 4) * 4) : bytes;
    if (padded !== bytes) padded.set(bytes);
    if (padded.byteLength) this.device.queue.writeBuffer(buffer, offset, padded);
  }

  /** What a kernel leaves in a buffer that holds `given` first, then as many bytes as `wanted`. */
  async once(own, called, words, groups, given, nbytes) {
    const [table, memory] = [this.buffer(words.byteLength + 12, UNIFORM | COPY_DST), this.buffer(given.byteLength + nbytes)];
    this.write(table, 0, words);
    this.write(memory, 0, given);
    const pipeline = await this.pipeline(own, called);
    const encoder = this.device.createCommandEncoder();
    const pass = encoder.beginComputePass();
    pass.setPipeline(pipeline);
    pass.setBindGroup(0, this.bind(table, Math.ceil(words.byteLength / 16) * 16, memory), [0]);
    pass.dispatchWorkgroups(...groups);
    pass.end();
    this.device.queue.submit([encoder.finish()]);
    const found = await this.read(memory, given.byteLength, nbytes);
    for (const buffer of [table, memory]) buffer.destroy();
    return found;
  }
}

// The proof. Numbers of JavaScript are f64: an f32 operation is one of them, rounded once more, which changes nothing.

const floats = new Float32Array(1);
const bits = new Uint32Array(floats.buffer);
const toFloat = (word) => ((bits[0] = word), floats[0]);
const toBits = (value) => ((floats[0] = value), Number.isNaN(floats[0]) ? 0x7fc00000 : bits[0]);
const two = (f) => (a, b) => toBits(f(toFloat(a), toFloat(b)));
const said = (a, b) => (a < b ? 1 : 0) | (a <= b ? 2 : 0) | (a === b ? 4 : 0);
const lesser = (x, y) => (Number.isNaN(x) || Number.isNaN(y) ? NaN : x < y || (x === y && Object.is(x, -0)) ? x : y);
const whole = (x) => (Number.isNaN(x) ? 0 : Math.max(-(2 ** 31), Math.min(2 ** 31 - 1, Math.trunc(x)))) >>> 0;
const wide = (low, high) => (BigInt(high) << 32n) | BigInt(low);

/** By family: what is asked of words a and b, and what comes of it. Without a family nothing can be put right. */
const PROOFS = [
  ["sums", "add_f32(a, b)", two((x, y) => x + y)],
  ["sums", "sub_f32(a, b)", two((x, y) => x - y)],
  ["products", "mul_f32(a, b)", two((x, y) => x * y)],
  ["products", "add_f32(mul_f32(a, b), hide(a))", two((x, y) => Math.fround(x * y) + x)],
  ["products", "sub_f32(mul_f32(a, b), mul_f32(a, a))", two((x, y) => Math.fround(x * y) - Math.fround(x * x))],
  ["quotients", "div_f32(a, b)", two((x, y) => x / y)],
  ["roots", "sqrt_f32(a)", two((x) => Math.sqrt(x))],
  [
    "order",
    "(select(0u, 1u, lt_f32(a, b)) | select(0u, 2u, le_f32(a, b)) | select(0u, 4u, eq_f32(a, b)))",
    (a, b) => said(toFloat(a), toFloat(b)),
  ],
  ["conversions", "f32_of_u32(a)", (a) => toBits(a)],
  ["conversions", "f32_of_i32(a)", (a) => toBits(a | 0)],
  [null, "min_f32(a, b)", two(lesser)],
  [null, "i32_of_f32(a)", (a) => whole(toFloat(a))],
  [null, "mulhi_u32(a, b)", (a, b) => Number((BigInt(a) * BigInt(b)) >> 32n)],
  [null, "idiv_u32(a, b)", (a, b) => (b ? Math.floor(a / b) : 0)],
  [null, "idiv_u64(vec2<u32>(a, b), vec2<u32>(b, a >> (b & 31u))).x", (a, b) => {
    const by = wide(b, a >>> (b & 31));
    return by ? Number((wide(a, b) / by) & 0xffffffffn) : 0;
  }],
  [null, "mul_u64(vec2<u32>(a, b), vec2<u32>(b, a)).y", (a, b) => Number(((wide(a, b) * wide(b, a)) >> 32n) & 0xffffffffn)],
];
const isFloat = (expression) => /^(add|sub|mul|div|sqrt|min)_f32/.test(expression);

/** Pairs of words: what is special against itself, subnormals, and any bits; quotients and sums that just miss a tie. */
function samples() {
  const special = [0, 1, 2, 0x7fffff, 0x800000, 0x800001, 0x3f800000, 0x3f800001, 0x3fffffff, 0x40400000, 0x4b800000,
    0x4f000000, 0x4f7fffff, 0x5f800000, 0x7f7fffff, 0x7f800000, 0x7fc00000, 0x33800000, 0x34000000, 0x0d800000];
  const both = special.flatMap((w) => [w, (w | 0x80000000) >>> 0]);
  const found = both.flatMap((a) => both.map((b) => [a, b]));
  let state = 0x2545f491;
  const next = () => ((state ^= state << 13), (state ^= state >>> 17), (state = (state ^ (state << 5)) >>> 0));
  for (let i = 0; i < 2500; i++) {
    const [a, b] = [next(), next()];
    const near = (w) => ((w & 0x807fffff) | ((0x77 + ((w >>> 23) & 15)) << 23)) >>> 0;
    found.push([a, b], [near(a), near(b)], [near(a), (a & 0x807fffff) >>> 0], [(near(a) - 0x30000000) >>> 0, near(b)]);
    found.push([toBits(toFloat(near(a)) * toFloat(near(b))), near(b)]);
  }
  return found;
}

async function prove(machine) {
  const pairs = samples();
  const n = pairs.length;
  const given = new Uint32Array(2 * n);
  pairs.forEach(([a, b], i) => ((given[i] = a), (given[n + i] = b)));
  const bytes = new Uint8Array(given.buffer);
  const names = (expression) => expression.match(/\b[a-z]\w*(?=\()/g).filter((w) => !["select", "hide"].includes(w));
  const right = async ([, expression, expected]) => {
    const own = `var<private> zero: u32;
@group(0) @binding(0) var<uniform> words: array<vec4<u32>, 1>;
@group(0) @binding(1) var<storage, read_write> m: array<u32>;
@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  zero = words[0].x >> 31u;
  let i = id.x;
  if (i < ${n}u) {
    let a = m[i];
    let b = m[${n}u + i];
    m[${2 * n}u + i] = ${expression};
  }
}
`;
    const asked = [...names(expression).filter((w) => w !== "vec2"), "hide"];
    const made = await machine.once(own, asked, new Uint8Array(16), [Math.ceil(n / 64)], bytes, 4 * n);
    const found = new Uint32Array(made.buffer);
    const same = isFloat(expression) ? (w) => ((w & 0x7fffffff) > 0x7f800000 ? 0x7fc00000 : w) : (w) => w;
    return pairs.every(([a, b], i) => same(found[i]) === expected(a, b) >>> 0);
  };
  for (const check of machine.about.checks) {
    const expected = decoded(check.expected);
    const { own, called, groups } = check;
    const made = await machine.once(own, called, decoded(check.words), groups, decoded(check.given), expected.length);
    if (made.some((byte, i) => byte !== expected[i])) unable(`the device gets ${check.about} wrong`);
  }
  for (const proof of PROOFS) {
    if (await right(proof)) continue;
    const [family, expression] = proof;
    const forms = family ? machine.about.forms[family] : [];
    let found = false;
    for (let next = forms.indexOf(machine.forms[family]) + 1; !found && next < forms.length; next++) {
      machine.forms[family] = forms[next];
      found = await right(proof);
    }
    if (!found) unable(`the device computes ${expression} wrongly`);
  }
}

// Training: the order of samples of an epoch, as everywhere Philox4x32-10, sorted; words that are equal keep their order.

function philox(block, stream, [k0, k1]) {
  const high = (a, b) => Number((BigInt(a >>> 0) * BigInt(b)) >> 32n);
  let c = [block, 0, 0, stream];
  for (let i = 0; i < 10; i++) {
    const [p, q] = [c[0], c[2]];
    c = [high(q, 0xcd9e8d57) ^ c[1] ^ k0, Math.imul(q, 0xcd9e8d57), high(p, 0xd2511f53) ^ c[3] ^ k1, Math.imul(p, 0xd2511f53)];
    [k0, k1] = [(k0 + 0x9e3779b9) | 0, (k1 + 0xbb67ae85) | 0];
  }
  return c.map((w) => w >>> 0);
}

function orderOf({ shuffle, seed }, epoch, n) {
  const order = Uint32Array.from({ length: n }, (_, i) => i);
  if (!shuffle) return order;
  const [low, high] = [new Uint32Array(n + 1), new Uint32Array(n + 1)];
  for (let i = 0; i < n; i += 2)
    [low[i], high[i], low[i + 1], high[i + 1]] = philox(i / 2, (0x80000000 + (epoch & 0x7fffffff)) >>> 0, seed);
  return order.sort((a, b) => high[a] - high[b] || low[a] - low[b] || a - b);
}

/** The face of the net of WebAssembly, which keeps weights and progress whenever they are asked for. */
class Driver {
  #machine;
  #plain;
  #turn = Promise.resolve();
  #isBehind = true; // the device has not what the plain net has
  #isAhead = false; // the plain net has not what the device has

  static async open(plain, about, isAsked) {
    const device = await deviceFor(about, isAsked);
    const machine = new Machine(device, about);
    try {
      await prove(machine);
      return await new Driver(plain, machine).#made();
    } catch (error) {
      device.destroy();
      throw error;
    }
  }

  constructor(plain, machine) {
    this.#plain = plain;
    this.#machine = machine;
    this.forms = machine.forms;
  }

  async #made() {
    const { about, device } = this.#machine;
    const constants = decoded(about.constants);
    this.memory = this.#machine.buffer(about.nbytes + constants.length);
    this.#machine.write(this.memory, about.nbytes, constants);
    this.pipelines = await Promise.all(about.kernels.map(([own, called]) => this.#machine.pipeline(own, called)));
    const words = new Uint32Array(decoded(about.words).buffer);
    const sizes = about.kernels.map(([, , count]) => Math.ceil(count / 4) * 16);
    this.offsets = [];
    let end = 0;
    for (const [kernel] of about.rows) {
      this.offsets.push(end);
      end += Math.ceil(sizes[kernel] / ALIGNMENT) * ALIGNMENT;
    }
    const table = new Uint32Array(end / 4);
    about.rows.forEach(([kernel, , , , first], i) =>
      table.set(words.subarray(first, first + about.kernels[kernel][2]), this.offsets[i] / 4),
    );
    this.table = this.#machine.buffer(end, UNIFORM | COPY_DST);
    this.#machine.write(this.table, 0, new Uint8Array(table.buffer));
    const groups = new Map();
    for (const size of sizes) if (!groups.has(size)) groups.set(size, this.#machine.bind(this.table, size, this.memory));
    this.groups = sizes.map((size) => groups.get(size));
    device.lost.then(({ message }) => (this.lost = message || "it was destroyed"));
    return this;
  }

  get manifest() {
    return this.#plain.manifest;
  }

  given(...both) {
    return this.#plain.given(...both);
  }

  /** One after the other. */
  #alone(work) {
    const done = this.#turn.then(() => {
      if (this.lost !== undefined) throw new NetError("BACKEND", `the device was lost: ${this.lost}; open the network anew`);
      return work();
    });
    this.#turn = done.catch(() => {});
    return done;
  }

  // state

  #upload() {
    if (!this.#isBehind) return;
    for (const [name, offset, nbytes] of this.#machine.about.tensors)
      this.#machine.write(this.memory, offset, this.#plain.bytes(name, nbytes));
    this.#isBehind = false;
  }

  async #download() {
    if (!this.#isAhead) return;
    const { tensors, state: size } = this.#machine.about;
    const state = await this.#machine.read(this.memory, 0, size);
    for (const [name, offset, nbytes] of tensors) this.#plain.setBytes(name, state.subarray(offset, offset + nbytes));
    const words = this.#words();
    [words[0], words[1]] = [this.epoch, this.updates];
    this.#plain.setBytes("training/progress", new Uint8Array(words.buffer));
    this.#isAhead = false;
  }

  #words() {
    return new BigUint64Array(this.#plain.bytes("training/progress", 48).buffer);
  }

  #progress() {
    if (!this.#isAhead) [this.epoch, this.updates] = this.#words();
  }

  // programs

  #program(kind, samples) {
    return this.#machine.about.programs.find((p) => p.kind === kind && p.samples === samples);
  }

  #largest(kind, most) {
    const fitting = this.#machine.about.programs.filter((p) => p.kind === kind && p.samples <= most);
    return fitting.reduce((best, p) => (p.samples > best.samples ? p : best));
  }

  #feed(program, arrays, rows) {
    arrays.forEach((array, i) => {
      const [offset, nbytes] = program.ports[i];
      const each = nbytes / program.samples;
      const bytes = new Uint8Array(array.buffer, array.byteOffset, array.byteLength);
      const batch = new Uint8Array(nbytes);
      for (let n = 0; n < program.samples; n++) batch.set(bytes.subarray(rows[n] * each, (rows[n] + 1) * each), n * each);
      this.#machine.write(this.memory, offset, batch);
    });
  }

  #run(program, copies = []) {
    const { about, device } = this.#machine;
    const encoder = device.createCommandEncoder();
    const pass = encoder.beginComputePass();
    for (let n = program.first; n < program.first + program.count; n++) {
      const [kernel, x, y, z] = about.rows[n];
      pass.setPipeline(this.pipelines[kernel]);
      pass.setBindGroup(0, this.groups[kernel], [this.offsets[n]]);
      pass.dispatchWorkgroups(x, y, z);
    }
    pass.end();
    for (const [from, target, to, nbytes] of copies) encoder.copyBufferToBuffer(this.memory, from, target, to, nbytes);
    device.queue.submit([encoder.finish()]);
  }

  /** Losses of batches, each as [program, rows, rate]; read at the end, so that the device is never waited for between. */
  async #losses(batches, arrays) {
    const { about } = this.#machine;
    const [inputs, targets] = about.counts;
    const told = this.#machine.buffer(8 * batches.length);
    batches.forEach(([program, rows, rate], n) => {
      this.#feed(program, arrays, rows);
      if (rate !== undefined) {
        const [offset, nbytes] = program.ports[inputs + targets];
        if (nbytes) this.#machine.write(this.memory, offset, new Uint8Array((nbytes === 8 ? Float64Array : Float32Array).of(rate).buffer));
      }
      const [offset, nbytes] = this.#loss(program);
      this.#run(program, [[offset, told, 8 * n, nbytes]]);
    });
    const bytes = await this.#machine.read(told, 0, 8 * batches.length);
    told.destroy();
    const view = new DataView(bytes.buffer);
    return batches.map(([program], n) => (this.#loss(program)[1] === 8 ? view.getFloat64(8 * n, true) : view.getFloat32(8 * n, true)));
  }

  #loss(program) {
    const [inputs, targets] = this.#machine.about.counts;
    return program.ports[inputs + targets + (program.kind === "step" ? 1 : 0)];
  }

  #rate(update) {
    const { rates } = this.#machine.about.training;
    return rates[rates.length === 1 ? 0 : Number(update)];
  }

  // what a net does

  async forward(x) {
    const { arrays, samples, isSound } = this.#plain.given(x);
    if (!isSound) return this.#asked("forward", [x]);
    return this.#alone(async () => {
      this.#upload();
      const [inputs, , outputs] = this.#machine.about.counts;
      const each = this.manifest.outputs.map(() => []);
      for (let first = 0; first < samples; ) {
        const program = this.#largest("forward", samples - first);
        this.#feed(program, arrays, Array.from({ length: program.samples }, (_, i) => first + i));
        this.#run(program);
        for (let i = 0; i < outputs; i++)
          each[i].push(await this.#machine.read(this.memory, ...program.ports[inputs + i].slice(0, 2)));
        first += program.samples;
      }
      return this.#plain.made(each.map((parts) => joined(parts)));
    });
  }

  async step(x, y) {
    const { arrays, samples, isSound } = this.#plain.given(x, y);
    return this.#alone(async () => {
      const program = isSound && this.#program("step", samples);
      const { rates } = this.#machine.about.training;
      this.#progress();
      if (!program || (rates.length > 1 && this.updates >= rates.length)) {
        await this.#download();
        this.#isBehind = true;
        return this.#plain.step(x, y); // which says what is wrong
      }
      await this.#download(); // to go back to
      this.#upload();
      const rows = Array.from({ length: samples }, (_, i) => i);
      const [loss] = await this.#losses([[program, rows, this.#rate(this.updates)]], arrays);
      if (!Number.isFinite(loss) || !(await this.#isFinite())) {
        this.#isBehind = true;
        return this.#plain.step(x, y);
      }
      this.#isAhead = true;
      this.updates += 1n;
      return loss;
    });
  }

  async trainer(x, y, validation) {
    const { isSound, ...both } = this.#plain.given(x, y);
    const slow = this.#plain.trainer(x, y, validation); // which looks at what is passed
    const held = validation && this.#plain.given(...validation);
    const isWhole = isSound && (!held || held.isSound);
    return () => this.#alone(() => this.#epoch(both, isWhole, slow, held));
  }

  /** An epoch; where something is wrong, or a number is not finite, the plain net does it and says what it is. */
  async #epoch({ arrays, samples }, isSound, slow, held) {
    const { training } = this.#machine.about;
    const count = Math.ceil(samples / training.batch);
    await this.#download();
    this.#progress();
    const last = (Number(this.epoch) + 1) * count;
    if (!isSound || samples !== training.samples || (training.rates.length > 1 && last > training.rates.length)) return this.#plainly(slow);
    this.#upload();
    const order = orderOf(training, Number(this.epoch & 0x7fffffffn), samples);
    const first = Number(this.epoch) * count;
    const batches = Array.from({ length: count }, (_, n) => {
      const rows = order.subarray(n * training.batch, (n + 1) * training.batch);
      return [this.#program("step", rows.length), rows, this.#rate(first + n)];
    });
    const losses = await this.#losses(batches, arrays);
    if (!losses.every(Number.isFinite) || !(await this.#isFinite())) return this.#plainly(slow);
    [this.epoch, this.updates, this.#isAhead] = [this.epoch + 1n, BigInt(first + count), true];
    const loss = batches.reduce((sum, [, rows], n) => sum + losses[n] * rows.length, 0) / samples;
    return held ? { loss, validationLoss: await this.#measured(held.arrays, held.samples) } : { loss };
  }

  #plainly(slow) {
    this.#isBehind = true;
    this.#isAhead = false;
    return slow();
  }

  async #isFinite() {
    const { about } = this.#machine;
    const types = Object.fromEntries(this.manifest.tensors.map((t) => [t.name, t.dtype]));
    const state = await this.#machine.read(this.memory, 0, about.state);
    return about.tensors.every(([name, offset, nbytes]) => {
      const [Type, mask] = { f64: [Float64Array], f32: [Float32Array], f16: [Uint16Array, 0x7c00], bf16: [Uint16Array, 0x7f80] }[types[name]] ?? [];
      if (!Type) return true;
      const all = new Type(state.buffer, offset, nbytes / Type.BYTES_PER_ELEMENT);
      return mask ? all.every((w) => (w & mask) !== mask) : all.every(Number.isFinite);
    });
  }

  async score(x, y) {
    const { arrays, samples, isSound } = this.#plain.given(x, y);
    return this.#alone(async () => {
      if (!samples || !isSound) return this.#plain.score(x, y); // which says what is wrong
      const mean = await this.#measured(arrays, samples);
      if (Number.isFinite(mean)) return mean;
      await this.#download();
      return this.#plain.score(x, y);
    });
  }

  /** The mean loss over samples, finite or not. */
  async #measured(arrays, samples) {
    this.#upload();
    const { batch } = this.#machine.about.training;
    const batches = [];
    for (let first = 0; first < samples; first += batches.at(-1)[1].length) {
      const left = samples - first;
      const program = this.#program("score", Math.min(left, batch)) ?? this.#largest("score", left);
      batches.push([program, Array.from({ length: program.samples }, (_, i) => first + i)]);
    }
    const losses = await this.#losses(batches, arrays);
    return batches.reduce((sum, [, rows], n) => sum + losses[n] * rows.length, 0) / samples;
  }

  /** What the plain net does over the weights of now. */
  #asked(name, given, changes = false) {
    return this.#alone(async () => {
      await this.#download();
      const found = this.#plain[name](...given);
      this.#isBehind ||= changes;
      return found;
    });
  }

  evaluate = (x, y) => this.#asked("evaluate", [x, y]);
  digest = () => this.#asked("digest", []);
  save = () => this.#asked("save", []);
  read = (name) => this.#asked("read", [name]);
  write = (name, data) => this.#asked("write", [name, data], true);
  load = (file) => this.#asked("load", [file], true);
  reset = () => this.#asked("reset", [], true);

  dispose() {
    this.#machine.device.destroy();
  }
}

function joined(parts) {
  const found = new Uint8Array(parts.reduce((n, p) => n + p.length, 0));
  let at = 0;
  for (const part of parts) {
    found.set(part, at);
    at += part.length;
  }
  return found;
}

/** Open the network of `plain` on WebGPU; NetError("BACKEND", why) where that cannot be. */
export async function open(plain, isAsked) {
  if (!globalThis.navigator?.gpu) unable("there is no WebGPU here");
  const { packed, reason } = await import("./gpu.js");
  if (reason) unable(reason);
  const stream = new Blob([decoded(packed)]).stream().pipeThrough(new DecompressionStream("gzip"));
  return Driver.open(plain, await new Response(stream).json(), isAsked);
}
