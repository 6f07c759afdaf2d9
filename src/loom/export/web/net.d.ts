// Types of a network exported by Loom. Generated; do not edit.

/** An array of the dtype's own type, or numbers that it holds, nested or not. */
export type Numbers<T> = T | ArrayLike<number> | ArrayLike<bigint> | readonly Numbers<T>[];
export type Inputs = @INPUTS@;
export type Outputs = @OUTPUTS@;
//training
export type Targets = @TARGETS@;
//end
export type Elements =
  | Float64Array | Float32Array | BigInt64Array | BigUint64Array | Int32Array | Uint32Array | Int16Array | Uint16Array
  | Int8Array | Uint8Array;

export interface Column {
  readonly name: string;
  readonly dtype: string;
  /** Without the axis of samples. */
  readonly shape: readonly number[];
  /** Of ids: how many there are. */
  readonly vocabulary?: number;
  /** Of targets that are classes: how many there are, and what stands for none. */
  readonly classes?: number;
  readonly padding?: number;
  /** Of targets that are chances: the least and the most. */
  readonly range?: readonly number[];
}

export interface Manifest {
  readonly format: string;
  readonly name: string;
  readonly loom: string;
  readonly inputs: readonly Column[];
  readonly outputs: readonly Column[];
  readonly forward: readonly number[];
  readonly tensors: readonly Column[];
  readonly digest: string;
  readonly training?: {
    readonly samples: number;
    readonly batch: number;
    readonly step: readonly number[];
    readonly epochs: number;
    readonly shuffle: boolean;
    readonly seed: number;
    readonly accumulate: number;
    readonly patience: number | null;
    readonly least_gain: number;
    readonly held_out: number;
    /** What all epochs end in with the samples of the export, if it was asked. */
    readonly digest?: string;
    readonly targets: readonly Column[];
  };
}

export class NetError extends Error {
  constructor(code: string, text: string);
  readonly code: @CODES@ | "ARGUMENT" | "WASM";
  /** The message without the code. */
  readonly text: string;
}

//training
export interface TrainOptions {
  epochs?: number;
  /** As many as the export holds out (`manifest.training.held_out`): measured after each epoch, watched by patience. */
  validation?: [Inputs, Targets];
  onEpoch?(epoch: number, loss: number, validationLoss?: number): unknown;
}
//end

export class Net {
  /** Open the network: of the file beside this module, or of `wasm`. */
  static open(options?: { wasm?: URL | string | BufferSource | Response | WebAssembly.Module }): Promise<Net>;
  /** Of a compiled module, at once. */
  constructor(module: WebAssembly.Module);
  readonly module: WebAssembly.Module;
  readonly manifest: Manifest;
  /** Outputs for any number of samples. */
  forward(x: Inputs): Outputs;
//training
  /** One update with a batch of a size that `manifest.training.step` lists; the loss before it. */
  step(x: Inputs, y: Targets): number;
  /** Whole epochs, in the order that Loom takes; the loss of each. `onEpoch` stops by returning false. */
  train(x: Inputs, y: Targets, options?: TrainOptions): number[];
  /** A function that trains one epoch; null once the patience of the export is over. */
  trainer(x: Inputs, y: Targets, validation?: [Inputs, Targets]): () => { loss: number; validationLoss?: number } | null;
  /** The mean loss over samples; nothing changes. */
  score(x: Inputs, y: Targets): number;
  /** The same, and the share of classes that are said right; null for targets that are none. */
  evaluate(x: Inputs, y: Targets): { loss: number; accuracy: number | null };
//end
  /** Back to the weights it was exported with. */
  reset(): void;
  /** The elements of a tensor of the manifest. */
  read(name: string): Elements;
  /** Set all elements of a tensor. */
  write(name: string, data: Numbers<Elements>): void;
  /** SHA-256 of all weights, in hexadecimal: what `loom train` prints. */
  digest(): string;
  /** A .safetensors file with weights, the optimiser's state, and how far the training is. */
  save(): Uint8Array;
  /** Go on from what `save` gave. */
  load(file: Uint8Array | ArrayBuffer): void;
  /** Another net of the same weights and state. */
  clone(): Net;
}
