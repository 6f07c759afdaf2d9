"""Runs single kernels and computes digests of results.

Layer: proof. Invariant: a digest covers dtype, shape and every bit of every result, all NaNs made one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from loom.core.numerics import canonical_bits
from loom.runtime.chain import Chain
from loom.runtime.port.device import Device

__all__ = ["digest_of", "digest_of_texts", "run_kernel"]

Bits = np.ndarray[Any, Any]


def run_kernel(
    device: Device, kernel: Any, inputs: Sequence[Bits], out: Bits, params: Sequence[Any] = (), groups: Any = 1
) -> Bits:
    """Return what one dispatch writes to its last buffer, which is shaped like ``out``."""
    memories = [device.allocate(a.nbytes) for a in (*inputs, out)]
    for memory, array in zip(memories, inputs, strict=False):
        memory.write(0, array.reshape(-1).view(np.uint8))
    chain = Chain(device, name="loom verify")
    chain.dispatch(kernel, memories, params, groups)
    chain.build().run()
    return memories[-1].read(0, out.nbytes).view(out.dtype).reshape(out.shape)


def digest_of(arrays: Iterable[Bits]) -> str:
    """Return the SHA-256 of arrays."""
    total = hashlib.sha256()
    for array in arrays:
        found = np.asarray(array)
        total.update(f"{found.dtype.str} {found.shape}\n".encode())
        total.update(np.ascontiguousarray(canonical_bits(found)).astype(f"<u{found.itemsize}", copy=False).tobytes())
    return total.hexdigest()


def digest_of_texts(lines: Iterable[str]) -> str:
    """Return the SHA-256 of lines of text."""
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()
