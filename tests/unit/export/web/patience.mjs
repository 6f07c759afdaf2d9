// Trains with held samples until patience ends it, as `node patience.mjs FOLDER`; prints what came out as JSON.
import { readFileSync } from "node:fs";

const folder = process.argv[2];
const { Net } = await import(`${folder}/index.js`);
const { Net: Plain } = await import(`${folder}/net.js`);
const typed = (file, Type) => new Type(new Uint8Array(readFileSync(`${folder}/${file}`)).buffer);
const x = typed("x", Float32Array), y = typed("y", Int32Array);
const validation = [typed("hx", Float32Array), typed("hy", Int32Array)];
const message = (promise) => promise.then(() => "not refused", (error) => error.message);

const plain = await Plain.open();
const held = [];
const losses = plain.train(x, y, { epochs: 40, validation, onEpoch: (epoch, loss, told) => void held.push(told) });
const net = await Net.open();
const { history } = await net.fit(x, y, { epochs: 40, validationData: validation });
console.log(JSON.stringify({
  plain: [losses, held, plain.digest()],
  fitted: [history.loss, history.val_loss, await net.digest()],
  over: await message(net.fit(x, y, { validationData: validation })),
  missing: await message((await Net.open()).fit(x, y)),
  fewer: await message((await Net.open()).fit(x, y, { validationData: [validation[0].subarray(4), validation[1].subarray(1)] })),
}));
