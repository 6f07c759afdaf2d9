"""Names of numbers that ``loom`` has under others, or has no need of: ``gpu_sieve``, bits of floats.

Layer: flow. Invariant: nothing is computed here but where bits are looked at as another type.
"""

from __future__ import annotations

import numpy as np

from loom.core.arrays import Array, read_as
from loom.core.dtype import f32, u32
from loom.flow.counts import whole
from loom.patterns.sieve import gpu_primes
from loom.runtime.port.device import Device

__all__ = ["bits_to_float", "float_to_bits", "gpu_sieve"]


def gpu_sieve(n: float, *, on: str | Device | None = None) -> Array:
    """Return the primes below ``n`` (at most 10^12), ascending, as uint64; see ``loom.gpu_primes``.

    Args:
        n: Whole number, or a whole float.
        on: Device, or its name; None: the default device.

    Raises:
        ArgumentError: Not a whole number from 0 to 10^12.

    >>> gpu_sieve(20.0).tolist()
    [2, 3, 5, 7, 11, 13, 17, 19]
    """
    return gpu_primes(0, whole(n, "gpu_sieve", "n"), on=on)


def float_to_bits(data: object) -> int | Array:
    """Return the 32 bits of numbers taken as f32: an int for one, a uint32 array for several.

    Args:
        data: Numbers, one or several.

    Raises:
        DTypeError: Not numbers of 32 bits.

    >>> hex(float_to_bits(1.0)), bits_to_float(0x3F800000)
    ('0x3f800000', 1.0)
    """
    bits = read_as(data, f32, "float_to_bits").view(np.uint32)
    return bits if bits.ndim else int(bits)


def bits_to_float(data: object) -> float | Array:
    """Return the f32 numbers that 32 bits are: a float for one, a float32 array for several.

    Args:
        data: Whole numbers of 32 bits, one or several.

    Raises:
        DTypeError: Not numbers of 32 bits.
    """
    found = read_as(data, u32, "bits_to_float").view(np.float32)
    return found if found.ndim else float(found)
