"""``Model``: a network with weights on a device.

Layer: nn. ``forward`` compiles one program for each batch size and replays it. Invariant: the bits of outputs depend on
network, weights and inputs alone, never on the device, on what ran before, or on what other threads ask meanwhile.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import numpy as np

from loom import tensor
from loom.core.arrays import read_array
from loom.core.conversions import widen
from loom.core.dtype import DType, bf16, f32, f64
from loom.core.errors import ArgumentError, DTypeError, ShapeError, near_matches
from loom.core.given import is_mapping
from loom.nn.base.held import HeldWeights
from loom.nn.base.watch import TapLayout, Viewers, lay_out
from loom.nn.layers import Context, ForwardPass, Key, init
from loom.nn.spec import NetworkSpec, Part, Shared
from loom.runtime.port.device import Device
from loom.runtime.port.elements import Readable
from loom.runtime.registry import device as find_device
from loom.tensor import QuantizedTensor, Tensor, TensorProgram

__all__ = ["KnownWeights", "Model", "NetworkWeights", "require_weights"]

_FIRST = "x0"
"""What programs call the first input."""
_MOST_PROGRAMS = 8
"""Batch sizes whose programs are kept."""


def require_weights(weights: object, spec: NetworkSpec) -> dict[str, object]:
    """Return what of weights to begin with nobody has looked at: arrays of callers.

    DTypeError and ArgumentError for what is no mapping by names of a network.
    """
    if not is_mapping(weights):
        raise DTypeError(
            "loom.Network, weights",
            "not weights",
            expected="arrays by name",
            got=type(weights).__name__,
            remedy="Read a file with loom.Network.load, or with load_weights",
        )
    known = spec.parameters() | spec.state()
    strange = next((name for name in weights if name not in known), None)
    if strange is not None:
        raise ArgumentError(
            "loom.Network, weights",
            f"the network has no weight {strange!r}",
            expected=f"names among its {len(known)}",
            remedy=near_matches(str(strange), list(known)),
        )
    if isinstance(weights, KnownWeights):
        return {}
    return {name: a for name, a in weights.items() if not isinstance(a, Tensor | QuantizedTensor)}


class KnownWeights(Mapping[str, object]):
    """Weights of a checkpoint or of a network there is: their bits are taken as they are, NaN and all."""


class NetworkWeights(dict[str, object], KnownWeights):
    """Those of a network there is, or some of them."""


class Model(HeldWeights):
    """A network whose weights are on ``device`` (None: the default), drawn by the network's seed.

    ``weights``: those that are there already, by name, as ``weights()`` gives them; a parameter on the device is taken
    as it is, and so shared.

    ``parameters``: trained arrays by the names of ``network.parameters()``; ``state``: running means by those of
    ``network.state()``; ``frozen``: names that training leaves as they are; ``learning_rates``: name -> step size
    that the document asks for (centres of kmeans); ``state_updates``: (state, its new value) of the last ``apply``.
    ``watch``: who is shown what layers do, or None; ``taps``: what the last ``apply`` recorded of layers for them.
    ``lock``: held while a program runs and is read, and while all weights are read or written, so that threads take
    turns and each gets its own answer, of one state of the weights. ``is_shared``: another model has some of them too.

    >>> from loom.nn.spec import parse
    >>> layers = [{"type": "dense", "output_size": 2}]
    >>> model = Model(parse({"format": "loom/1", "input": {"shape": [3]}, "layers": layers}))
    >>> model.load({"layers.0.weight": [[1, 0], [0, 1], [1, 1]], "layers.0.bias": [0, 1]})
    >>> model.forward([[1.0, 2.0, 3.0]]).tolist()
    [[4.0, 6.0]]
    """

    def __init__(
        self, network: NetworkSpec, device: str | Device | None = None, weights: Mapping[str, Any] | None = None
    ) -> None:
        super().__init__()
        self.network = network
        self.device = find_device(device)
        self.shapes = network.shapes()
        self.state_updates: list[tuple[Tensor, Tensor]] = []
        parts = [p for p in network.walk() if not isinstance(p.layer, Shared)]
        self._own = {p.name: (*p.layer.own_weights(p.shape), *p.layer.own_state(p.shape)) for p in parts}
        first = self._first_weights(parts, weights or {})
        self.parameters = {name: first[name] for name in network.parameters()}
        self.state = {name: first[name] for name in network.state()}
        self.frozen = self._names_frozen()
        self.learning_rates = {f"{p.name}.{name}": rate for p in parts for name, rate in p.layer.own_rates().items()}
        self._feeds = {i.name: f"x{n}" for n, i in enumerate(network.inputs)}
        self._programs: dict[tuple[Any, ...], TensorProgram] = {}
        self._layouts: dict[tuple[Any, ...], TapLayout] = {}
        self.watch: Viewers | None = None
        self.taps: Mapping[str, tuple[Any, Tensor]] = {}

    def describe_as(self, network: NetworkSpec) -> None:
        """Take the document of a network that has the same layers, others of them frozen."""
        self.network = network
        self.frozen = self._names_frozen()

    def _names_frozen(self) -> frozenset[str]:
        parts = [p for p in self.network.walk() if not isinstance(p.layer, Shared)]
        kept = {f"{p.name}.{n}" for p in parts for n in p.layer.own_weights(p.shape) if p.layer.keeps(n)}
        return frozenset(n for n in self.parameters if n in kept or _is_frozen(n, parts))

    def _first_weights(self, parts: list[Part], there: Mapping[str, Any]) -> dict[str, Tensor]:
        """Draw and store the weights, those of one layer at a time; take those that are ``there``."""
        numbers = {name: i for i, name in enumerate(self.network.parameters())}
        found: dict[str, Tensor] = {}
        for part in parts:
            shapes = part.layer.own_weights(part.shape) | part.layer.own_state(part.shape)
            own = {key: numbers[f"{part.name}.{key}"] for key in part.layer.own_weights(part.shape)}
            known = {key: there[f"{part.name}.{key}"] for key in shapes if f"{part.name}.{key}" in there}
            made = known if len(known) == len(shapes) else init(part.layer, shapes, Key(self.network.seed, own)) | known
            for key in list(made):
                name = f"{part.name}.{key}"
                found[name] = self._store(name, made.pop(key), shapes[key])
        return found

    def _store(self, name: str, values: Any, shape: tuple[int, ...]) -> Tensor:
        is_kept = isinstance(values, QuantizedTensor)  # whose rows are of output features
        given = np.shape(values)
        if sorted(given) != sorted(shape) if is_kept else given != tuple(shape):
            raise ShapeError("loom.nn.Model", f"weight {name!r} has another shape", got=given,
                             expected=f"rows of output features, of {shape}" if is_kept else shape,
                             remedy="Check which network it is of")  # fmt: skip
        if isinstance(values, Tensor | QuantizedTensor):
            return cast("Tensor", values)  # products and lookups take either
        if self.network.dtype == bf16 and getattr(values, "dtype", None) == np.uint16:
            values = widen(values, bf16)
        return tensor.parameter(values, self.network.dtype, name=name, on=self.device)

    # weights

    def weights_for(self, device: Device) -> dict[str, Any]:
        """Return what a model on another device is made of: ``weights()``, those kept quantised as they are."""
        with self.lock:
            held = self.parameters | self.state
            return {
                n: w.to(device) if isinstance(w, QuantizedTensor) else w.host_elements()[0] for n, w in held.items()
            }

    @property
    def result_type(self) -> DType:
        """The type that outputs are compared with targets in: f64 for a network of f64, else f32."""
        return f64 if self.network.dtype == f64 else f32

    # recording

    def apply(
        self, x: Tensor | Mapping[str, Tensor], *, training: bool = False, step: Tensor | None = None,
        compute: DType | None = None, precision: str | None = None, first: Tensor | None = None,
    ) -> Tensor:  # fmt: skip
        """Record the network on ``x`` (batch, *shape), of several inputs a mapping by name; return its output.

        ``training``: dropout, noise and batch statistics; ``step``: the number of the training step, an integer
        tensor of one element, which noise depends on; ``compute``: the type that layers are computed in, weights being
        rounded to it (running means and ``scale`` layers stay); ``precision``: that of its products, None: what the
        document says; ``first``: the place in its batch of the first sample of a micro-batch, on which noise depends
        too, a u32 of shape (); None: 0. ArgumentError for a network of several outputs.
        """
        found = self.apply_all(x, training=training, step=step, compute=compute, precision=precision, first=first)
        if len(found) != 1:
            raise ArgumentError("loom.nn.Model.apply", "the network has several outputs", expected="one",
                                got=", ".join(found), remedy="Use apply_all")  # fmt: skip
        return next(iter(found.values()))

    def apply_all(
        self, x: Tensor | Mapping[str, Tensor], *, training: bool = False, step: Tensor | None = None,
        taps: dict[str, tuple[Any, Tensor]] | None = None, compute: DType | None = None, precision: str | None = None,
        first: Tensor | None = None,
    ) -> dict[str, Tensor]:  # fmt: skip
        """Record the network; return its outputs by node name. Arguments as in ``apply``; ``taps`` takes what each
        layer takes and gives, by its name."""
        made = self._inputs(x)
        watch = self.watch
        record = self.begin_pass(made, training=training, step=step, compute=compute, precision=precision)
        record.first = first
        record.taps = {n: (a, a) for n, a in made.items()} if taps is None and watch is not None else taps
        for node in self.network.nodes:
            sources = [made[name] for name in node.inputs]
            given = sources if node.layer.takes_many else sources[0]
            made[node.name] = Context(node.name, record).run(node.layer, given)
        self.state_updates = list(record.updates.items())
        self.taps = {} if watch is None or record.taps is None else watch.pick(record.taps)
        return {name: made[name] for name in self.network.outputs}

    def begin_pass(
        self, inputs: Mapping[str, Tensor], *, training: bool, step: Tensor | None, compute: DType | None = None,
        precision: str | None = None,
    ) -> ForwardPass:  # fmt: skip
        """Return what all layers share of a pass over ``inputs``, before any is recorded."""
        dtype = self.network.dtype if compute is None else compute
        if training:
            self.require_numbers("training")
        weights = {name: w if w.dtype == dtype else w.astype(dtype) for name, w in self.parameters.items()}
        return ForwardPass(
            tensors=weights | self.state, names=self._own, inputs=dict(inputs), dtype=dtype,
            device=self.device, seed=self.network.seed, training=training, step=step, frozen=self.frozen,
            precision=precision or self.network.precision.value,
        )  # fmt: skip

    def _inputs(self, x: Any) -> dict[str, Any]:
        """Return the inputs by name, of one batch size and of the shapes that the network asks for."""
        given: dict[str, Any] = dict(x) if is_mapping(x) else {self.network.inputs[0].name: x}
        names = [i.name for i in self.network.inputs]
        if sorted(given) != sorted(names):
            raise ArgumentError(
                "loom.nn.Model", "not the network's inputs", expected=", ".join(names), got=", ".join(map(str, given)),
                remedy="Pass a mapping of input names to arrays",
            )  # fmt: skip
        batch = given[names[0]].shape[:1]
        lengths: dict[str, int] = {}
        for i in self.network.inputs:
            shape = tuple(given[i.name].shape)
            if not batch or batch[0] < 1 or shape[:1] != batch or not i.takes(shape[1:]):
                most = "up to " if i.variable_length else ""
                sizes = ", ".join(["batch", most + ", ".join(map(str, i.shape))])
                raise ShapeError(
                    f"loom.nn.Model, input {i.name!r}", "the array has another shape", expected=f"({sizes})", got=shape,
                    remedy="The first axis counts samples",
                )  # fmt: skip
            if i.variable_length:
                lengths[i.name] = shape[1]
        if len(set(lengths.values())) > 1:
            raise ShapeError("loom.nn.Model", "inputs of variable length differ in it", expected="one length of all",
                             got=lengths, remedy="Pad the shorter ones")  # fmt: skip
        return given

    # running

    def forward(self, x: Any) -> Any:
        """Return the outputs for ``x``: an array (batch, *shape), of several inputs a mapping by name.

        The result is an array, of a network of several outputs a dict of them. Raises ShapeError and ArgumentError.
        """
        feeds = {_FIRST: x} if type(x) is np.ndarray and len(self._feeds) == 1 else self._feed(x)
        shapes = tuple([a.shape for a in feeds.values()])
        if self.watch is not None and not self.watch.is_showing:
            return self._forward_watched(feeds, shapes)
        with self.lock:
            program = self._programs.get(shapes)
            if program is None:
                program = self._programs[shapes] = self._compile(feeds)
            program.run(**feeds)
            results = program.read()
        return results[0] if len(results) == 1 else dict(zip(self.network.outputs, results, strict=True))

    def _forward_watched(self, feeds: Mapping[str, Any], shapes: tuple[Any, ...]) -> Any:
        """Return the outputs, and show what layers did, once the lock is free."""
        with self.lock:
            watch = self.watch
            key = shapes if watch is None else (shapes, watch.names)
            program = self._programs.get(key)
            if program is None:
                program = self._programs[key] = self._compile(feeds, key)
            program.run(**feeds)
            results, layout = program.read(), self._layouts.get(key)
        count = len(self.network.outputs)
        if watch is not None and layout is not None:
            watch.show("normal", "forward", layout.read(results[count:])[0])
        return results[0] if count == 1 else dict(zip(self.network.outputs, results[:count], strict=True))

    def _feed(self, x: Any) -> dict[str, Any]:
        """Return arrays by the names of a program's inputs, in their order."""
        given = x if is_mapping(x) else {self.network.inputs[0].name: x}
        arrays = {
            name: a if isinstance(a, Readable) else read_array(a, "loom.nn.Model")[0] for name, a in given.items()
        }
        self._inputs(arrays)
        return {feed: arrays[name] for name, feed in self._feeds.items()}

    def _compile(self, feeds: Mapping[str, Any], watched: tuple[Any, ...] = ()) -> TensorProgram:
        """Return a new program for arrays of these shapes, which are checked; ``watched``: with what is watched as
        further outputs, whose layout is kept under that key."""
        made = self._inputs({name: feeds[feed] for name, feed in self._feeds.items()})
        inputs = {i.name: tensor.input(self._feeds[i.name], made[i.name].shape, i.dtype) for i in self.network.inputs}
        updates = self.state_updates
        outputs = list(self.apply_all(inputs).values())
        self.state_updates = updates  # those of training stay
        if len(self._programs) == _MOST_PROGRAMS:
            oldest = next(iter(self._programs))
            self._programs.pop(oldest).free()
            self._layouts.pop(oldest, None)
        if watched and self.taps:
            self._layouts[watched], seen = lay_out(self.taps)
            outputs += seen
        return tensor.compile(outputs, on=self.device, name=self.network.name or "network")


def _is_frozen(name: str, parts: list[Part]) -> bool:
    return any(p.layer.frozen and name.startswith(f"{p.name}.") for p in parts)
