// A program exported by Loom, as WebAssembly: the bits of Loom. Generated; do not edit.
//
//   import { Program } from "./@FILE@.js";
//   const program = await Program.open();
//   const { @MADE@ } = program.run({ @GIVEN@ });
//
// Runs in node, Deno, Bun, a worker and a page; needs WebAssembly with SIMD. Arrays are flat and row-major.

@COMMON@
export class Program {
@HELD@
  /** One run: arrays by the names of the manifest's arguments; those that it writes, by theirs. */
  run(given) {
    const { arguments: all } = this.manifest;
    const read = all.filter((a) => a.read);
    requireKnown(given, read.map((a) => a.name), "argument");
    const arrays = read.map((a) => this.#argument(a, given[a.name]));
    const at = places(this.#wasm, this.#base, all.map((a) => this.#nbytes(a)));
    read.forEach((a, i) => put(this.#wasm, at[all.indexOf(a)], arrays[i]));
    call(this.#wasm, "run", this.#net, ...at);
    const made = all.flatMap((a, i) => (a.written ? [[a.name, this.#copied(ARRAYS[a.dtype], at[i], elementsOf(a.shape))]] : []));
    return Object.fromEntries(made);
  }

  #argument(about, value) {
    const label = `argument ${about.name}`;
    if (value === undefined) refuse(`${label} is missing`);
    const isOne = about.shape.length === 0 && (typeof value === "number" || typeof value === "bigint");
    const found = numbersOf(isOne ? [value] : value, about.dtype, label, about.shape);
    if (found.length !== elementsOf(about.shape))
      refuse(`${label} has ${found.length} numbers, not ${elementsOf(about.shape)} (${about.shape.join(" x ") || "one"})`);
    return found;
  }
}
