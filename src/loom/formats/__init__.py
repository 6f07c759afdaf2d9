"""Formats of files: weights as safetensors and GGUF, blobs by a manifest, raw arrays, stores of vectors, cells of CSV.

Layer: formats, beside the runtime: over ``loom.core``, ``loom.storage`` and the layouts that kernels tell. Invariant: a
format has one reader and one writer, and both are here; what its numbers mean is known to those who ask.
"""
