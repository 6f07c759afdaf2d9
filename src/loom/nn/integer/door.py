"""The door of an integer network: samples become integers, and a calibration finds the exponents of outputs.

Layer: nn. Invariant: a number becomes the nearest integer of its exponent, halves to even; one beyond the range the
largest.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from loom import tensor
from loom.core.arrays import Array
from loom.core.dtype import f32
from loom.core.errors import ArgumentError, ShapeError
from loom.nn.integer.fixed import Exponent
from loom.nn.integer.model import IntegerModel
from loom.nn.integer.record import IntegerPass, Quantity, storage_type
from loom.nn.spec import NetworkSpec
from loom.nn.train.samples import batches, by_name, check_inputs, numbers
from loom.tensor import Tensor

__all__ = ["as_one_sample", "calibrate", "read_samples"]

_AT_ONCE = 256


def read_samples(spec: NetworkSpec, x: Any, where: str) -> dict[str, Array]:
    """Return samples (n, *shape) by input, as f32, all finite and equally many."""
    for i in spec.inputs:
        if not i.dtype.is_float:
            raise ArgumentError(where, f"input {i.name!r} is of {i.dtype}", expected="an input of floats",
                                got=i.dtype, remedy="Indices have no rule in integers; use a network of floats",
                                )  # fmt: skip
    given = by_name(x, [i.name for i in spec.inputs], where)
    found: dict[str, Array] = {}
    for i in spec.inputs:
        a = check_inputs(given[i.name], f32, where, "x" if len(given) == 1 else f"x {i.name!r}")
        if a.shape[1:] != i.shape:
            raise ShapeError(where, f"input {i.name!r} has another shape", expected=("n", *i.shape), got=a.shape,
                             remedy="The first axis counts samples")  # fmt: skip
        found[i.name] = a
    if len({len(a) for a in found.values()}) > 1:
        raise ShapeError(where, "the inputs differ in samples", expected="as many of each",
                         got=", ".join(f"{n!r}: {len(a)}" for n, a in found.items()),
                         remedy="The first axis of each counts samples")  # fmt: skip
    return found


def as_one_sample(spec: NetworkSpec, x: Any) -> dict[str, Any] | None:
    """Return one sample without its axis as samples by input; None for anything else."""
    if type(x) is np.ndarray and len(spec.inputs) == 1 and x.ndim != len(spec.inputs[0].shape):
        return None
    given = by_name(x, [i.name for i in spec.inputs], "IntegerNetwork.forward, x")
    arrays = {n: numbers(a, "IntegerNetwork.forward", n) for n, a in given.items()}
    if any(arrays[i.name].shape != i.shape for i in spec.inputs):
        return None
    return {n: a[None] for n, a in arrays.items()}


def _tensor(e: Exponent) -> Tensor:
    assert isinstance(e, Tensor)
    return e


def calibrate(net: IntegerModel, samples: Mapping[str, Array]) -> dict[str, int]:
    """Return the least exponent of each layer's output that holds all of the samples, computed in integers."""
    found: dict[str, int] = {}
    programs: dict[int, Any] = {}
    for cut in batches(len(next(iter(samples.values()))), _AT_ONCE):
        size = cut.stop - cut.start
        if size not in programs:
            rec = IntegerPass("calibrate", net.bits, net.quantities(), {})
            x = net.inputs_of(size)
            start = tensor.full((), 0, "i32", on=net.device)
            net.record(rec, {n: Quantity(t, start + net.inputs[n]) for n, t in x.items()})
            names = list(rec.needed)
            programs[size] = (
                names,
                tensor.compile([_tensor(rec.needed[n]) for n in names], on=net.device, name="calibrate"),
            )
        names, program = programs[size]
        kind = storage_type(net.bits).numpy
        program.run(**{f"x{n}": a[cut].astype(kind) for n, a in enumerate(samples.values())})
        for name, e in zip(names, program.read(), strict=True):
            found[name] = max(found.get(name, -1000), int(e))
    return found
