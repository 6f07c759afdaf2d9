// A network exported by Loom, as WebAssembly: it computes and trains to the bits of Loom. Generated; do not edit.
//
//   import { Net } from "./@FILE@.js";
//   const net = await Net.open();
//   const y = net.forward(x);
//
// Runs in node, Deno, Bun, a worker and a page; needs WebAssembly with SIMD. Arrays are flat and row-major, samples first.

@COMMON@
/** Whether the numbers of an input or target are what the manifest tells of it. */
function isSound(array, { dtype, vocabulary, classes = vocabulary, padding, range }) {
  const mask = { f16: 0x7c00, bf16: 0x7f80 }[dtype];
  if (mask) return classes === undefined && !range && array.every((word) => (word & mask) !== mask);
  return array.every((element) => {
    const value = Number(element);
    if (classes !== undefined) return value === padding || (Number.isInteger(value) && value >= 0 && value < classes);
    return Number.isFinite(value) && (!range || (value >= range[0] && value <= range[1]));
  });
}

export class Net {
@HELD@
  /** Outputs for any number of samples: an array; of a network of several outputs, arrays by name. */
  forward(x) {
    const { inputs, outputs } = this.manifest;
    const [given, samples] = this.#columns(inputs, x, "input");
    const sizes = outputs.map((o) => ARRAYS[o.dtype].BYTES_PER_ELEMENT * elementsOf(o.shape) * samples);
    const at = this.#staged(given, sizes);
    call(this.#wasm, "forward", this.#net, ...at, samples);
    const made = outputs.map((o, i) => this.#copied(ARRAYS[o.dtype], at[given.length + i], elementsOf(o.shape) * samples));
    return outputs.length === 1 ? made[0] : Object.fromEntries(outputs.map((o, i) => [o.name, made[i]]));
  }

  /**
   * What another back end computes with: arrays of inputs, and of targets if they are passed, how many samples, and whether
   * they may be computed with; else `forward` and others of this net tell what is wrong with them.
   */
  given(...both) {
    const { inputs, training } = this.manifest;
    const [arrays, samples] = both.length > 1 ? this.#samples(...both) : this.#columns(inputs, both[0], "input");
    return { arrays, samples, isSound: arrays.every((array, i) => isSound(array, [...inputs, ...(training?.targets ?? [])][i])) };
  }

  /** The bytes of a tensor, or of how far the training is (`training/progress`), for another back end. */
  bytes(name, nbytes) {
    const [at, text] = this.#named({ name }, nbytes);
    call(this.#wasm, "read", this.#net, text, at, nbytes);
    return this.#copied(Uint8Array, at, nbytes);
  }

  setBytes(name, bytes) {
    const [at, text] = this.#named({ name }, bytes.length);
    put(this.#wasm, at, bytes);
    call(this.#wasm, "write", this.#net, text, at, bytes.length);
  }

  /** Outputs as `forward` gives them, of the bytes of each. */
  made(parts) {
    const { outputs } = this.manifest;
    const made = outputs.map((o, i) => new ARRAYS[o.dtype](parts[i].buffer));
    return outputs.length === 1 ? made[0] : Object.fromEntries(outputs.map((o, i) => [o.name, made[i]]));
  }

  /** One update with a batch of a size that the manifest lists (`training.step`); the loss before it. */
  step(x, y) {
    const [given, samples] = this.#samples(x, y);
    const at = this.#staged(given, [8]);
    call(this.#wasm, "step", this.#net, ...at.slice(0, -1), samples, at.at(-1));
    return this.#view(Float64Array, at.at(-1), 1)[0];
  }

  /**
   * Whole epochs over the samples, in the order that Loom takes; the loss of each. `validation`: `[x, y]` that are
   * measured after each epoch. `onEpoch(epoch, loss, validationLoss)` stops by returning false; so does the patience of
   * the export.
   */
  train(x, y, { epochs = 1, validation, onEpoch, ...rest } = {}) {
    requireKnown(rest, ["epochs", "validation", "onEpoch"], "option of train");
    if (!Number.isInteger(epochs) || epochs < 1) refuse(`epochs is ${String(epochs)}, not a whole number of them`);
    const epoch = this.trainer(x, y, validation);
    const losses = [];
    for (let n = 0; n < epochs; n++) {
      const told = epoch();
      if (!told) break;
      losses.push(told.loss);
      if (onEpoch?.(n, told.loss, told.validationLoss) === false) break;
    }
    return losses;
  }

  /**
   * A function that trains one epoch with these samples and returns `{ loss, validationLoss }`, null once the patience of
   * the export is over: for those who do other things between.
   */
  trainer(x, y, validation) {
    const { held_out: held } = this.#training();
    const [given, samples] = this.#samples(x, y);
    const [measured, count] = validation ? this.#samples(...validation) : [[], 0];
    if (validation && !held) refuse("this export holds no samples out: export it with validation samples, or evaluate them");
    if (validation && count !== held) refuse(`validation has ${count} samples, and that of the export ${held}`);
    const name = validation ? "train_validated" : "train";
    let isFirst = true;
    return () => {
      const at = this.#staged([...given, ...measured], validation ? [8, 8] : [8]);
      const [trained, rest] = [at.slice(0, given.length), at.slice(given.length, given.length + measured.length)];
      const losses = at.slice(given.length + measured.length);
      const more = validation ? [...rest, count, 1] : [1];
      try {
        call(this.#wasm, name, this.#net, ...trained, samples, ...more, ...losses);
      } catch (error) {
        if (error.code !== "OVER" || isFirst) throw error;
        return null;
      }
      isFirst = false;
      const [loss, validationLoss] = losses.map((place) => this.#view(Float64Array, place, 1)[0]);
      return validation ? { loss, validationLoss } : { loss };
    };
  }

  /** The mean loss over samples; nothing changes. */
  score(x, y) {
    const [given, samples] = this.#samples(x, y);
    const at = this.#staged(given, [8]);
    call(this.#wasm, "score", this.#net, ...at.slice(0, -1), samples, at.at(-1));
    return this.#view(Float64Array, at.at(-1), 1)[0];
  }

  /** The same, and the share of classes that are said right; null for targets that are none. */
  evaluate(x, y) {
    const [given, samples] = this.#samples(x, y);
    const at = this.#staged(given, [8, 8]);
    call(this.#wasm, "evaluate", this.#net, ...at.slice(0, -2), samples, ...at.slice(-2));
    const [loss, accuracy] = at.slice(-2).map((place) => this.#view(Float64Array, place, 1)[0]);
    return { loss, accuracy: Number.isNaN(accuracy) ? null : accuracy };
  }

  #samples(x, y) {
    const training = this.#training();
    const { inputs } = this.manifest;
    const [given, samples] = this.#columns(inputs, x, "input");
    const [wanted, targets] = this.#columns(training.targets, y, "target");
    if (samples !== targets) refuse(`there are ${samples} samples and targets of ${targets}`);
    return [[...given, ...wanted], samples];
  }

  #training() {
    return this.manifest.training ?? refuse("this export does not train: export it with --data");
  }

  /** Arrays in the order of `specs`, and of how many samples they are. */
  #columns(specs, given, what) {
    let found = [given];
    if (!Array.isArray(given) && !ArrayBuffer.isView(given) && given !== null && typeof given === "object") {
      requireKnown(given, specs.map((s) => s.name), what);
      found = specs.map((s) => given[s.name] ?? refuse(`${what} ${s.name} is missing`));
    } else if (specs.length > 1) refuse(`pass an object with ${specs.map((s) => s.name).join(", ")}`);
    const label = (spec) => (specs.length === 1 ? what : `${what} ${spec.name}`);
    const arrays = specs.map((s, i) => numbersOf(found[i], s.dtype, label(s), s.shape));
    const counts = specs.map((s, i) => arrays[i].length / elementsOf(s.shape));
    specs.forEach((s, i) => {
      if (!Number.isInteger(counts[i]))
        refuse(`${label(s)} has ${arrays[i].length} numbers, and a sample ${elementsOf(s.shape)} (${s.shape.join(" x ")})`);
      if (counts[i] !== counts[0]) refuse(`${what}s are of ${counts[0]} and of ${counts[i]} samples`);
    });
    return [arrays, counts[0]];
  }
}
