// Where a digit is drawn, and what the network sees of it: as in the set it learns from, the strokes are brought to
// 32 x 32 points, and each of the 8 x 8 shades counts the dark ones of its 4 x 4.

const FINE = 32, COARSE = 8, THICK = 4.4;

export class Pad {
  #strokes = [];
  #isDown = false;

  /** `canvas`: where to draw; `seen`: shows the shades; `changed` is called after each stroke. */
  constructor(canvas, seen, changed) {
    Object.assign(this, { canvas, seen, changed });
    canvas.addEventListener("pointerdown", (event) => {
      canvas.setPointerCapture(event.pointerId);
      this.#isDown = true;
      this.#strokes.push([this.#point(event), this.#point(event)]);
      this.#draw();
    });
    canvas.addEventListener("pointermove", (event) => {
      if (!this.#isDown) return;
      this.#strokes.at(-1).push(this.#point(event));
      this.#draw();
    });
    for (const name of ["pointerup", "pointercancel"])
      canvas.addEventListener(name, () => {
        if (!this.#isDown) return;
        this.#isDown = false;
        changed();
      });
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.#draw());
    this.#draw();
  }

  clear() {
    this.#strokes = [];
    this.#draw();
    this.changed();
  }

  /** 64 numbers from 0 to 1, row by row; null where nothing is drawn. */
  shades() {
    const points = this.#strokes.flat();
    if (!points.length) return null;
    const xs = points.map((p) => p[0]), ys = points.map((p) => p[1]);
    const [left, right, top, bottom] = [Math.min(...xs), Math.max(...xs), Math.min(...ys), Math.max(...ys)];
    const room = FINE - THICK;
    const scale = room / Math.max(bottom - top, (right - left) * 1.15, 1);
    const context = new OffscreenCanvas(FINE, FINE).getContext("2d", { willReadFrequently: true });
    context.translate(FINE / 2, FINE / 2);
    context.scale(scale, scale);
    context.translate(-(left + right) / 2, -(top + bottom) / 2);
    this.#trace(context, THICK / scale);
    const { data } = context.getImageData(0, 0, FINE, FINE);
    const found = new Float32Array(COARSE * COARSE);
    for (let y = 0; y < FINE; y++)
      for (let x = 0; x < FINE; x++)
        if (data[(y * FINE + x) * 4 + 3] > 127) found[(y >> 2) * COARSE + (x >> 2)] += 1 / 16;
    return found;
  }

  #point({ clientX, clientY }) {
    const box = this.canvas.getBoundingClientRect();
    return [((clientX - box.left) / box.width) * this.canvas.width, ((clientY - box.top) / box.height) * this.canvas.height];
  }

  #trace(context, width) {
    Object.assign(context, { lineWidth: width, lineCap: "round", lineJoin: "round" });
    for (const [first, ...rest] of this.#strokes) {
      context.beginPath();
      context.moveTo(...first);
      for (const point of rest) context.lineTo(...point);
      context.stroke();
    }
  }

  #draw() {
    const context = this.canvas.getContext("2d");
    const { color } = getComputedStyle(this.canvas);
    context.clearRect(0, 0, this.canvas.width, this.canvas.height);
    context.strokeStyle = color;
    this.#trace(context, 40);
    const shades = this.shades() ?? new Float32Array(COARSE * COARSE);
    const [r, g, b] = color.match(/\d+/g).map(Number);
    const image = new ImageData(COARSE, COARSE);
    shades.forEach((share, i) => image.data.set([r, g, b, share * 255], i * 4));
    this.seen.getContext("2d").putImageData(image, 0, 0);
  }
}
