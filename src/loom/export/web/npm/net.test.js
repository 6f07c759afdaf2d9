// What came with the package computes here what Loom computed where it was exported: `npm test`.
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { Net, NetError } from "../index.js";
import { Net as Inline } from "../inline.js";

const SAMPLES = @SAMPLES@;
const OUTPUTS_SHA256 = @OUTPUTS_SHA256@; // of Loom's own outputs for those samples; null if it has nothing to compare

/** Numbers that depend on nothing: 16 bits of a product, as a share of one. */
const number = (i) => (Math.imul(i + 1, 0x9e3779b1) >>> 16) / 65536;

function inputs({ inputs: columns }, samples) {
  const found = columns.map(({ dtype, shape }) => {
    const n = samples * shape.reduce((a, b) => a * b, 1);
    return Array.from({ length: n }, (_, i) => (/^f(32|64)/.test(dtype) ? number(i) : 0));
  });
  return columns.length === 1 ? found[0] : Object.fromEntries(columns.map((c, i) => [c.name, found[i]]));
}

const hash = (made) => {
  const all = createHash("sha256");
  for (const a of ArrayBuffer.isView(made) ? [made] : Object.values(made))
    all.update(new Uint8Array(a.buffer, a.byteOffset, a.byteLength));
  return all.digest("hex");
};

test("the weights are those of the export", async () => {
  const net = await Net.open();
  assert.equal(await net.digest(), net.manifest.digest);
});

test("the outputs are Loom's, bit for bit", { skip: OUTPUTS_SHA256 === null }, async () => {
  const net = await Net.open();
  assert.equal(hash(await net.predict(inputs(net.manifest, SAMPLES))), OUTPUTS_SHA256);
});

test("with the module inside it is the same network", async () => {
  assert.equal(await (await Inline.open()).digest(), await (await Net.open()).digest());
});

test("what was saved is loaded, and nothing else", async () => {
  const net = await Net.open();
  const file = await net.save();
  await net.load(file);
  assert.equal(await net.digest(), net.manifest.digest);
  await assert.rejects(net.load(file.subarray(1)), NetError);
});

const FOLDER = process.env.SAMPLES;
const TYPES = { f32: Float32Array, f64: Float64Array, i32: Int32Array, u32: Uint32Array, i16: Int16Array, u8: Uint8Array };
const { inputs: GIVEN, training } = (await Net.open()).manifest;
const FILES = [...GIVEN, ...(training?.targets ?? [])];
const not_tried = !training?.digest
  ? "the export knows no digest of a training: loom export --samples"
  : !FILES.every(({ dtype }) => dtype in TYPES)
    ? "elements of a type that JavaScript has no arrays of"
    : !FOLDER && "SAMPLES names no folder that loom export --samples wrote";

/** The arrays of a folder's files: one, or by name. */
function read(columns, only, before = "") {
  const found = columns.map(({ name, dtype }) => {
    const data = readFileSync(join(FOLDER, `${columns.length === 1 ? only : before + name}.bin`));
    return [name, new TYPES[dtype](data.buffer.slice(data.byteOffset, data.byteOffset + data.length))];
  });
  return found.length === 1 ? found[0][1] : Object.fromEntries(found);
}

test("with the samples of the export it trains to Loom's digest", { skip: not_tried }, async () => {
  const net = await Net.open();
  await net.fit(read(GIVEN, "x"), read(training.targets, "target", "target_"), { epochs: training.epochs });
  assert.equal(await net.digest(), training.digest);
});
