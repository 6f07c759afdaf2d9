// Types of a kernel exported by Loom. Generated; do not edit.

/** An array of the dtype's own type, or numbers that it holds, nested or not. */
export type Numbers<T> = T | ArrayLike<number> | ArrayLike<bigint> | readonly Numbers<T>[];

export interface Given {
@FIELDS@
}

export class NetError extends Error {
  constructor(code: string, text: string);
  readonly code: @CODES@ | "ARGUMENT" | "TOO_SMALL" | "WASM";
  /** The message without the code. */
  readonly text: string;
}

export class Kernel {
  /** Open the kernel: of the file beside this module, or of `wasm`. */
  static open(options?: { wasm?: URL | string | BufferSource | Response | WebAssembly.Module }): Promise<Kernel>;
  /** Of a compiled module, at once. */
  constructor(module: WebAssembly.Module);
  readonly module: WebAssembly.Module;
  readonly manifest: { readonly name: string; readonly workgroup: readonly [number, number, number] };
  /** Groups along each dimension for so many lanes. */
  groups(...lanes: number[]): [number, number, number];
  /** Run so many groups along each dimension; arrays that the kernel writes hold the results. */
  run(given: Given, groups: number | readonly number[]): void;
}
