"""The WGSL target: text for WebGPU, in Python and in browsers, written straight from verified IR."""
