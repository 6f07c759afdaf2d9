// Uses a package as its README says, as `node npm.mjs FOLDER`; prints what came out as JSON.
import { readFileSync } from "node:fs";

const folder = process.argv[2];
const { Net, NetError } = await import(`${folder}/index.js`);
const typed = (file, Type) => new Type(new Uint8Array(readFileSync(`${folder}/${file}`)).buffer);
const x = typed("x", Float32Array), y = typed("y", Int32Array);
const told = { calls: [] };
const refused = async (name, promise) => {
  told[name] = await promise.then(
    () => "not refused",
    (error) => (error instanceof NetError ? error.message : String(error)),
  );
};

const net = await Net.open({ backend: "wasm" });
told.backend = [net.backend, net.skipped];
told.first = await net.digest();
told.before = Buffer.from((await net.predict(x)).buffer).toString("hex");
const callbacks = {
  onTrainBegin: () => told.calls.push("begin"),
  onEpochBegin: (epoch) => told.calls.push(epoch),
  onEpochEnd: async (epoch, logs) => told.calls.push(Object.keys(logs).join()),
  onTrainEnd: () => told.calls.push("end"),
};
const validationData = [x.subarray(0, 40), y.subarray(0, 10)];
const fit = net.fit(x, y, { epochs: 3, batchSize: 32, shuffle: true, validationData, callbacks });
await refused("twice", net.fit(x, y));
const found = await fit;
told.epochs = found.epoch;
told.losses = found.history.loss;
told.digest = await net.digest();
told.after = Buffer.from((await net.predict(x)).buffer).toString("hex");
told.evaluation = await net.evaluate(x, y);
told.classes = await net.classify(x);

const blown = await Net.open();
const whole = Buffer.from(await net.save());
const nested = Array.from({ length: 2 }, (_, i) => Array.from(x.subarray(4 * i, 4 * i + 4)));
told.nested = Buffer.from((await net.predict(nested)).buffer).toString("hex");
await refused("ragged", net.predict([[1, 2, 3], [4, 5, 6, 7, 8]]));
await refused("columns", net.predict([[1, 2], [3, 4], [5, 6], [7, 8]]));
await refused("too_large", net.predict([0, 0, 1e300, 0]));
await refused("no_callbacks", net.fit(x, y, { callbacks: () => 1 }));
await refused("no_function", net.fit(x, y, { callbacks: { onEpochEnd: 1 } }));
await refused("no_targets", net.fit(x, y, { validationData: [x] }));
await refused("object", net.fit(x, y, { validationData: { x, y } }));
await refused("other_rows", blown.fit(x, y, { validationData: [x, y.subarray(1)] }));
await refused("module", Net.open({ wasm: Uint8Array.of(0, 97, 115, 109, 1, 0, 0, 0) }));
const fresh = Buffer.from(await (await Net.open()).save());
await refused("nan", blown.predict([[1, 2, NaN, 4]]));
await refused("class", blown.trainOnBatch(x.subarray(0, 128), y.subarray(0, 32).map(() => 3)));
await refused("damaged", blown.load(whole.map((byte, i) => (i === whole.length - 1 ? byte ^ 1 : byte))));
await refused("no_gpu", Net.open({ backend: "webgpu" }));
await refused("blown", blown.fit(x.map((v, i) => (i === 7 ? 1e30 : v)), y));
told.unchanged = fresh.equals(Buffer.from(await blown.save())) && whole.equals(Buffer.from(await net.save()));

const other = await Net.open();
await other.load(await net.save());
told.loaded = await other.digest();
await other.reset();
const stopped = await other.fit(x, y, { epochs: 3, callbacks: [{ onEpochEnd: () => (other.stopTraining = true) }] });
told.stopped = stopped.epoch.length;
await refused("over", net.fit(x, y));
await refused("batch_size", net.fit(x, y, { batchSize: 16 }));
await refused("shuffle", net.fit(x, y, { shuffle: false }));
await refused("option", net.fit(x, y, { epoch: 3 }));
await refused("callback", net.fit(x, y, { callbacks: { onBatchEnd() {} } }));
await refused("no_epochs", net.fit(x, y, { epochs: 0 }));
await refused("backend_name", Net.open({ backend: "cuda" }));
await refused("open_option", Net.open({ backends: "wasm" }));
other.dispose();
await refused("disposed", other.predict(x));
console.log(JSON.stringify(told));
