"""A learner whose weights, answers, gradients and updates are integers.

Layer: nn. Exponents of weights and outputs are data of its programs, so that it answers between two updates without
compiling anew. Invariant: a start with the same weights gives the same integers.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from loom import tensor
from loom.core.arrays import Array
from loom.core.dtype import i32
from loom.nn.adapt.learner import Learner, cuts
from loom.nn.adapt.streams import WORLDS, stream
from loom.nn.integer.network import IntegerNetwork
from loom.nn.integer.record import BITS, IntegerPass, Quantity, most_of
from loom.nn.integer.train import TARGET_BITS, Steps, rate_parts
from loom.nn.integer.weights import masters_of, quantise
from loom.nn.spec import parse
from loom.runtime.port.device import Device

__all__ = ["INTEGERS", "IntegerLearner"]

INTEGERS = tuple(BITS)
"""Types of integer networks."""
_CALIBRATION_MS = 1000
_CALIBRATION_SEED = 999_999


class IntegerLearner(Learner):
    """The integer network's own training steps, with stochastic rounding: a block at a time."""

    def __init__(
        self, document: dict[str, Any], dtype: str, rate: float, block: int, device: str | Device | None
    ) -> None:
        super().__init__(parse(document), rate, block)
        seen = np.concatenate([stream(w, _CALIBRATION_SEED, _CALIBRATION_MS).observations for w in WORLDS])
        samples = seen.reshape(-1, *self.shape)
        self._net = net = IntegerNetwork.from_json(document, dtype, calibration=samples, on=device)
        self._steps = Steps(net, "mse", 0.0, "stochastic", "int16", 0)
        self._kept = [*net.outputs.values(), *net.peaks.values(), *net.saturated.values(), net.step, self._steps.total]
        self._first = [held.numpy() for held in self._kept]
        self._exponent = net.inputs[net.spec.inputs[0].name]
        self._answers = self._compile()

    def _compile(self) -> tensor.TensorProgram:
        """Return the program of an answer: its integers, which share an exponent."""
        net = self._net
        record = IntegerPass("train", net.bits, net.quantities(), net.outputs, 0, net.step, 16, True)
        zero = net.step.astype(i32) * 0
        x = net.inputs_of(1)
        found = net.record(record, {n: Quantity(t, zero + net.inputs[n]) for n, t in x.items()})
        return tensor.compile([next(iter(found.values())).q], on=net.device, name="integer answer")

    def _read(self, x: Array) -> Array:
        net = self._net
        return quantise(x, self._exponent, most_of(net.bits)).astype(self._answers.inputs["x0"].dtype.numpy)

    def start(self, weights: Mapping[str, Array]) -> None:
        masters, exponents = masters_of(weights, self._net.bits)
        for name, held in self._net.masters.items():
            held.assign(masters[name])
            self._net.exponents[name].assign(np.array(exponents[name], np.int32))
        for held, first in zip(self._kept, self._first, strict=True):
            held.assign(first)

    def answer(self, x: Array, right: Array | None) -> Array:
        del right
        self._answers.run(x0=self._read(x.reshape(1, *self.shape)))
        return self._answers.read()[0].reshape(-1)

    def learn(self, x: Array, right: Array) -> None:
        read, rows = self._read(x), quantise(right, -TARGET_BITS, (1 << 31) - 1).astype(np.int32)
        for part in cuts(len(x), self.parts):
            size = part.stop - part.start
            self._steps.of(size, rows[part]).run(x0=read[part], y=rows[part], rate=rate_parts(self.rate / size))
