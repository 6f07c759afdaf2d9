// Runs compiled kernels in node: the same jobs as driver.c (kernel, bytes, bindings, then an image laid out for
// address 0), from standard input to standard output.
import { readSync, readFileSync, writeSync } from "node:fs";

const [LOG, BINDINGS] = [64, 128];
const { instance } = await WebAssembly.instantiate(readFileSync(process.argv[2]), {});
const { memory, __heap_base } = instance.exports;
const base = Math.ceil(__heap_base.value / 64) * 64;

function whole(call, bytes) {
  for (let at = 0; at < bytes.length; ) {
    try {
      const done = call(bytes, at);
      if (done === 0) return false;
      at += done;
    } catch (error) {
      if (error.code === "EOF") return false;
      if (error.code !== "EAGAIN") throw error;
    }
  }
  return true;
}

const read = (bytes) => whole((b, at) => readSync(0, b, at, b.length - at, null), bytes);
const write = (bytes) => whole((b, at) => writeSync(1, b, at, b.length - at), bytes);

const job = new BigUint64Array(3);
while (read(new Uint8Array(job.buffer))) {
  const [kernel, nbytes, bindings] = job;
  const missing = base + Number(nbytes) - memory.buffer.byteLength;
  if (missing > 0) memory.grow(Math.ceil(missing / 65536));
  const image = new Uint8Array(memory.buffer, base, Number(nbytes));
  if (!read(image)) process.exit(2);
  const words = new BigUint64Array(memory.buffer, base, BINDINGS / 8 + 2 * Number(bindings));
  words[1] += BigInt(base);
  words[2] += BigInt(base);
  for (let n = 0; n < bindings; n++) words[BINDINGS / 8 + 2 * n] += BigInt(base);
  const total = words[6];
  const entry = instance.exports[`loom_case_${kernel}`];
  entry(base, base + LOG, 0n, total / 2n);
  entry(base, base + LOG, total / 2n, total);
  write(image);
}
