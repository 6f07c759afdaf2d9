"""What an integer network holds, on a device, and how it is recorded.

Layer: nn. Invariant: everything that a training changes is a parameter of integers here.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any

import numpy as np

from loom import tensor
from loom.core.arrays import Array
from loom.core.dtype import f32, i32, i64
from loom.nn.base.digests import digest_of
from loom.nn.integer.fixed import narrow, round_even
from loom.nn.integer.layers import record_layer
from loom.nn.integer.record import BITS, IntegerPass, Quantity, most_of, storage_type
from loom.nn.integer.weights import fraction_of, masters_of, round_masters, to_float
from loom.nn.spec import NetworkSpec
from loom.runtime.port.device import Device
from loom.runtime.registry import device as find_device
from loom.tensor import Tensor, TensorProgram

__all__ = ["NO_PEAK", "IntegerModel"]

NO_PEAK = -1000
"""An exponent below all others."""


class IntegerModel:
    """Masters, exponents and counts of a network of integers: see ``IntegerNetwork``."""

    def __init__(
        self, spec: NetworkSpec, dtype: str, weights: Mapping[str, Array], inputs: Mapping[str, int],
        *, on: str | Device | None = None,
    ) -> None:  # fmt: skip
        self.spec, self.dtype, self.bits = spec, dtype, BITS[dtype]
        self.device = find_device(on)
        self.inputs = dict(inputs)
        masters, exponents = masters_of(weights, self.bits)
        self.masters = {n: tensor.parameter(m, i32, name=n, on=self.device) for n, m in masters.items()}
        self.exponents = {n: self._number(e, f"e.{n}") for n, e in exponents.items()}
        self.outputs: dict[str, Tensor] = {}
        self.peaks: dict[str, Tensor] = {}
        self.saturated: dict[str, Tensor] = {}
        self.step = tensor.parameter(np.zeros((), np.uint32), name="step", on=self.device)
        self.lock = threading.RLock()
        self._programs: dict[Any, TensorProgram] = {}
        self._ends: tuple[int, ...] = ()
        self.version = 0
        """Counts up with every change of what it holds."""

    def _number(self, value: int, name: str, dtype: Any = i32) -> Tensor:
        return tensor.parameter(np.array(value, dtype.numpy), dtype, name=name, on=self.device)

    def at(self, exponents: Mapping[str, int]) -> None:
        """Set the exponents of outputs, as a calibration found them."""
        for name, e in exponents.items():
            self.outputs[name] = self._number(e, f"y.{name}")
            self.peaks[name] = self._number(NO_PEAK, f"peak.{name}")
            self.saturated[name] = self._number(0, f"lost.{name}", i64)
        self.version += 1

    def state(self) -> list[Tensor]:
        """Return everything that a training changes, always in one order."""
        groups = self.masters, self.exponents, self.outputs, self.peaks, self.saturated
        return [*(t for group in groups for t in group.values()), self.step]

    # recording

    def quantities(self) -> dict[str, Quantity]:
        """Record the weights that are computed with, of the masters as they are when a program runs."""
        found: dict[str, Quantity] = {}
        for name, master in self.masters.items():
            fraction = fraction_of(name, self.bits)
            e = self.exponents[name]
            if not fraction:
                found[name] = Quantity(master, e)
                continue
            q = narrow(round_even(master.astype(i64), fraction), most_of(self.bits), storage_type(self.bits))
            found[name] = Quantity(q, e + fraction)
        return found

    def constants(self) -> dict[str, Quantity]:
        """Return the same of the masters as they are now, as arrays with exponents that are ints."""
        found: dict[str, Quantity] = {}
        for name, master in self.masters.items():
            fraction = fraction_of(name, self.bits)
            held = storage_type(self.bits) if fraction else i32
            q = tensor.array(round_masters(master.numpy(), fraction).astype(held.numpy), held, on=self.device)
            found[name] = Quantity(q, int(self.exponents[name].item()) + fraction)
        return found

    def record(self, rec: IntegerPass, inputs: Mapping[str, Quantity]) -> dict[str, Quantity]:
        """Record all nodes; return the outputs by name."""
        made = dict(inputs)
        for node in self.spec.nodes:
            sources = [made[name] for name in node.inputs]
            given = sources if node.layer.takes_many else sources[0]
            made[node.name] = record_layer(rec, node.layer, given, node.name, last=node.name in self.spec.outputs)
        return {name: made[name] for name in self.spec.outputs}

    def inputs_of(self, samples: int, kind: str = "") -> dict[str, Tensor]:
        """Return the inputs of a program for so many samples: integers, or with ``kind`` "door" floats."""
        dtype = f32 if kind == "door" else storage_type(self.bits)
        return {
            i.name: tensor.input(f"x{n}", (samples, *i.shape), dtype) for n, i in enumerate(self.spec.inputs)
        }  # fmt: skip

    def at_door(self, x: Tensor, e: int) -> Tensor:
        """Record floats becoming integers: the one place of a program that has floats."""
        most = float(most_of(self.bits))
        found = (x * float(np.ldexp(1.0, -e))).map("rint")
        return tensor.maximum(tensor.minimum(found, most), -most).astype(storage_type(self.bits))

    def infer_pass(self) -> IntegerPass:
        """Return an empty pass of inference with the numbers as they are now."""
        return IntegerPass("infer", self.bits, self.constants(), {n: int(e.item()) for n, e in self.outputs.items()})

    def probe(self) -> dict[str, Quantity]:
        """Return inputs of one sample, to record what follows from them."""
        return {n: Quantity(t, self.inputs[n]) for n, t in self.inputs_of(1).items()}

    def rounding_places(self) -> list[str]:
        """Return the names of all outputs that are rounded, which ``outputs`` has the exponents of."""
        rec = IntegerPass("calibrate", self.bits, self.quantities(), {})
        start = tensor.full((), 0, i32, on=self.device)
        self.record(rec, {n: Quantity(t, start + self.inputs[n]) for n, t in self.inputs_of(1).items()})
        return list(rec.needed)

    # what it holds

    def numbers(self) -> dict[str, Array]:
        """Return copies of all integers it holds, by name: masters, exponents (``e.``), those of outputs (``y.``)."""
        with self.lock:
            found = {n: m.numpy() for n, m in self.masters.items()}
            found |= {f"e.{n}": e.numpy() for n, e in self.exponents.items()}
            found |= {f"y.{n}": e.numpy() for n, e in self.outputs.items()}
            return found | {f"x.{n}": np.array(e, np.int32) for n, e in self.inputs.items()}

    def weights(self) -> dict[str, Array]:
        """Return the weights that are computed with as f32, by name."""
        with self.lock:
            found: dict[str, Array] = {}
            for name, master in self.masters.items():
                fraction = fraction_of(name, self.bits)
                q = round_masters(master.numpy(), fraction)
                found[name] = to_float(q, int(self.exponents[name].item()) + fraction)
            return found

    def lost(self) -> dict[str, int]:
        """Return how many numbers of each layer's output were saturated in training."""
        with self.lock:
            return {name: int(count.item()) for name, count in self.saturated.items()}

    def digest(self) -> str:
        """Return the SHA-256 of names, types, shapes and bits of all integers it holds."""
        return digest_of(self.numbers())
