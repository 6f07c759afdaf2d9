// A network exported by Loom, as a package: the bits of Loom on every back end. Generated; do not edit.
//
//   import { Net } from "@PACKAGE@";
//   const net = await Net.open();
//   const history = await net.fit(x, y, { epochs: 3, callbacks: { onEpochEnd: (epoch, logs) => console.log(logs.loss) } });
//   const made = await net.predict(x);

import { Net as Plain, NetError } from "./net.js";
import { BACKENDS } from "./backends.js";

export { NetError };

const refuse = (text) => {
  throw new NetError("ARGUMENT", text);
};

function requireKnown(given, known, what) {
  const strange = Object.keys(given).find((name) => !known.includes(name));
  if (strange !== undefined) refuse(`there is no ${what} ${strange}, but ${known.join(", ")}`);
}

function requireCallbacks(given) {
  const known = ["onTrainBegin", "onTrainEnd", "onEpochBegin", "onEpochEnd"];
  if (given === null || typeof given !== "object") refuse(`callbacks are an object of ${known.join(", ")}`);
  requireKnown(given, known, "callback");
  const wrong = known.find((name) => given[name] !== undefined && typeof given[name] !== "function");
  if (wrong) refuse(`callback ${wrong} is no function`);
}

/** Lets the page draw and others work. */
const pause = () => new Promise((resume) => setTimeout(resume));

export class Net {
  #driver; // what computes: the face of net.js, of which any function may give a promise
  #isTraining = false;

  /**
   * Open the network on the first of `backend` that keeps Loom's bits here; `net.backend` says which that is, and
   * `net.skipped` why those before it are not. A name alone, "webgpu" or "wasm", is that one or an error.
   */
  static async open({ backend = Object.keys(BACKENDS), wasm, ...rest } = {}) {
    requireKnown(rest, ["backend", "wasm"], "option of open");
    const names = [backend].flat();
    const skipped = [];
    const plain = await Plain.open(wasm === undefined ? {} : { wasm });
    for (const name of names) {
      const open = Object.hasOwn(BACKENDS, name)
        ? BACKENDS[name]
        : refuse(`there is no backend ${name}, but ${Object.keys(BACKENDS).join(", ")}`);
      try {
        return new this(await open(plain, backend === name), name, skipped);
      } catch (error) {
        if (!(error instanceof NetError) || error.code !== "BACKEND") throw error;
        skipped.push({ backend: name, reason: error.text });
      }
    }
    throw new NetError("BACKEND", skipped.map((s) => `${s.backend}: ${s.reason}`).join("; ") || "no backend was named");
  }

  constructor(driver, backend, skipped) {
    this.#driver = driver;
    this.backend = backend;
    this.skipped = skipped;
    this.stopTraining = false;
  }

  get manifest() {
    return this.#driver.manifest;
  }

  /** Outputs for any number of samples: a flat array; of several outputs, arrays by name. */
  async predict(x) {
    return this.#driver.forward(x);
  }

