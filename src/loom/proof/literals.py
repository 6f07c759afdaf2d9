"""Layer 1, with numbers that stand in the kernels: operations, choices, zeros worked out, gradients of kinks.

Layer: proof. A row is a case's name, its inputs and what is computed. A probe's operands are loaded from buffers, which
shows nothing of what a compiler does with an operand it knows. Invariant: values are the literals, their opposites and
some others, of each type the same on every machine.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from loom import tensor
from loom.core.dtype import DType, bf16, f16, f32, f64
from loom.ir.frontend.decorator import KernelFunction
from loom.kernels.maps.literals import (
    CHOICES,
    LITERAL_OPERATIONS,
    ZEROS,
    literal_choices,
    literal_operation,
    literals_of,
    zero_arithmetic,
)
from loom.proof.running import run_kernel
from loom.runtime.port.device import Device

__all__ = ["LITERAL_CASES"]

Bits = np.ndarray[Any, Any]
_ROUNDED = ("add", "sub", "mul", "div")
_Row = tuple[str, Callable[[], Sequence[Bits]], Callable[..., Sequence[Bits]]]


def _values(dtype: DType) -> Sequence[Bits]:
    """Return the operands; those of bf16 as their bits."""
    literals = np.array(literals_of(f32 if dtype == bf16 else dtype))
    both = np.concatenate([literals, -literals, [3.0, -0.1]])
    if dtype == bf16:
        return [(both.astype(np.float32).view(np.uint32) >> np.uint32(16)).astype(np.uint16)]
    return [both.astype(dtype.numpy)]


def _row(name: str, dtype: DType, made: Callable[[], KernelFunction], results: int) -> _Row:
    def compute(device: Device, values: Bits) -> Sequence[Bits]:
        return [run_kernel(device, made(), [values], np.zeros(results * values.size, values.dtype))]

    return f"literals: {name} {dtype}", partial(_values, dtype), compute


def _rows(dtype: DType) -> list[_Row]:
    """Return the rows of a type; an operation gives two results for each literal. Halves are computed in f32."""
    sides = 2 * len(literals_of(dtype))
    names = _ROUNDED if dtype.storage_only else tuple(LITERAL_OPERATIONS)
    operations = [_row(op, dtype, partial(literal_operation, op, dtype), sides) for op in names]
    choices = _row("select", dtype, partial(literal_choices, dtype), CHOICES)
    return [*operations, choices, _row("zeros worked out", dtype, partial(zero_arithmetic, dtype), ZEROS)]


def _with_tensors(device: Device, values: Bits) -> Sequence[Bits]:
    """Tensors meet literals as scalars, in choices, and in the gradients of what has a kink."""
    t = tensor.parameter(values, on=device)
    found = [t * 0.0, t + 0.0, 0.0 - t, t / 0.0, tensor.where(t < 0, -1.0, 0.0), tensor.where(t < 0, 1.0, -0.0)]
    kinks = [abs(t), -tensor.relu(t), -tensor.clip(t, -1.0, 1.0), tensor.maximum(t, 0.0), tensor.leaky_relu(t, 0.0)]
    slopes = [tensor.grad(kink.sum(), [t])[0] for kink in kinks]
    program = tensor.compile([*found, *slopes], on=device)
    program.run()
    return program.read()


LITERAL_CASES: tuple[_Row, ...] = (
    *(row for dtype in (f32, f64, f16, bf16) for row in _rows(dtype)),
    ("literals: tensors f32", partial(_values, f32), _with_tensors),
)
"""Every case of literals."""
