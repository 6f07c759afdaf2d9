"""``IntegerNetwork``: a network whose weights, outputs, gradients and updates are integers.

Layer: nn, the door of integer networks. Floats are met at the door alone: samples and targets become integers there,
and outputs and losses become floats again to be shown. Invariant: digest and outputs depend on document, weights,
samples and settings alone, on every device.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from loom import tensor
from loom.core.arrays import Array
from loom.core.conversions import show
from loom.core.errors import ArgumentError
from loom.core.given import is_mapping
from loom.nn.integer.door import as_one_sample, calibrate, read_samples
from loom.nn.integer.integerdocument import read_integer, write_integer
from loom.nn.integer.model import IntegerModel
from loom.nn.integer.record import BITS, Quantity, most_of
from loom.nn.integer.train import Steps, require_rules, train_network
from loom.nn.integer.weights import LEAST_EXPONENT, exponent_of, quantise, to_float
from loom.nn.spec import NetworkSpec, convert
from loom.nn.train.loop.history import History
from loom.nn.train.losses import loss_of
from loom.nn.train.measures import Evaluation, evaluation_of
from loom.nn.train.samples import batches
from loom.nn.train.scalars import real, whole
from loom.nn.train.targets import fit_targets, outputs_of
from loom.nn.weights.model import Model
from loom.runtime.port.device import Device
from loom.tensor import Tensor, TensorProgram

if TYPE_CHECKING:
    from loom.nn.train.optimizers import Optimizer
    from loom.nn.train.schedules import Schedule

__all__ = ["IntegerNetwork", "quantised"]

_AT_ONCE = 256
_MOST_SEED = (1 << 64) - 1


class IntegerNetwork(IntegerModel):
    """A network in ``int8`` or ``int16``: numbers ``q 2^e``, exact sums, one rounding for each output.

    Made by ``Network.quantize`` or ``IntegerNetwork.from_json``. ``masters``: i32 weights with fraction bits, by name;
    ``exponents``: of masters, ``outputs``: of layers' outputs, ``inputs``: of the network's inputs; ``saturated``: how
    many numbers of each layer did not fit while it was trained.

    >>> import numpy, loom
    >>> net = loom.Network.from_json({"format": "loom/1", "input": {"shape": [2]}, "layers": [
    ...     {"type": "dense", "output_size": 3}]})
    >>> small = net.quantize("int8", calibration=numpy.ones((4, 2), numpy.float32))
    >>> small.forward(numpy.ones((1, 2), numpy.float32)).shape
    (1, 3)
    """

    @classmethod
    def from_json(
        cls, document: Any, dtype: str = "int16", *, calibration: Any, on: str | Device | None = None
    ) -> IntegerNetwork:
        """Return an integer network with the first weights of a document's network, drawn by its seed.

        ``calibration``: samples, from which the exponents of inputs and outputs are found. Errors are those of
        ``Network.from_json`` and ``Network.quantize``.
        """
        spec = convert(document).network
        weights = {n: show(a, spec.dtype) for n, a in Model(spec, on).weights().items()}
        return quantised(spec, weights, dtype, calibration, on)

    def __reduce__(self) -> Any:
        """Have ``pickle`` and ``copy`` make a network of its own of the same integers."""
        return _remade, (type(self), self.save(), self.device.name)

    def __repr__(self) -> str:
        """Return what it is called, in which type, and where it runs."""
        return f"<loom.nn.integer.IntegerNetwork {self.spec.name!r}: {self.dtype}, on {self.device.name}>"

    def forward_ends(self, samples: int) -> dict[str, Quantity]:
        """Record the forward pass of floats x0, x1, .. with the numbers as they are now; return the outputs."""
        x = self.inputs_of(samples, "door")
        return self.record(
            self.infer_pass(), {n: Quantity(self.at_door(t, self.inputs[n]), self.inputs[n]) for n, t in x.items()}
        )

    def _inference(self, samples: int) -> TensorProgram:
        key = ("infer", samples, self.version)
        if key not in self._programs:
            self._programs = {k: p for k, p in self._programs.items() if k[-1] == self.version}
            found = self.forward_ends(samples).values()
            self._ends = tuple(int(q.e) for q in found)  # type: ignore[arg-type]
            program = tensor.compile([q.q for q in found], on=self.device, name=self.spec.name or "integer")
            self._programs[key] = program
        return self._programs[key]

    # running

    def forward_integers(self, x: Any) -> dict[str, tuple[Array, int]]:
        """Return the outputs for samples (n, *shape) by name, as integers and their exponent."""
        given = self._read_inputs(x, "IntegerNetwork.forward, x")
        with self.lock:
            program = self._inference(len(next(iter(given.values()))))
            program.run(**{f"x{n}": a for n, a in enumerate(given.values())})
            return dict(zip(self.spec.outputs, zip(program.read(), self._ends, strict=True), strict=True))

    def forward(self, x: Any) -> Any:
        """Return the outputs for samples (n, *shape), or of one sample without its axis, as f32 (beyond it infinite).

        Several outputs are a dict by name.
        """
        one = as_one_sample(self.spec, x)
        if one is not None:
            made = self.forward(one)
            return {n: a[0] for n, a in made.items()} if is_mapping(made) else made[0]
        found = {n: to_float(q, e) for n, (q, e) in self.forward_integers(x).items()}
        return found if len(found) > 1 else next(iter(found.values()))

    def predict(self, x: Any) -> Any:
        """Return the outputs for samples (n, *shape), some hundred at a time."""
        given = self._read_inputs(x, "IntegerNetwork.predict, x")
        size = len(next(iter(given.values())))
        parts = [self.forward({n: a[cut] for n, a in given.items()}) for cut in batches(size, _AT_ONCE)]
        if is_mapping(parts[0]):
            return {n: np.concatenate([p[n] for p in parts]) for n in self.spec.outputs}
        return np.concatenate(parts)

    def evaluate(self, x: Any, y: Any, *, loss: str | None = None) -> Evaluation:
        """Return accuracy, confusion and deviations as ``Network.evaluate``; the loss is that of the shown floats."""
        output = self._one_output("evaluate")
        found, targets = fit_targets(outputs_of(self.spec)[output], y, loss, "evaluate, y")
        made = self.predict(x)
        chance = outputs_of(self.spec)[output].gives_probabilities
        function = loss_of(found, probabilities=chance) if isinstance(found, str) else found
        value = float(function(tensor.array(made, on="cpu"), tensor.array(targets, on="cpu")).item())
        return evaluation_of(made, targets, value, found, probabilities=chance)

    def train(
        self,
        x: Any,
        y: Any,
        *,
        validation: tuple[Any, Any] | None = None,
        optimizer: str | Optimizer = "sgd",
        schedule: str | Schedule | None = None,
        rounding: str = "stochastic",
        gradients: str = "int16",
        **settings: Any,
    ) -> History:
        """Train with samples ``x`` (n, *shape) and targets ``y``: every step is integers alone.

        ``optimizer``: "sgd", or ``SGD`` with a momentum. ``rounding`` of gradients and updates: "stochastic" (Philox,
        by ``seed``) or "nearest", halves to even. ``gradients``: the type that gradients of outputs are held in.
        ``settings``: epochs, batch_size, learning_rate, seed, shuffle, loss, as in ``Network.train``; losses are
        cross_entropy, binary_cross_entropy and mse. Others are refused by name.
        """
        output = self._one_output("train")
        return train_network(
            self, output, x, y, validation, optimizer, schedule, rounding, gradients, settings, self.evaluate
        )

    def recorded_step(
        self, samples: int, *, loss: str = "cross_entropy", momentum: float = 0.0, rounding: str = "stochastic",
        gradients: str = "int16", seed: int = 0,
    ) -> tuple[dict[str, Tensor], list[tuple[Tensor, Tensor]]]:  # fmt: skip
        """Return a step of training as tensors: what ``loom.export.freeze_program`` writes down for other machines.

        Inputs are x0, x1, .. (integers in units of ``inputs``), y (classes, or i32 in units of 2^-16) and rate
        (``rate_parts``); the output is the loss, i64 in units of 2^-16; the updates are those of ``train``.
        """
        where = "IntegerNetwork.recorded_step"
        shape = outputs_of(self.spec)[self._one_output("recorded_step")].shape
        require_rules(where, rounding, gradients)
        samples, seed = (
            whole(f"{where}, samples", samples, least=1),
            whole(f"{where}, seed", seed, least=0, most=_MOST_SEED),
        )
        momentum = real(f"{where}, momentum", momentum, below=1)
        steps = Steps(self, loss, momentum, rounding, gradients, seed)
        y = np.zeros((samples, *(shape[:-1] if loss == "cross_entropy" else shape)), np.int32)
        value, updates = steps.ends(samples, y)
        return {"loss": value}, updates

    def save(self, path: Any = None) -> str:
        """Write it as JSON, ``loom/integer-1``; return the text. Without a path nothing is written."""
        return write_integer(self, path)

    @classmethod
    def load(cls, source: Any, *, on: str | Device | None = None) -> IntegerNetwork:
        """Return the network of a file (or text) that ``save`` wrote; SpecError and ArgumentError for others."""
        return read_integer(cls, source, on)

    # settings

    def _read_inputs(self, x: Any, where: str) -> dict[str, Array]:
        """Return samples by input, as floats of the right shapes, all finite."""
        return read_samples(self.spec, x, where)

    def _one_output(self, where: str) -> str:
        if len(self.spec.outputs) != 1:
            raise ArgumentError(f"IntegerNetwork.{where}", "the network has several outputs", expected="one",
                                got=", ".join(self.spec.outputs),
                                remedy="Use forward, or a network of one")  # fmt: skip
        return self.spec.outputs[0]


def _remade(kind: type[IntegerNetwork], text: str, device: str) -> IntegerNetwork:
    """Return a copied network."""
    return kind.load(text, on=device)


def quantised(
    spec: NetworkSpec, weights: Mapping[str, Array], dtype: str, calibration: Any, on: str | Device | None = None
) -> IntegerNetwork:
    """Return an integer network of the weights (floats) of a network: see ``Network.quantize``.

    Args:
        spec: Description of the network.
        weights: Arrays of floats by name.
        dtype: "int8" or "int16".
        calibration: Samples, of which the ranges of inputs and of layers' outputs are taken.
        on: Device, or its name; None: the default device.

    Raises:
        ArgumentError: There is no such type; a layer or a function has no rule in integers; the samples are too small.
        DTypeError: The samples are no numbers.
        ShapeError: Samples of another shape.
        EmptyError: No samples.
        NotFinite: NaN or an infinity among the samples.
    """
    if not isinstance(dtype, str) or dtype not in BITS:
        raise ArgumentError("loom.Network.quantize, dtype", "no integer network is of this type",
                            expected=", ".join(BITS), got=repr(dtype)[:60], remedy="Use int8 or int16")  # fmt: skip
    samples = read_samples(spec, calibration, "loom.Network.quantize, calibration")
    most = most_of(BITS[dtype])
    ranges = {n: float(np.abs(a).max(initial=0.0)) for n, a in samples.items()}
    for n, largest in ranges.items():
        if 0 < largest < 2.0**LEAST_EXPONENT * most:
            raise ArgumentError("loom.Network.quantize, calibration", f"the samples of input {n!r} are too small",
                                expected=f"some number of at least {2.0**LEAST_EXPONENT * most:g} in size, or zeros",
                                got=f"{largest:g}", remedy="Scale the samples")  # fmt: skip
    inputs = {n: exponent_of(largest, most) for n, largest in ranges.items()}
    found = IntegerNetwork(spec, dtype, weights, inputs, on=on)
    found.at(calibrate(found, {n: quantise(a, inputs[n], most) for n, a in samples.items()}))
    return found
