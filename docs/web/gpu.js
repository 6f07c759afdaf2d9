// The kernel of the picture on WebGPU: its text is Loom's, written by tools/web.py. Whether the device computes its bits
// is seen by the digest of the whole set.

const [MAP_READ, COPY_SRC, COPY_DST, UNIFORM, STORAGE] = [1, 4, 8, 64, 128];

export class GpuPicture {
  /** `about`: the text (`wgsl`), and where its words lie: `params`, `lengths`, `number`, `groups`. */
  static async open(about) {
    const adapter = await navigator.gpu?.requestAdapter();
    if (!adapter) throw new Error("there is no adapter");
    const device = await adapter.requestDevice();
    const module = device.createShaderModule({ code: about.wgsl });
    const pipeline = await device.createComputePipelineAsync({ layout: "auto", compute: { module, entryPoint: "main" } });
    return new GpuPicture(device, pipeline, about);
  }

  constructor(device, pipeline, about) {
    Object.assign(this, { device, pipeline, about });
  }

  async run({ width, height, left, top, step, most }) {
    const { device, pipeline, about } = this;
    const { push } = about;
    const words = new ArrayBuffer(Math.ceil(about.words / 4) * 16);
    const [whole, floats] = [new Uint32Array(words), new Float32Array(words)];
    const groups = [Math.ceil(width / 16), Math.ceil(height / 16), 1];
    [width, height].forEach((value, i) => (whole[push.params[i]] = value));
    [left, top, step].forEach((value, i) => (floats[push.params[2 + i]] = value));
    whole[push.params[5]] = most;
    whole[push.lengths] = width * height;
    whole.set(groups, push.groups);
    const nbytes = 4 * width * height;
    const buffer = (size, usage) => device.createBuffer({ size, usage });
    const table = buffer(words.byteLength, UNIFORM | COPY_DST);
    const turns = buffer(nbytes, STORAGE | COPY_SRC);
    const target = buffer(nbytes, MAP_READ | COPY_DST);
    device.queue.writeBuffer(table, 0, words);
    const entries = [table, turns].map((found, binding) => ({ binding, resource: { buffer: found } }));
    const encoder = device.createCommandEncoder();
    const pass = encoder.beginComputePass();
    pass.setPipeline(pipeline);
    pass.setBindGroup(0, device.createBindGroup({ layout: pipeline.getBindGroupLayout(0), entries }));
    pass.dispatchWorkgroups(...groups);
    pass.end();
    encoder.copyBufferToBuffer(turns, 0, target, 0, nbytes);
    device.queue.submit([encoder.finish()]);
    await target.mapAsync(1);
    const found = new Uint32Array(target.getMappedRange().slice(0));
    for (const each of [table, turns, target]) each.destroy();
    return found;
  }
}
