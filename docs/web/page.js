// The page: what is drawn and asked. All that is computed is computed in workers (worker.js), by what Loom exported.

import { Pad } from "./pad.js";

const $ = (id) => document.getElementById(id);
const about = await (await fetch("about.json")).json();

/** A worker that is asked and answers, and tells of what it has so far. */
class Asked {
  #worker = new Worker("worker.js", { type: "module" });
  #open = new Map();
  #last = 0;

  constructor() {
    this.#worker.onmessage = ({ data: { id, told, found, error } }) => {
      const { tell, resolve, reject } = this.#open.get(id);
      if (told) return tell?.(told);
      this.#open.delete(id);
      return error === undefined ? resolve(found) : reject(new Error(error));
    };
  }

  ask(ask, given, tell) {
    const id = this.#last++;
    return new Promise((resolve, reject) => {
      this.#open.set(id, { tell, resolve, reject });
      this.#worker.postMessage({ id, ask, ...given });
    });
  }
}

const net = new Asked();
const kernels = new Asked();
const complain = (error) => ($("about").textContent = `Something went wrong: ${error.message}`);

/** Show two digests, and whether they are the same once that is asked for. */
function showDigests(id, here, isLast, same, different) {
  const box = $(id), there = box.querySelector(".there").textContent;
  box.querySelector(".here").textContent = here;
  box.dataset.state = !isLast ? "idle" : here === there ? "same" : "different";
  box.querySelector(".verdict").textContent = !isLast ? "" : here === there ? same : different;
}

const set = (id, text) => ($(id).textContent = text);
const milliseconds = (s) => `${(s * 1000).toFixed(s < 0.01 ? 1 : 0)} ms`;

// Training

const SVG = "http://www.w3.org/2000/svg";
const LEFT = 44, RIGHT = 624, TOP = 14, BOTTOM = 226;

function element(name, attributes, text) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (text !== undefined) made.textContent = text;
  return made;
}

/** Losses on a scale of powers of ten, which all of a training fits. */
function drawChart(losses) {
  const high = 2, low = 0.01;
  const x = (epoch) => LEFT + ((epoch - 1) / (about.epochs - 1)) * (RIGHT - LEFT);
  const y = (loss) => BOTTOM - (Math.log(Math.max(loss, low) / low) / Math.log(high / low)) * (BOTTOM - TOP);
  const parts = [];
  for (const loss of [0.01, 0.03, 0.1, 0.3, 1]) {
    parts.push(element("line", { class: "grid", x1: LEFT, x2: RIGHT, y1: y(loss), y2: y(loss) }));
    parts.push(element("text", { x: LEFT - 8, y: y(loss) + 4, "text-anchor": "end" }, loss));
  }
  for (const epoch of [1, 5, 10, 15, 20]) parts.push(element("text", { x: x(epoch), y: BOTTOM + 22, "text-anchor": "middle" }, epoch));
  if (losses.length) {
    parts.push(element("polyline", { class: "loss", points: losses.map((l, i) => `${x(i + 1)},${y(l)}`).join(" ") }));
    parts.push(element("circle", { cx: x(losses.length), cy: y(losses.at(-1)), r: 4.5 }));
  }
  $("chart").replaceChildren(...parts);
}

// What computes: the first choice is there always

const NAMES = { wasm: "WebAssembly", webgpu: "WebGPU" };
let backend = "wasm";

/** Buttons of which one is pressed; `choose` is called with a name and says which one it is then. */
function showChoices(id, names, choose) {
  if (names.length < 2) return;
  const buttons = names.map((name) => {
    const button = document.createElement("button");
    button.textContent = NAMES[name];
    button.dataset.backend = name;
    button.ariaPressed = String(name === "wasm");
    button.addEventListener("click", async () => {
      enableChoices(id, false);
      const chosen = await choose(name).catch(complain);
      for (const each of buttons) each.ariaPressed = String(each.dataset.backend === chosen);
      enableChoices(id, true);
    });
    return button;
  });
  $(id).replaceChildren(...buttons);
}

function enableChoices(id, isEnabled) {
  for (const button of $(id).children) button.disabled = !isEnabled;
}

/** Another back end, from its first weights on; why not, where it cannot compute here. */
async function choose(name) {
  set("unable", name === "wasm" ? "" : `${NAMES[name]} is opened: the device proves its arithmetic …`);
  $("start").disabled = true;
  try {
    const { digest } = await net.ask("open", { backend: name });
    backend = name;
    drawChart([]);
    showDigests("weights", digest, false);
    set("start", "Train");
    await look();
    set("unable", "");
  } catch (error) {
    set("unable", `${NAMES[name]} cannot compute it here: ${error.message.replace(/^BACKEND: (webgpu: )?(BACKEND: )?/, "")}`);
  }
  $("start").disabled = false;
  return backend;
}

