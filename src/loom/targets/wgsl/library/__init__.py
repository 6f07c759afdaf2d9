"""What WGSL lacks or does not promise, as functions of WGSL: 64-bit integers, f64, and f32 in several forms."""
