// What TypeScript makes of a package's declarations: checked, never run.
import { Net, NetError, type History } from "dense";
import { Net as Sync } from "dense/wasm";

const net = await Net.open({ backend: ["wasm"] });
const made: Float32Array = await net.predict([1, 2, 3, 4]);
const history: History = await net.fit({ input: new Float32Array(280) }, new Int32Array(70), {
  epochs: 2,
  callbacks: { onEpochEnd: (epoch, logs) => console.log(epoch, logs.loss.toFixed(3)) },
});
const plain = await Sync.open({ wasm: new URL("https://example.com/net.wasm") });
const losses: number[] = plain.train([[1, 2, 3, 4]], [1], { epochs: 1, onEpoch: (epoch, loss) => loss > epoch });
// @ts-expect-error: a text is no number
await net.predict("text");
// @ts-expect-error: no such back end
await Net.open({ backend: "cuda" });
try {
  await net.load(new Uint8Array(3));
} catch (error) {
  if (error instanceof NetError && error.code === "SIZE") console.log(made, history, losses);
}
