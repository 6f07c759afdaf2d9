// What may compute the network, in the order in which it is tried: a name, and a function that opens it beside the net
// of WebAssembly, which is always there. It returns what has the functions of that net (promises of their results will
// do), or throws NetError("BACKEND", why) where it would not keep the bits or cannot run.

// `isAsked`: it was named alone, so that nothing but what it cannot do is a reason against it.

export const BACKENDS = {
  webgpu: async (plain, isAsked) => (await import("./webgpu.js")).open(plain, isAsked),
  wasm: (plain) => plain,
};
