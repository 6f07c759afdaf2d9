// A network exported by Loom, as WebAssembly: it computes and trains to the bits of Loom. Generated; do not edit.
//
//   import { Net } from "./@FILE@.js";
//   const net = await Net.open();
//   const y = net.forward(x);
//
// Runs in node, Deno, Bun, a worker and a page; needs WebAssembly with SIMD. Arrays are flat and row-major, samples first.

const NAME = "@NAME@";
const CODES = @CODES@;
const ARRAYS = {
  f64: Float64Array, f32: Float32Array, f16: Uint16Array, bf16: Uint16Array, i64: BigInt64Array, u64: BigUint64Array,
  i32: Int32Array, u32: Uint32Array, i16: Int16Array, u16: Uint16Array, i8: Int8Array, u8: Uint8Array, bool: Uint8Array,
};

/** What went wrong: `code` is one of those of the C header, or "ARGUMENT", "WASM". */
export class NetError extends Error {
  constructor(code, text) {
    super(`${code}: ${text}`);
    this.name = "NetError";
    this.code = code;
  }
}

const refuse = (text) => {
  throw new NetError("ARGUMENT", text);
};

/** The compiled module of what may hold one: nothing (the file beside this one), a URL, bytes, a Response, a module. */
async function compiled(source) {
  if (source instanceof WebAssembly.Module) return source;
  try {
    return await WebAssembly.compile(await bytesOf(source));
  } catch (error) {
    if (!(error instanceof WebAssembly.CompileError)) throw error;
    throw new NetError("WASM", `it does not compile (${error.message}): WebAssembly with SIMD is needed, and the whole file`);
  }
}

async function bytesOf(source) {
  if (source instanceof ArrayBuffer || ArrayBuffer.isView(source)) return source;
  if (typeof Response !== "undefined" && source instanceof Response) return whole(source);
  const url = new URL(source, import.meta.url);
  if (url.protocol === "file:" && globalThis.process?.versions?.node) {
    const system = "node:fs/promises"; // a name that bundlers for pages do not look into
    const { readFile } = await import(/* @vite-ignore */ /* webpackIgnore: true */ system);
    return readFile(url);
  }
  return whole(await fetch(url));
}

async function whole(response) {
  if (!response.ok) throw new NetError("WASM", `${response.url} was not found: ${response.status} ${response.statusText}`);
  return response.arrayBuffer();
}

/** The numbers of an array, or of arrays of arrays, as an array of `Type`; what would not stay the same is refused. */
function numbersOf(data, dtype, what) {
  const Type = ARRAYS[dtype];
  if (data instanceof Type) return data;
  if (dtype === "f16" || dtype === "bf16") {
    if (dtype === "f16" && globalThis.Float16Array && data instanceof globalThis.Float16Array)
      return new Uint16Array(data.buffer, data.byteOffset, data.length);
    refuse(`${what} is ${dtype}: pass its bits as a Uint16Array`);
  }
  const flat = flattened(data, what);
  const found = new Type(flat.length);
  const fit = dtype[0] === "f" ? number : dtype === "bool" ? truth : wholeNumber(dtype);
  for (let i = 0; i < flat.length; i++) found[i] = fit(flat[i], what);
  return found;
}

function number(value, what) {
  return typeof value === "number" ? value : refuse(`${what} holds ${String(value)}, which is no number`);
}

function truth(value, what) {
  return value === true || value === 1 || value === false || value === 0
    ? value
    : refuse(`${what} holds ${String(value)}, which is neither true nor false`);
}

function wholeNumber(dtype) {
  const bits = Number(dtype.slice(1));
  const [least, most] = dtype[0] === "u" ? [0, 2 ** bits - 1] : [-(2 ** (bits - 1)), 2 ** (bits - 1) - 1];
  const wrap = dtype[0] === "u" ? BigInt.asUintN : BigInt.asIntN;
  return (value, what) => {
    if (typeof value !== "bigint" && !Number.isInteger(value)) refuse(`${what} holds ${String(value)}, which is no whole number`);
    const fits = bits < 64 ? value >= least && value <= most : wrap(64, BigInt(value)) === BigInt(value);
    if (!fits) refuse(`${what} holds ${value}, which ${dtype} cannot hold`);
    return bits < 64 ? Number(value) : BigInt(value);
  };
}

function flattened(data, what) {
  if (ArrayBuffer.isView(data) && !(data instanceof DataView)) return data;
  if (!Array.isArray(data)) refuse(`${what} is not an array of numbers`);
  if (data.every((row) => typeof row !== "object" || row === null)) return data;
  return data.flatMap((row) => Array.from(flattened(row, what)));
}

const elementsOf = (shape) => shape.reduce((n, length) => n * length, 1);

const BIG_ENDIAN = new Uint8Array(Uint16Array.of(1).buffer)[0] === 0;

