"""The conformance cases, one file a theme. Importing this registers them all in ``running.CASES``."""

from conformance.cases import (
    atomics,
    barriers,
    control,
    conversions,
    library,
    loops,
    memory,
    operations,
    probes,
    random_kernels,
    segments,
    shapes,
    vectors,
)

__all__ = [
    "atomics",
    "barriers",
    "control",
    "conversions",
    "library",
    "loops",
    "memory",
    "operations",
    "probes",
    "random_kernels",
    "segments",
    "shapes",
    "vectors",
]
