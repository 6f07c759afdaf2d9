// What computes, each in a worker of its own: asked by { id, ask, ... }, it answers { id, ... }, and tells of progress
// between. The modules beside it are made by tools/web.py.

import { Kernel as Mandelbrot } from "./mandelbrot.js";
import { Kernel as Primes } from "./primes.js";
import { Net } from "./digits.js";

const opened = {};
const once = (name, open) => (opened[name] ??= open());
const hex = (bytes) => Array.from(new Uint8Array(bytes), (b) => b.toString(16).padStart(2, "0")).join("");
const pause = () => new Promise((resume) => setTimeout(resume));

/** Samples as they are trained with, and those that are not: 64 shades from 0 to 16 each, then their classes. */
async function samples() {
  const about = await (await fetch("about.json")).json();
  const bytes = new Uint8Array(await (await fetch("digits.bin")).arrayBuffer());
  const part = (first, count) => ({
    x: Float32Array.from(bytes.subarray(first * 65, first * 65 + count * 64), (v) => v / 16),
    y: Int32Array.from(bytes.subarray(first * 65 + count * 64, (first + count) * 65)),
  });
  return { train: part(0, about.train), held: part(about.train, about.held) };
}

function countRight(net, { x, y }) {
  const made = net.forward(x);
  let right = 0;
  for (let i = 0; i < y.length; i++) {
    const row = made.subarray(i * 10, i * 10 + 10);
    if (row.indexOf(Math.max(...row)) === y[i]) right++;
  }
  return right;
}

const asks = {
  /** Train from the first weights on, epoch by epoch. */
  async train({ epochs }, tell) {
    const net = await once("net", () => Net.open());
    const { train, held } = await once("samples", samples);
    net.reset();
    const epoch = net.trainer(train.x, train.y);
    for (let n = 1; n <= epochs; n++) {
      const start = performance.now();
      const { loss } = epoch();
      const seconds = (performance.now() - start) / 1000;
      const steps = Math.ceil(train.y.length / net.manifest.training.batch);
      tell({ epoch: n, loss, pace: seconds / steps, right: countRight(net, held), digest: net.digest() });
      await pause(); // a digit that was drawn meanwhile is looked at
    }
    return {};
  },

  async predict({ x }) {
    const net = await once("net", () => Net.open());
    return { made: net.forward(x), digest: net.digest() };
  },

  async mandelbrot({ width, height, left, top, step, most }) {
    const kernel = await once("mandelbrot", () => Mandelbrot.open());
    const turns = new Uint32Array(width * height);
    const start = performance.now();
    kernel.run({ turns, width, height, left, top, step, most }, kernel.groups(width, height));
    const seconds = (performance.now() - start) / 1000;
    return { turns, seconds, digest: hex(await crypto.subtle.digest("SHA-256", turns)) };
  },

  async primes({ below, span }, tell) {
    const kernel = await once("primes", () => Primes.open());
    const odd = oddPrimes(Math.floor(Math.sqrt(below)));
    const segments = Math.ceil(below / span);
    const start = performance.now();
    let found = 0;
    for (let first = 0; first < segments; first += 64) {
      const counts = new Uint32Array(Math.min(64, segments - first));
      kernel.run({ odd, counts, first, below }, kernel.groups(counts.length));
      found += counts.reduce((a, b) => a + b);
      tell({ found, share: (first + counts.length) / segments });
    }
    return { found, seconds: (performance.now() - start) / 1000 };
  },
};

function oddPrimes(most) {
  const composite = new Uint8Array(most + 1), found = [];
  for (let p = 3; p <= most; p += 2) {
    if (composite[p]) continue;
    found.push(p);
    for (let n = p * p; n <= most; n += p) composite[n] = 1;
  }
  return Uint32Array.from(found);
}

addEventListener("message", async ({ data: { id, ask, ...given } }) => {
  try {
    const found = await asks[ask](given, (told) => postMessage({ id, told }));
    postMessage({ id, found });
  } catch (error) {
    postMessage({ id, error: error.message });
  }
});
