"""What ``loom verify`` computes: cases in layers, each with inputs that are the same on every machine.

Layer: proof. Invariant: a case's results depend on its inputs alone, so that their digest is one number for
all devices, thread counts and vector widths.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np

from loom.core.dtype import DType
from loom.core.late.dataclass import dataclass
from loom.kernels.functions import FUNCTIONS, function
from loom.patterns.maps.map import gpu_map
from loom.proof.contexts import CONTEXTS, in_context, operands_of
from loom.proof.inputs import every_exponent, numbers, seed_of, words
from loom.proof.probes import PROBES, ScalarProbe
from loom.runtime.port.device import Device

__all__ = ["FUNCTION_INPUTS", "LAYERS", "Case", "cases_of"]

Bits = np.ndarray[Any, Any]
FUNCTION_INPUTS = 65_536
LAYERS = {1: "single operations", 2: "elementary functions", 3: "kernels of the patterns", 4: "networks in training"}


@dataclass(frozen=True)
class Case:
    """``compute`` (device, *inputs) gives the results; ``expected`` are their bits where they are known by hand."""

    name: str
    inputs: Callable[[], Sequence[Bits]]
    compute: Callable[..., Sequence[Bits]]
    expected: int | None = None


def cases_of(layer: int) -> Iterator[Case]:
    """Yield the cases of a layer."""
    if layer == 1:
        from loom.proof.literals import LITERAL_CASES

        yield from (_probe(p, c) for p in PROBES for c in CONTEXTS if p.vectors or c != "vector")
        yield from (Case(*row) for row in LITERAL_CASES)
    elif layer == 2:
        for name in sorted(FUNCTIONS):
            yield from (_function(name, dtype) for dtype in function(name).definitions)
    elif layer == 3:
        from loom.proof.kernels import KERNELS
        from loom.proof.patterns import PATTERNS
        from loom.proof.vectors import VECTORS

        yield from (Case(*row) for row in (*PATTERNS, *KERNELS, *VECTORS))
    else:
        from loom.proof.networks import NETWORKS

        yield from (Case(*row) for row in NETWORKS)


def _probe(probe: ScalarProbe, context: str) -> Case:
    def compute(device: Device, operands: Bits) -> Sequence[Bits]:
        return [in_context(probe, context, device, operands)]

    return Case(f"{probe.hazard}: {probe.name}, {context}", lambda: [operands_of(probe)], compute, probe.expected)


def _function(name: str, dtype: DType) -> Case:
    arity = function(name).arity
    seeds = [seed_of(f"{name} {dtype} {k}") for k in range(arity)]

    def inputs() -> Sequence[Bits]:
        return [_arguments(dtype, seed, operand=k) for k, seed in enumerate(seeds)]

    return Case(f"{name} {dtype}", inputs, partial(_map, name))


def _arguments(dtype: DType, seed: int, *, operand: int) -> Bits:
    """Return arguments: half of them of every exponent, half near one, where functions have their curves.

    A second operand runs through its exponents at another pace, and those after it in drawn orders, so that all
    magnitudes meet.
    """
    half = FUNCTION_INPUTS // 2
    wide = every_exponent(half, dtype, seed)
    if operand == 1:
        wide = wide.reshape(128, -1).T.reshape(-1)
    elif operand > 1:
        wide = wide[np.argsort(words(half, seed + 3), kind="stable")]
    return np.concatenate([wide, numbers(half, dtype, seed + 2, spread=7)])


def _map(name: str, device: Device, *operands: Bits) -> Sequence[Bits]:
    return [gpu_map(operands[0], name, *operands[1:], on=device)]
