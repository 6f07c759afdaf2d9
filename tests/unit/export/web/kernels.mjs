// Runs exported kernels, as `node kernels.mjs FOLDER`; prints what came out as JSON.
const folder = process.argv[2];
const { Kernel } = await import(`${folder}/escape.js`);
const escape = await Kernel.open();
const out = new Uint32Array(60 * 40);
escape.run({ out, width: 60, height: 40, turns: 200 }, escape.groups(60, 40));
const told = { turns: Array.from(out) };

const mixed = await (await import(`${folder}/mixed.js`)).Kernel.open();
const a = { data: [[1, 2, 3], [4, 5, 6]], shape: [2, 3] };
const sums = Float32Array.of(0.5, 0, 0, 0, 0, 0), count = new BigUint64Array(1);
mixed.run({ a, out: sums, count, step: 2n ** 63n, up: true }, mixed.groups(6));
told.sums = Array.from(sums);
told.count = String(count[0]);
mixed.run({ a, out: sums, count, step: 7, up: false, by: -1 }, 1);
told.again = [Array.from(sums), String(count[0])];

told.refused = [
  [{ width: 1, height: 1, turns: 1 }, 1],
  [{ out: [0], width: 1, height: 1, turns: 1 }, 1],
  [{ out, width: 1, height: 1 }, 1],
  [{ out, width: -1, height: 1, turns: 1 }, 1],
  [{ out, width: 1, height: 1, turns: 1, depth: 1 }, 1],
  [{ out, width: 1, height: 1, turns: 1 }, 0.5],
  [{ out, width: 1, height: 1, turns: 1 }, [2 ** 31, 2 ** 31]],
].map((given) => {
  try {
    return String(escape.run(...given));
  } catch (error) {
    return error.message;
  }
});
for (const given of [{ a: sums, out: sums }, { a: { data: sums, shape: [2, 3] }, out: sums }, { a: { data: [1], shape: [2, 3] }, out: sums }])
  try {
    mixed.run({ count, step: 1, up: true, ...given }, 1);
  } catch (error) {
    told.refused.push(error.message);
  }
console.log(JSON.stringify(told));