async function train() {
  const losses = [];
  enableChoices("backends", false);
  $("start").disabled = true;
  drawChart(losses);
  await net.ask("train", { epochs: about.epochs, backend }, ({ epoch, loss, pace, right, digest }) => {
    losses.push(loss);
    drawChart(losses);
    set("epoch", `${epoch} of ${about.epochs}`);
    set("loss", loss.toFixed(4));
    set("right", right);
    set("pace", milliseconds(pace));
    const isLast = epoch === about.epochs;
    showDigests("weights", digest, isLast, "The same bits as in Python, every one.", "These are other bits: please report it.");
    look();
  });
  $("start").disabled = false;
  enableChoices("backends", true);
  set("start", "Train again");
}

// Drawing

const bars = Array.from({ length: 10 }, (_, digit) => {
  const item = document.createElement("li");
  item.append(document.createElement("i"), String(digit));
  return item;
});
$("bars").append(...bars);

const pad = new Pad($("canvas"), $("seen"), () => look());

async function look() {
  const x = pad.shades();
  let shares = new Float32Array(10);
  if (x) {
    const { made } = await net.ask("predict", { x, backend });
    const most = Math.max(...made);
    const powers = Array.from(made, (v) => Math.exp(v - most));
    const total = powers.reduce((a, b) => a + b);
    shares = powers.map((v) => v / total);
  }
  const best = shares.indexOf(Math.max(...shares));
  bars.forEach((item, digit) => {
    item.className = x && digit === best ? "most" : "";
    item.firstChild.style.height = `${(shares[digit] * 56).toFixed(1)}px`;
  });
  set("answer", x ? `${best}, ${(shares[best] * 100).toFixed(0)} %` : "");
}

// Mandelbrot

const WHOLE = about.mandelbrot;
let view = WHOLE;
let painter = "wasm";

async function paintOn(name) {
  const before = painter;
  painter = name;
  await drawFractal().catch((error) => {
    painter = before;
    set("drawn", `${NAMES[name]} cannot compute it here: ${error.message}`);
  });
  return painter;
}

/** Colours of an evening: dark at the edge, light where it takes long, black inside. */
function colour(turns, most) {
  if (turns >= most) return [8, 9, 18];
  const t = Math.sqrt(turns / most) * 3.2;
  const wave = (phase, low, high) => low + (high - low) * (0.5 - 0.5 * Math.cos(Math.PI * 2 * (t * 0.5 + phase)));
  return [wave(0.02, 18, 255), wave(0.96, 24, 214), wave(0.82, 66, 196)];
}

async function drawFractal() {
  const { width, height, most } = view;
  const { turns, seconds, digest } = await kernels.ask("mandelbrot", { ...view, backend: painter });
  const image = new ImageData(width, height);
  const colours = Array.from({ length: most + 1 }, (_, n) => colour(n, most));
  turns.forEach((n, i) => image.data.set([...colours[n], 255], i * 4));
  $("picture").getContext("2d").putImageData(image, 0, 0);
  set("drawn", `${(width * height).toLocaleString("en")} points, ${milliseconds(seconds)}`);
  showDigests("points", digest, view === WHOLE, "The same picture, bit for bit.", "This is another picture: please report it.");
}

$("picture").addEventListener("click", (event) => {
  const { width, height, left, top, step } = view;
  const box = event.target.getBoundingClientRect();
  const x = left + ((event.clientX - box.left) / box.width) * width * step;
  const y = top + ((event.clientY - box.top) / box.height) * height * step;
  const nearer = Math.max(step / 3, 2 ** -22);
  view = { ...view, step: nearer, left: x - (nearer * width) / 2, top: y - (nearer * height) / 2, most: 1000 };
  drawFractal().catch(complain);
});
$("whole").addEventListener("click", () => {
  view = WHOLE;
  drawFractal().catch(complain);
});

// Primes

async function count() {
  $("sieve").disabled = true;
  $("found").classList.remove("same");
  const { below, span, found: known } = about.primes;
  const show = (found) => set("found", found.toLocaleString("en"));
  const { found, seconds } = await kernels.ask("primes", { below, span }, ({ found, share }) => {
    show(found);
    $("progress").value = share;
  });
  show(found);
  $("found").classList.toggle("same", found === known);
  set("sieved", found === known ? `as Loom counts them, in ${seconds.toFixed(1)} s` : `Loom counts ${known}: please report it`);
  $("sieve").disabled = false;
}

document.querySelector("#weights .there").textContent = about.digest;
document.querySelector("#points .there").textContent = WHOLE.digest;
set("held", about.held);
$("start").addEventListener("click", () => train().catch(complain));
$("sieve").addEventListener("click", () => count().catch(complain));
$("clear").addEventListener("click", () => pad.clear());
drawChart([]);
const { digest, backends } = await net.ask("open", { backend });
showDigests("weights", digest, false);
showChoices("backends", backends.filter((name) => name in NAMES).reverse(), choose);
if (navigator.gpu) showChoices("painters", ["wasm", "webgpu"], paintOn);
await drawFractal();
$("start").disabled = false;
set("about", `Loom ${about.loom}. WebAssembly with SIMD, ${(about.bytes / 1024).toFixed(0)} KB with all weights; nothing else is loaded.`);
document.body.dataset.ready = "yes";
