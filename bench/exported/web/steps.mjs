// Times an exported network beside TensorFlow.js in one process, in turns, as `node steps.mjs ABOUT.json`; prints JSON.
//
// ABOUT: {folder, peers: folder of node_modules or null, blocks, calls, batch, features, hidden, classes, rate}
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

const about = JSON.parse(readFileSync(process.argv[2]));
const { batch, features, hidden, classes } = about;

const began = performance.now();
const { Net } = await import(pathToFileURL(`${about.folder}/net.js`));
const module = (await Net.open()).module;
const loaded = performance.now() - began;
const x = Float32Array.from({ length: batch * features }, (_, i) => (Math.imul(i + 1, 0x9e3779b1) >>> 16) / 65536);
const y = Int32Array.from({ length: batch }, (_, i) => i % classes);

const opened = [];
let net;
for (let i = 0; i < 9; i++) {
  const start = performance.now();
  net = new Net(module);
  net.forward(x.subarray(0, features));
  opened.push((performance.now() - start) / 1000);
}

const sides = {
  loom_step: () => net.step(x, y),
  loom_forward: () => net.forward(x),
};
const losses = { loom: net.clone().step(x, y) };
const notes = [];

if (about.peers) {
  const require = createRequire(`${about.peers}/`);
  const tf = require("@tensorflow/tfjs");
  const wasm = require("@tensorflow/tfjs-backend-wasm");
  wasm.setWasmPaths(`${about.peers}/node_modules/@tensorflow/tfjs-backend-wasm/dist/`);
  await tf.setBackend("wasm");
  notes.push(`tfjs ${tf.version.tfjs}, ${wasm.getThreadsCount()} thread(s), node ${process.version}`);
  const model = tf.sequential({
    layers: [
      tf.layers.dense({ units: hidden, activation: "relu", inputShape: [features] }),
      tf.layers.dense({ units: classes }),
    ],
  });
  const shapes = [[features, hidden], [hidden], [hidden, classes], [classes]];
  const names = ["layers.0.weight", "layers.0.bias", "layers.1.weight", "layers.1.bias"];
  model.setWeights(names.map((name, i) => tf.tensor(net.read(name), shapes[i])));
  model.compile({ optimizer: tf.train.sgd(about.rate), loss: (t, p) => tf.losses.softmaxCrossEntropy(t, p) });
  const samples = tf.tensor(x, [batch, features]);
  const targets = tf.oneHot(tf.tensor1d(y, "int32"), classes).toFloat();
  losses.tfjs = await model.trainOnBatch(samples, targets);
  sides.tfjs_step = () => model.trainOnBatch(samples, targets);
  sides.tfjs_forward = () => {
    const made = model.predict(samples);
    made.dataSync();
    made.dispose();
  };
}

const blocks = Object.fromEntries(Object.keys(sides).map((name) => [name, []]));
for (let block = 0; block < about.blocks; block++)
  for (const [name, call] of Object.entries(sides)) {
    for (let i = 0; i < (block ? 1 : 30); i++) await call(); // the first time until the engine has compiled all of it
    const times = [];
    for (let i = 0; i < about.calls; i++) {
      const start = performance.now();
      await call();
      times.push((performance.now() - start) / 1000);
    }
    blocks[name].push(times);
  }
console.log(JSON.stringify({ blocks, losses, notes, loaded: loaded / 1000, opened }));