export class Net {
  #wasm;
  #base; // where the memory that no net holds begins
  #net;

  /** Open the network: of the file beside this one, or of `wasm`: a URL, bytes, a Response, a WebAssembly.Module. */
  static async open({ wasm = new URL("./@FILE@.wasm", import.meta.url) } = {}) {
    return new Net(await compiled(wasm));
  }

  /** Of a compiled module, at once; `open` compiles one. */
  constructor(module) {
    if (!(module instanceof WebAssembly.Module)) refuse("a Net is made of a WebAssembly.Module: use await Net.open()");
    if (BIG_ENDIAN) throw new NetError("WASM", "this processor's byte order is not that of WebAssembly");
    this.module = module;
    this.#wasm = new WebAssembly.Instance(module, {}).exports;
    const size = this.#wasm[`${NAME}_size`]() >>> 0;
    const [memory, place] = this.#places(this.#wasm.__heap_base.value, [size, 8]);
    this.#call("open", memory, size, place);
    this.#net = this.#view(Uint32Array, place, 1)[0];
    this.#base = memory + size;
    this.manifest = JSON.parse(this.#text(this.#wasm[`${NAME}_manifest`]()));
  }

  /** Outputs for any number of samples: an array; of a network of several outputs, arrays by name. */
  forward(x) {
    const { inputs, outputs } = this.manifest;
    const [given, samples] = this.#columns(inputs, x, "input");
    const sizes = outputs.map((o) => ARRAYS[o.dtype].BYTES_PER_ELEMENT * elementsOf(o.shape) * samples);
    const at = this.#staged(given, sizes);
    this.#call("forward", this.#net, ...at, samples);
    const made = outputs.map((o, i) => this.#copied(ARRAYS[o.dtype], at[given.length + i], elementsOf(o.shape) * samples));
    return outputs.length === 1 ? made[0] : Object.fromEntries(outputs.map((o, i) => [o.name, made[i]]));
  }

  /** One update with a batch of a size that the manifest lists (`training.step`); the loss before it. */
  step(x, y) {
    const [given, samples] = this.#samples(x, y);
    const at = this.#staged(given, [8]);
    this.#call("step", this.#net, ...at.slice(0, -1), samples, at.at(-1));
    return this.#view(Float64Array, at.at(-1), 1)[0];
  }

  /** Whole epochs over the samples, in the order that Loom takes; the loss of each. `onEpoch(epoch, loss)`: false stops. */
  train(x, y, { epochs = 1, onEpoch } = {}) {
    const epoch = this.trainer(x, y);
    const losses = [];
    for (let n = 0; n < epochs; n++) {
      losses.push(epoch());
      if (onEpoch?.(n, losses[n]) === false) break;
    }
    return losses;
  }

  /** A function that trains one epoch with these samples and returns its loss: for those who do other things between. */
  trainer(x, y) {
    const [given, samples] = this.#samples(x, y);
    return () => {
      const at = this.#staged(given, [8]);
      this.#call("train", this.#net, ...at.slice(0, -1), samples, 1, at.at(-1));
      return this.#view(Float64Array, at.at(-1), 1)[0];
    };
  }

  /** The mean loss over samples; nothing changes. */
  score(x, y) {
    const [given, samples] = this.#samples(x, y);
    const at = this.#staged(given, [8]);
    this.#call("score", this.#net, ...at.slice(0, -1), samples, at.at(-1));
    return this.#view(Float64Array, at.at(-1), 1)[0];
  }

  /** Back to the weights it was exported with. */
  reset() {
    this.#call("reset", this.#net);
  }

  /** The elements of a tensor of the manifest, by name. */
  read(name) {
    const about = this.#tensor(name);
    const [at, text] = this.#named(about);
    this.#call("read", this.#net, text, at, this.#nbytes(about));
    return this.#copied(ARRAYS[about.dtype], at, elementsOf(about.shape));
  }

  /** Set all elements of a tensor. */
  write(name, data) {
    const about = this.#tensor(name);
    const given = numbersOf(data, about.dtype, name);
    const [at, text] = this.#named(about, given.byteLength);
    this.#put(at, given);
    this.#call("write", this.#net, text, at, given.byteLength);
  }

  /** SHA-256 of all weights, in hexadecimal: what `loom train` prints. */
  digest() {
    const [at] = this.#places(this.#base, [32]);
    this.#call("digest", this.#net, at);
    return Array.from(this.#view(Uint8Array, at, 32), (b) => b.toString(16).padStart(2, "0")).join("");
  }

  /** A .safetensors file with weights, the optimiser's state, and how far the training is. */
  save() {
    let [size] = this.#places(this.#base, [8]);
    this.#call("save", this.#net, 0, 0, size);
    const nbytes = this.#view(Uint32Array, size, 1)[0];
    const [place, at] = this.#places(this.#base, [8, nbytes]);
    this.#call("save", this.#net, at, nbytes, place);
    return this.#copied(Uint8Array, at, nbytes);
  }

  /** Go on from what `save` gave; a file that is not whole, or of another network, changes nothing. */
  load(file) {
    const bytes = file instanceof ArrayBuffer ? new Uint8Array(file) : file;
    if (!(bytes instanceof Uint8Array)) refuse("a saved file is a Uint8Array or an ArrayBuffer");
    const [at] = this.#staged([bytes], []);
    this.#call("load", this.#net, at, bytes.byteLength);
  }

  /** Another net of the same weights and state, which shares nothing with this one. */
  clone() {
    const other = new Net(this.module);
    other.load(this.save());
    return other;
  }

  #samples(x, y) {
    const { inputs, training } = this.manifest;
    if (!training) refuse("this export does not train: export it with --data");
    const [given, samples] = this.#columns(inputs, x, "input");
    const [wanted, targets] = this.#columns(training.targets, y, "target");
    if (samples !== targets) refuse(`there are ${samples} samples and targets of ${targets}`);
    return [[...given, ...wanted], samples];
  }

  /** Arrays in the order of `specs`, and of how many samples they are. */
  #columns(specs, given, what) {
    let found = [given];
    if (!Array.isArray(given) && !ArrayBuffer.isView(given) && given !== null && typeof given === "object") {
      const strange = Object.keys(given).find((name) => !specs.some((s) => s.name === name));
      if (strange !== undefined) refuse(`there is no ${what} ${strange}, but ${specs.map((s) => s.name).join(", ")}`);
      found = specs.map((s) => given[s.name] ?? refuse(`${what} ${s.name} is missing`));
    } else if (specs.length > 1) refuse(`pass an object with ${specs.map((s) => s.name).join(", ")}`);
    const label = (spec) => (specs.length === 1 ? what : `${what} ${spec.name}`);
    const arrays = specs.map((s, i) => numbersOf(found[i], s.dtype, label(s)));
    const counts = specs.map((s, i) => arrays[i].length / elementsOf(s.shape));
    specs.forEach((s, i) => {
      if (!Number.isInteger(counts[i]))
        refuse(`${label(s)} has ${arrays[i].length} numbers, and a sample ${elementsOf(s.shape)} (${s.shape.join(" x ")})`);
      if (counts[i] !== counts[0]) refuse(`${what}s are of ${counts[0]} and of ${counts[i]} samples`);
    });
    return [arrays, counts[0]];
  }

  #tensor(name) {
    const found = this.manifest.tensors.find((t) => t.name === name);
    if (!found) throw new NetError("NO_TENSOR", `no tensor is called ${name}: manifest.tensors has the names`);
    return found;
  }

