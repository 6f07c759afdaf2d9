// Types of a network exported by Loom. Generated; do not edit.

import type { Inputs, Outputs, Targets, Manifest, Elements, Numbers } from "./net.js";

export { NetError } from "./net.js";
export type { Inputs, Outputs, Targets, Manifest, Elements, Numbers } from "./net.js";

export type Backend = @BACKENDS@;
export type Module = URL | string | BufferSource | Response | WebAssembly.Module;
//training

/** `loss`; with validation data `val_loss` and, of classes, `val_acc`. */
export type Logs = { loss: number } & Record<string, number>;

export interface Callbacks {
  onTrainBegin?(logs: object): unknown;
  onTrainEnd?(logs: object): unknown;
  onEpochBegin?(epoch: number, logs: object): unknown;
  onEpochEnd?(epoch: number, logs: Logs): unknown;
}

export interface FitOptions {
  epochs?: number;
  /** Only that of the export: `manifest.training.batch`. */
  batchSize?: number;
  /** Only that of the export. */
  shuffle?: boolean;
  validationData?: [Inputs, Targets];
  callbacks?: Callbacks | Callbacks[];
}

export interface History {
  epoch: number[];
  history: { loss: number[] } & Record<string, number[]>;
}
//end

export class Net {
  /** Open the network on the first of `backend` that keeps Loom's bits here. */
  static open(options?: { backend?: Backend | Backend[]; wasm?: Module }): Promise<Net>;
  /** What computes. */
  readonly backend: Backend;
  /** Back ends that were tried before it, and why they were not taken. */
  readonly skipped: readonly { backend: Backend; reason: string }[];
  readonly manifest: Manifest;
  /** Outputs for any number of samples. */
  predict(x: Inputs): Promise<Outputs>;
  /** For each sample the class of the greatest output. */
  classify(x: Inputs): Promise<number[]>;
//training
  /** Set in a callback, it ends `fit` after the epoch. */
  stopTraining: boolean;
  /** Train whole epochs in the order that Loom takes. */
  fit(x: Inputs, y: Targets, options?: FitOptions): Promise<History>;
  /** The mean loss over samples and, where the targets are classes, the share that is told right. */
  evaluate(x: Inputs, y: Targets): Promise<{ loss: number; acc?: number }>;
  /** One update with a batch of a size that `manifest.training.step` lists; the loss before it. */
  trainOnBatch(x: Inputs, y: Targets): Promise<number>;
//end
  /** A .safetensors file with weights, the optimiser's state, and how far the training is. */
  save(): Promise<Uint8Array>;
  /** Go on from what `save` gave. */
  load(file: Uint8Array | ArrayBuffer): Promise<void>;
  /** Back to the weights it was exported with. */
  reset(): Promise<void>;
  /** The elements of a tensor of the manifest. */
  getWeights(name: string): Promise<Elements>;
  /** Set all elements of a tensor. */
  setWeights(name: string, data: Numbers<Elements>): Promise<void>;
  /** SHA-256 of all weights, in hexadecimal: what `loom train` prints. */
  digest(): Promise<string>;
  /** Give back what the back end holds. */
  dispose(): void;
}
