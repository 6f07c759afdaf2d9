// What computes, each in a worker of its own: asked by { id, ask, ... }, it answers { id, ... }, and tells of progress
// between. The modules beside it are made by tools/web.py.

import { Kernel as Mandelbrot } from "./mandelbrot.js";
import { Kernel as Primes } from "./primes.js";
import { GpuPicture } from "./gpu.js";
import { BACKENDS } from "./digits/backends.js";
import { Net } from "./digits/index.js";

const opened = {};
const once = (name, open) => (opened[name] ??= open().catch((error) => { delete opened[name]; throw error; }));
const hex = (bytes) => Array.from(new Uint8Array(bytes), (b) => b.toString(16).padStart(2, "0")).join("");

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

/** In a list a back end is not asked for by name: a processor that plays a GPU is none. */
const netOn = (backend) => once(`net on ${backend}`, () => Net.open({ backend: [backend] }));

const asks = {
  /** What may compute here; the digest of the first weights. */
  async open({ backend }) {
    const net = await netOn(backend);
    return { backends: Object.keys(BACKENDS), digest: await net.digest() };
  },

  /** Train from the first weights on, epoch by epoch. */
  async train({ epochs, backend }, tell) {
    const net = await netOn(backend);
    const { train, held } = await once("samples", samples);
    const steps = Math.ceil(train.y.length / net.manifest.training.batch);
    let start;
    await net.reset();
    await net.fit(train.x, train.y, {
      epochs,
      callbacks: {
        onEpochBegin: () => (start = performance.now()),
        async onEpochEnd(epoch, { loss }) {
          const pace = (performance.now() - start) / 1000 / steps;
          const { acc } = await net.evaluate(held.x, held.y);
          tell({ epoch: epoch + 1, loss, pace, right: Math.round(acc * held.y.length), digest: await net.digest() });
        },
      },
    });
    return {};
  },

  async predict({ x, backend }) {
    return { made: await (await netOn(backend)).predict(x) };
  },

  async mandelbrot({ width, height, left, top, step, most, backend }) {
    const view = { width, height, left, top, step, most };
    const isGpu = backend === "webgpu";
    const kernel = isGpu
      ? await once("picture", async () => GpuPicture.open(await (await fetch("mandelbrot.json")).json()))
      : await once("mandelbrot", () => Mandelbrot.open());
    let turns = new Uint32Array(width * height);
    const start = performance.now();
    if (isGpu) turns = await kernel.run(view);
    else kernel.run({ turns, ...view }, kernel.groups(width, height));
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
