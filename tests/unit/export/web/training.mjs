// Opens an exported network and does what the test asks, as `node training.mjs FOLDER`; prints what came out as JSON.
import { readFileSync } from "node:fs";
import { runInNewContext } from "node:vm";

const folder = process.argv[2];
const { Net, NetError } = await import(`${folder}/net.js`);
const asked = JSON.parse(readFileSync(`${folder}/asked.json`));
const typed = (file, Type) => new Type(new Uint8Array(readFileSync(`${folder}/${file}`)).buffer);
const bits = (a) => Buffer.from(a.buffer, a.byteOffset, a.byteLength).toString("hex");
const x = typed("x", Float32Array), y = typed("y", Int32Array);
const told = {};
const refused = (name, f) => {
  try {
    told[name] = `not refused: ${f()}`;
  } catch (error) {
    told[name] = error instanceof NetError ? [error.code, error.message] : String(error);
  }
};

const net = await Net.open();
told.manifest = net.manifest;
told.first = net.digest();
told.before = bits(net.forward(x));
told.losses = net.train(x, y, { epochs: asked.epochs });
told.digest = net.digest();
told.after = bits(net.forward(x));
if (asked.more) {
  const { shape } = net.manifest.inputs[0];
  const each = shape.reduce((a, b) => a * b, 1);
  told.imports = WebAssembly.Module.imports(net.module).length;
  const saved = net.save();
  const other = net.clone();
  told.cloned = other.digest();
  told.score = other.score(x, y);
  told.evaluation = other.evaluate(x, y);
  told.nested = bits(other.forward([Array.from(x.subarray(0, each)), x.subarray(each, 2 * each)]));
  told.of_name = bits(other.forward({ [net.manifest.inputs[0].name]: x.slice(0, each) }));
  other.write("layers.0.weight", other.read("layers.0.weight").fill(0.5));
  told.written = Array.from(other.read("layers.0.weight").slice(0, 2));
  other.reset();
  told.reset = other.digest();
  told.step = other.step(x.subarray(0, 32 * each), Array.from(y.subarray(0, 32)));
  refused("short", () => net.forward(x.subarray(1)));
  refused("fewer", () => net.train(x, y.subarray(1)));
  refused("batch", () => net.step(x.subarray(0, 3 * each), y.subarray(0, 3)));
  refused("fraction", () => net.step(x.subarray(0, 32 * each), new Array(32).fill(0.5)));
  refused("wide", () => net.step(x.subarray(0, 32 * each), new Array(32).fill(2 ** 31)));
  refused("text", () => net.forward(["1", "2", "3", "4"]));
  refused("no_array", () => net.forward(7));
  refused("name", () => net.forward({ z: x }));
  refused("tensor", () => net.read("layers.9.bias"));
  refused("size", () => net.write("layers.0.bias", new Float32Array(3)));
  refused("half", () => net.load(saved.subarray(8)));
  const foreign = saved.slice();
  foreign[20] ^= 1;
  refused("foreign", () => net.load(foreign));
  refused("over", () => net.train(x, y));
  const nan = x.slice();
  nan[0] = NaN;
  refused("nan", () => other.step(nan.subarray(0, 32 * each), y.subarray(0, 32)));
  told.unchanged = net.digest();
  refused("validation", () => net.train(x, y, { validation: [x, y] }));
  refused("epochs", () => net.train(x, y, { epochs: "3" }));
  refused("option", () => net.train(x, y, { epoch: 3 }));
  await Net.open({ wams: 1 }).catch((error) => (told.open = error.message));
  told.realm = bits(other.forward(runInNewContext("Float32Array.from(x)", { x: Array.from(x) })));
  told.here = bits(other.forward(x));
  told.empty = other.forward(new Float32Array(0)).length;
  refused("module", () => new Net({}));
  const file = readFileSync(`${folder}/net.wasm`);
  told.of_bytes = (await Net.open({ wasm: file })).digest();
  told.of_path = (await Net.open({ wasm: `${folder}/net.wasm` })).digest();
  await Net.open({ wasm: file.subarray(0, 1000) }).catch((error) => (told.cut = error.code));
  told.stopped = new Net(net.module).train(x, y, { epochs: 2, onEpoch: (n) => n !== 0 }).length;
}
console.log(JSON.stringify(told));
