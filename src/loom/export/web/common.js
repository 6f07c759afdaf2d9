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
    this.text = text;
  }
}

const refuse = (text) => {
  throw new NetError("ARGUMENT", text);
};

/** Whether a value is of a class, of this page or of another realm (frames, test runners). */
const is = (value, Type) => Object.prototype.toString.call(value) === `[object ${Type.name}]`;

function requireKnown(given, known, what) {
  const strange = Object.keys(given).find((name) => !known.includes(name));
  if (strange !== undefined) refuse(`there is no ${what} ${strange}, but ${known.join(", ")}`);
}

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
  if (is(source, ArrayBuffer) || ArrayBuffer.isView(source)) return source;
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

/**
 * The numbers of an array, or of arrays of arrays, as an array of `Type`; what would not stay the same is refused, and so
 * are nested arrays that are neither samples of this `shape` nor one.
 */
function numbersOf(data, dtype, what, shape) {
  const Type = ARRAYS[dtype];
  if (is(data, Type)) return data;
  if (dtype === "f16" || dtype === "bf16") {
    if (dtype === "f16" && globalThis.Float16Array && is(data, globalThis.Float16Array))
      return new Uint16Array(data.buffer, data.byteOffset, data.length);
    refuse(`${what} is ${dtype}: pass its bits as a Uint16Array`);
  }
  const flat = flattened(data, what);
  if (flat !== data) requireShape(lengthsOf(data, what), shape, what);
  const found = new Type(flat.length);
  const fit = dtype === "f32" ? narrow : dtype === "f64" ? number : dtype === "bool" ? truth : wholeNumber(dtype);
  for (let i = 0; i < flat.length; i++) found[i] = fit(flat[i], what);
  return found;
}

function number(value, what) {
  return typeof value === "number" ? value : refuse(`${what} holds ${String(value)}, which is no number`);
}

function narrow(value, what) {
  if (Number.isFinite(number(value, what)) && !Number.isFinite(Math.fround(value)))
    refuse(`${what} holds ${value}, which f32 cannot hold`);
  return value;
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

/** How long nested arrays are, from the outermost on. */
function lengthsOf(data, what) {
  if (!Array.isArray(data) || !data.some((row) => typeof row === "object" && row !== null)) return [data.length];
  const rows = data.map((row) => lengthsOf(row, what));
  const other = rows.find((row) => String(row) !== String(rows[0]));
  if (other) refuse(`${what} has rows of ${rows[0].join(" x ")} and of ${other.join(" x ")} numbers`);
  return [data.length, ...rows[0]];
}

function requireShape(lengths, shape, what) {
  const [each, all] = [lengths.slice(1), String(shape)];
  if (shape === undefined || String(lengths) === all || String(each) === all) return;
  if (each.length === 1 && each[0] === elementsOf(shape)) return;
  refuse(`${what} is ${lengths.join(" x ")}, and a sample ${shape.join(" x ") || "one number"}`);
}

const elementsOf = (shape) => shape.reduce((n, length) => n * length, 1);

/** Addresses from `base` on for so many bytes each; the memory grows if it has to. */
function places(wasm, base, sizes) {
  let end = base;
  const at = sizes.map((nbytes) => {
    const start = Math.ceil(end / 64) * 64;
    end = start + nbytes;
    return start;
  });
  const missing = Math.ceil((end - wasm.memory.buffer.byteLength) / 65536);
  try {
    if (missing > 0) wasm.memory.grow(missing);
  } catch {
    throw new NetError("TOO_SMALL", `there is no memory for ${end} bytes: pass less at once`);
  }
  return at;
}

const bytesOfArray = (array) => new Uint8Array(array.buffer, array.byteOffset, array.byteLength);

const put = (wasm, at, array) => new Uint8Array(wasm.memory.buffer, at, array.byteLength).set(bytesOfArray(array));

function textAt(wasm, at) {
  const bytes = new Uint8Array(wasm.memory.buffer);
  return new TextDecoder().decode(bytes.slice(at, bytes.indexOf(0, at)));
}

function call(wasm, name, ...given) {
  const code = wasm[`${NAME}_${name}`](...given);
  if (code) throw new NetError(CODES[code] ?? String(code), textAt(wasm, wasm[`${NAME}_message`](code)));
}

function instantiate(module, what) {
  if (!(module instanceof WebAssembly.Module)) refuse(`a ${what} is made of a WebAssembly.Module: use await ${what}.open()`);
  if (new Uint8Array(Uint16Array.of(1).buffer)[0] === 0)
    throw new NetError("WASM", "this processor's byte order is not that of WebAssembly");
  const ours = WebAssembly.Module.exports(module).some((e) => e.name.startsWith(`${NAME}_`));
  if (!ours || WebAssembly.Module.imports(module).length)
    throw new NetError("WASM", `it is another module than that of ${NAME}: pass the one that was exported with this file`);
  return new WebAssembly.Instance(module, {}).exports;
}