  /** Train whole epochs in the order that Loom takes; callbacks and what comes back are those of TensorFlow.js. */
  async fit(x, y, { epochs = 1, batchSize, shuffle, validationData, callbacks = {}, ...rest } = {}) {
    requireKnown(rest, ["epochs", "batchSize", "shuffle", "validationData", "callbacks"], "option of fit");
    this.#requireAsExported({ batchSize, shuffle });
    if (!Number.isInteger(epochs) || epochs < 1) refuse(`epochs is ${String(epochs)}, not a whole number of them`);
    const calls = [callbacks].flat();
    calls.forEach(requireCallbacks);
    if (validationData !== undefined) this.#requireSamples(validationData);
    const call = async (name, ...given) => {
      for (const c of calls) await c[name]?.(...given);
    };
    if (this.#isTraining) refuse("it is training already: await the other fit first");
    this.#isTraining = true;
    this.stopTraining = false;
    try {
      const { held_out: held, patience } = this.manifest.training;
      if (held && patience !== null && !validationData)
        refuse(`the patience of the export watches ${held} samples that it holds out: pass validationData`);
      const epoch = await this.#driver.trainer(x, y, held ? validationData : undefined);
      const found = { epoch: [], history: { loss: [] } };
      await call("onTrainBegin", {});
      for (let n = 0; n < epochs && !this.stopTraining; n++) {
        await call("onEpochBegin", n, {});
        const trained = await epoch();
        if (!trained) break; // the patience of the export is over
        const logs = { loss: trained.loss };
        if (validationData) {
          const { loss, acc } = await this.evaluate(...validationData);
          logs.val_loss = trained.validationLoss ?? loss;
          if (acc !== undefined) logs.val_acc = acc;
        }
        found.epoch.push(n);
        for (const name of Object.keys(logs)) (found.history[name] ??= []).push(logs[name]);
        await call("onEpochEnd", n, logs);
        await pause();
      }
      await call("onTrainEnd", {});
      return found;
    } finally {
      this.#isTraining = false;
    }
  }

  /** The mean loss over samples and, where the targets are classes, the share that is told right. */
  async evaluate(x, y) {
    const { loss, accuracy } = await this.#driver.evaluate(x, y);
    return accuracy === null ? { loss } : { loss, acc: accuracy };
  }

  /** For each sample the class of the greatest output (the first of equals). */
  async classify(x) {
    const { outputs } = this.manifest;
    if (outputs.length !== 1 || outputs[0].shape.length !== 1) refuse("only outputs of one row of numbers tell classes");
    if (/16$/.test(outputs[0].dtype)) refuse(`outputs of ${outputs[0].dtype} are bits here: compare them yourself`);
    const made = await this.#driver.forward(x);
    const classes = outputs[0].shape[0];
    return Array.from({ length: made.length / classes }, (_, i) => greatest(made.subarray(i * classes, (i + 1) * classes)));
  }

  /** One update with a batch of a size that `manifest.training.step` lists; the loss before it. */
  async trainOnBatch(x, y) {
    return this.#driver.step(x, y);
  }

  /** A .safetensors file with weights, the optimiser's state, and how far the training is. */
  async save() {
    return this.#driver.save();
  }

  /** Go on from what `save` gave; a file that is not whole, or of another network, changes nothing. */
  async load(file) {
    return this.#driver.load(file);
  }

  /** Back to the weights it was exported with. */
  async reset() {
    return this.#driver.reset();
  }

  /** The elements of a tensor of the manifest. */
  async getWeights(name) {
    return this.#driver.read(name);
  }

  /** Set all elements of a tensor. */
  async setWeights(name, data) {
    return this.#driver.write(name, data);
  }

  /** SHA-256 of all weights, in hexadecimal: what `loom train` prints. */
  async digest() {
    return this.#driver.digest();
  }

  /** Give back what the back end holds; the net is of no use after it. */
  dispose() {
    this.#driver.dispose?.();
    this.#driver = new Proxy({}, { get: () => refuse("the net was disposed of: open another one") });
  }

  #requireSamples(both) {
    if (!Array.isArray(both) || both.length !== 2) refuse("validationData is not [x, y]");
    if (!this.#driver.given(...both).samples) refuse("validationData has no samples");
  }

  /** What an export fixes may be told again, and not otherwise. */
  #requireAsExported({ batchSize, shuffle }) {
    const { training } = this.manifest;
    if (!training) refuse("this export does not train: export it with --data");
    if (batchSize !== undefined && batchSize !== training.batch)
      refuse(`batchSize is ${batchSize}, and that of the export ${training.batch}: export it with --batch-size ${batchSize}`);
    if (shuffle !== undefined && shuffle !== training.shuffle)
      refuse(`shuffle is ${shuffle}, and that of the export ${training.shuffle}: leave it out`);
  }
}

function greatest(row) {
  let best = 0;
  for (let i = 1; i < row.length; i++)
    if (row[i] > row[best] || (Number.isNaN(row[i]) && !Number.isNaN(row[best]))) best = i; // as numpy's argmax
  return best;
}
