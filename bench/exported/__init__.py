"""C, wasm and WebGPU."""
