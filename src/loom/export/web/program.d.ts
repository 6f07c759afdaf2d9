// Types of a program exported by Loom. Generated; do not edit.

/** An array of the dtype's own type, or numbers that it holds, nested or not. */
export type Numbers<T> = T | ArrayLike<number> | ArrayLike<bigint> | readonly Numbers<T>[];
export type Given = {
@GIVEN@
};
export type Made = {
@MADE@
};
export type Elements =
  | Float64Array | Float32Array | BigInt64Array | BigUint64Array | Int32Array | Uint32Array | Int16Array | Uint16Array
  | Int8Array | Uint8Array;

export interface Column {
  readonly name: string;
  readonly dtype: string;
  readonly shape: readonly number[];
}

export interface Manifest {
  readonly format: string;
  readonly kind: "program";
  readonly name: string;
  readonly loom: string;
  readonly arguments: readonly (Column & { readonly read: boolean; readonly written: boolean })[];
  readonly tensors: readonly Column[];
  readonly digest: string;
}

export class NetError extends Error {
  constructor(code: string, text: string);
  readonly code: @CODES@ | "ARGUMENT" | "WASM";
  /** The message without the code. */
  readonly text: string;
}

export class Program {
  /** Open the program: of the file beside this module, or of `wasm`. */
  static open(options?: { wasm?: URL | string | BufferSource | Response | WebAssembly.Module }): Promise<Program>;
  /** Of a compiled module, at once. */
  constructor(module: WebAssembly.Module);
  readonly module: WebAssembly.Module;
  readonly manifest: Manifest;
  /** One run; what it writes comes back by name. */
  run(given: Given): Made;
  /** Back to the state it was exported with. */
  reset(): void;
  /** The elements of a tensor of the manifest. */
  read(name: string): Elements;
  /** Set all elements of a tensor. */
  write(name: string, data: Numbers<Elements>): void;
  /** SHA-256 of the state, in hexadecimal. */
  digest(): string;
  /** A .safetensors file with the state. */
  save(): Uint8Array;
  /** Go on from what `save` gave. */
  load(file: Uint8Array | ArrayBuffer): void;
  /** Another of the same state. */
  clone(): Program;
}
