// A kernel exported by Loom, as WebAssembly: the bits of Loom. Generated; do not edit.
//
//   import { Kernel } from "./@NAME@.js";
//   const kernel = await Kernel.open();
//   kernel.run({ @GIVEN@ }, kernel.groups(@LANES@)); // arrays that the kernel writes hold the results

@COMMON@
/** The array of a buffer, and its lengths: of one of several dimensions, `{ data, shape }` tells them. */
function bufferFor(about, given) {
  if (given === undefined) refuse(`buffer ${about.name} is missing`);
  const [scalar, lanes] = about.dtype.split("x");
  const shape = about.ndim ? given?.shape : undefined;
  if (about.ndim && shape?.length !== about.ndim)
    refuse(`buffer ${about.name} has ${about.ndim} dimensions: pass { data, shape }`);
  const data = about.ndim ? given.data : given;
  const written = about.access !== "read";
  if (written && !is(data, ARRAYS[scalar])) refuse(`buffer ${about.name} is written: pass a ${ARRAYS[scalar].name}`);
  const array = numbersOf(data, scalar, `buffer ${about.name}`);
  const count = array.length / (lanes ?? 1);
  if (!Number.isInteger(count)) refuse(`buffer ${about.name} holds ${array.length} numbers, no multiple of ${lanes}`);
  if (shape && elementsOf(shape) !== count) refuse(`buffer ${about.name} has ${count} elements, and its shape ${shape.join(" x ")}`);
  return [array, shape ?? [count]];
}

/** No array that is written may share memory with another, as in C. */
function requireApart(buffers, arrays) {
  const share = (a, b) =>
    a.buffer === b.buffer && a.byteOffset < b.byteOffset + b.byteLength && b.byteOffset < a.byteOffset + a.byteLength;
  buffers.forEach((b, i) => {
    const k = buffers.findIndex((_, n) => n !== i && share(arrays[i], arrays[n]));
    if (b.access !== "read" && k >= 0)
      throw new NetError("OVERLAP", `${b.name} is written and shares memory with ${buffers[k].name}: pass another array`);
  });
}

/** What a parameter is if nothing is given; a text where JSON would lose a bit of it. */
function defaultOf({ default: value, dtype }) {
  return typeof value !== "string" ? value : dtype[0] === "f" ? Number(value) : BigInt(value);
}

/** A parameter as WebAssembly takes it. */
function parameterFor(about, given) {
  const value = given ?? defaultOf(about) ?? refuse(`parameter ${about.name} is missing`);
  const isBits = about.dtype === "f16" || about.dtype === "bf16";
  return numbersOf(isBits ? Uint16Array.of(value) : [value], about.dtype, `parameter ${about.name}`)[0];
}

function counted(value, what) {
  return Number.isInteger(value) && value >= 0 && value < 2 ** 32 ? value : refuse(`${what} are ${String(value)}, not a whole number of them`);
}

export class Kernel {
  #wasm;

  /** Open the kernel: of the file beside this one, or of `wasm`: a URL, bytes, a Response, a WebAssembly.Module. */
  static async open({ wasm = new URL("./@FILE@.wasm", import.meta.url), ...rest } = {}) {
    requireKnown(rest, ["wasm"], "option of open");
    return new Kernel(await compiled(wasm));
  }

  /** Of a compiled module, at once; `open` compiles one. */
  constructor(module) {
    this.#wasm = instantiate(module, "Kernel");
    this.module = module;
    this.manifest = JSON.parse(textAt(this.#wasm, this.#wasm[`${NAME}_manifest`]()));
  }

  /** Groups along each dimension for so many lanes, as those of the C header count them. */
  groups(...lanes) {
    return this.manifest.workgroup.map((n, i) => Math.ceil(counted(lanes[i] ?? 1, "lanes") / n));
  }

  /** Run so many groups along each dimension, with arrays and numbers by name. */
  run(given, groups) {
    const { buffers, params } = this.manifest;
    const counts = [0, 1, 2].map((i) => counted([groups].flat()[i] ?? 1, "groups"));
    requireKnown(given, [...buffers, ...params].map((p) => p.name), "argument");
    const [arrays, lengths] = [[], []];
    for (const b of buffers) {
      const [array, counts] = bufferFor(b, given[b.name]);
      arrays.push(array);
      lengths.push(counts);
    }
    requireApart(buffers, arrays);
    const at = places(this.#wasm, this.#wasm.__heap_base.value, arrays.map((a) => a.byteLength));
    arrays.forEach((array, i) => put(this.#wasm, at[i], array));
    const passed = buffers.flatMap((b, i) => [at[i], ...lengths[i]]);
    for (const p of params) passed.push(parameterFor(p, given[p.name]));
    call(this.#wasm, "run", ...passed, ...counts);
    buffers.forEach((b, i) => {
      if (b.access !== "read") bytesOfArray(arrays[i]).set(new Uint8Array(this.#wasm.memory.buffer, at[i], arrays[i].byteLength));
    });
  }
}
