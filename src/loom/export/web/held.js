  #wasm;
  #base; // where the memory that it does not hold begins
  #net;

  /** Open it: of the file beside this one, or of `wasm`: a URL, bytes, a Response, a WebAssembly.Module. */
  static async open({ wasm = new URL("./@FILE@.wasm", import.meta.url), ...rest } = {}) {
    requireKnown(rest, ["wasm"], "option of open");
    return new @CLASS@(await compiled(wasm));
  }

  /** Of a compiled module, at once; `open` compiles one. */
  constructor(module) {
    this.#wasm = instantiate(module, "@CLASS@");
    this.module = module;
    const size = this.#wasm[`${NAME}_size`]() >>> 0;
    const [memory, place] = places(this.#wasm, this.#wasm.__heap_base.value, [size, 8]);
    call(this.#wasm, "open", memory, size, place);
    this.#net = this.#view(Uint32Array, place, 1)[0];
    this.#base = memory + size;
    this.manifest = JSON.parse(textAt(this.#wasm, this.#wasm[`${NAME}_manifest`]()));
  }

  /** Back to the state it was exported with. */
  reset() {
    call(this.#wasm, "reset", this.#net);
  }

  /** The elements of a tensor of the manifest, by name. */
  read(name) {
    const about = this.#tensor(name);
    const [at, text] = this.#named(about);
    call(this.#wasm, "read", this.#net, text, at, this.#nbytes(about));
    return this.#copied(ARRAYS[about.dtype], at, elementsOf(about.shape));
  }

  /** Set all elements of a tensor. */
  write(name, data) {
    const about = this.#tensor(name);
    const given = numbersOf(data, about.dtype, name, about.shape);
    const [at, text] = this.#named(about, given.byteLength);
    put(this.#wasm, at, given);
    call(this.#wasm, "write", this.#net, text, at, given.byteLength);
  }

  /** SHA-256 of the state (of a network: of all weights), in hexadecimal: what `loom train` prints. */
  digest() {
    const [at] = places(this.#wasm, this.#base, [32]);
    call(this.#wasm, "digest", this.#net, at);
    return Array.from(this.#view(Uint8Array, at, 32), (b) => b.toString(16).padStart(2, "0")).join("");
  }

  /** A .safetensors file with the state: weights, what the optimiser keeps, and how far the training is. */
  save() {
    let [size] = places(this.#wasm, this.#base, [8]);
    call(this.#wasm, "save", this.#net, 0, 0, size);
    const nbytes = this.#view(Uint32Array, size, 1)[0];
    const [place, at] = places(this.#wasm, this.#base, [8, nbytes]);
    call(this.#wasm, "save", this.#net, at, nbytes, place);
    return this.#copied(Uint8Array, at, nbytes);
  }

  /** Go on from what `save` gave; a file that is not whole, or of another export, changes nothing. */
  load(file) {
    const bytes = is(file, ArrayBuffer) ? new Uint8Array(file) : file;
    if (!is(bytes, Uint8Array)) refuse("a saved file is a Uint8Array or an ArrayBuffer");
    const [at] = this.#staged([bytes], []);
    call(this.#wasm, "load", this.#net, at, bytes.byteLength);
  }

  /** Another of the same state, which shares nothing with this one. */
  clone() {
    const other = new @CLASS@(this.module);
    other.load(this.save());
    return other;
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
    const [at, text] = places(this.#wasm, this.#base, [nbytes, name.length]);
    put(this.#wasm, text, name);
    return [at, text];
  }

  /** Addresses of arrays, copied behind the net, and of room for so many bytes each. */
  #staged(arrays, sizes) {
    const at = places(this.#wasm, this.#base, [...arrays.map((a) => a.byteLength), ...sizes]);
    arrays.forEach((array, i) => put(this.#wasm, at[i], array));
    return at;
  }

  #view(Type, at, length) {
    return new Type(this.#wasm.memory.buffer, at, length);
  }

  #copied(Type, at, length) {
    return this.#view(Type, at, length).slice();
  }
