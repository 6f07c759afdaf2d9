// What may compute the network, in the order in which it is tried: a name, and a function that opens it beside the net
// of WebAssembly, which is always there. It returns what has the functions of that net (promises of their results will
// do), or throws NetError("BACKEND", why) where it would not keep the bits or cannot run.

export const BACKENDS = {
  wasm: (plain) => plain,
};
