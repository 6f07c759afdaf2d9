// Trains any exported network with arrays of files, as `node every.mjs FOLDER`; prints what came out as JSON.
import { readFileSync } from "node:fs";

const folder = process.argv[2];
const { Net } = await import(`${folder}/net.js`);
const { epochs } = JSON.parse(readFileSync(`${folder}/asked.json`));
const ARRAYS = {
  f64: Float64Array, f32: Float32Array, i32: Int32Array, i64: BigInt64Array, u32: Uint32Array, u8: Uint8Array, bool: Uint8Array,
  f16: Uint16Array, bf16: Uint16Array,
};
const column = (kind) => (c, i) => [c.name, new ARRAYS[c.dtype](new Uint8Array(readFileSync(`${folder}/${kind}${i}`)).buffer)];
const bits = (made) => (ArrayBuffer.isView(made) ? [made] : Object.values(made)).map((a) => Buffer.from(a.buffer).toString("hex"));

const net = await Net.open();
const x = Object.fromEntries(net.manifest.inputs.map(column("x")));
const y = Object.fromEntries(net.manifest.training.targets.map(column("y")));
const told = { first: net.digest(), before: bits(net.forward(x)) };
told.losses = net.train(x, y, { epochs });
told.digest = net.digest();
told.after = bits(net.forward(x));
const other = net.clone();
told.cloned = other.digest();
other.reset();
told.reset = other.digest();
console.log(JSON.stringify(told));