  #nbytes(about) {
    return ARRAYS[about.dtype].BYTES_PER_ELEMENT * elementsOf(about.shape);
  }

  /** Places for a tensor's elements and for its name, which is written there. */
  #named(about, nbytes = this.#nbytes(about)) {
    const name = new TextEncoder().encode(`${about.name}\0`);
    const [at, text] = this.#places(this.#base, [nbytes, name.length]);
    this.#put(text, name);
    return [at, text];
  }

  /** Addresses of arrays, copied behind the net, and of room for so many bytes each. */
  #staged(arrays, sizes) {
    const at = this.#places(this.#base, [...arrays.map((a) => a.byteLength), ...sizes]);
    arrays.forEach((array, i) => this.#put(at[i], array));
    return at;
  }

  /** Addresses from `base` on for so many bytes each; the memory grows if it has to. */
  #places(base, sizes) {
    let end = base;
    const at = sizes.map((nbytes) => {
      const start = Math.ceil(end / 64) * 64;
      end = start + nbytes;
      return start;
    });
    const memory = this.#wasm.memory;
    const missing = Math.ceil((end - memory.buffer.byteLength) / 65536);
    try {
      if (missing > 0) memory.grow(missing);
    } catch {
      throw new NetError("TOO_SMALL", `there is no memory for ${end} bytes: pass fewer samples at once`);
    }
    return at;
  }

  #view(Type, at, length) {
    return new Type(this.#wasm.memory.buffer, at, length);
  }

  #copied(Type, at, length) {
    return this.#view(Type, at, length).slice();
  }

  #put(at, array) {
    this.#view(Uint8Array, at, array.byteLength).set(new Uint8Array(array.buffer, array.byteOffset, array.byteLength));
  }

  #text(at) {
    const bytes = new Uint8Array(this.#wasm.memory.buffer);
    return new TextDecoder().decode(bytes.slice(at, bytes.indexOf(0, at)));
  }

  #call(name, ...given) {
    const code = this.#wasm[`${NAME}_${name}`](...given);
    if (code) throw new NetError(CODES[code] ?? String(code), this.#text(this.#wasm[`${NAME}_message`](code)));
  }
}
