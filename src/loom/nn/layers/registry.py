"""Which functions make a layer: ``init`` its first weights, ``apply`` its part of the record.

Layer: nn. Invariant: ``apply`` only records, and takes weights from its arguments and the context alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import field, replace
from functools import partial
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from typing import Any, Protocol, cast

import numpy as np

from loom.core.dtype import DType
from loom.core.errors import StateError
from loom.core.late.dataclass import dataclass
from loom.kernels.precisions import FULL
from loom.nn.base.random import RandomStream, normals, uniforms
from loom.nn.layers.adapters import AdaptedWeight
from loom.nn.spec.base.layer import Layer, Shape, Shared
from loom.nn.spec.layers.lora import Adaptable, adapter_names, is_adapter
from loom.runtime.port.device import Device
from loom.tensor import Tensor
from loom.tensor import zeros as zero_tensor
from loom.tensor.ops.precision import precision

__all__ = ["Cache", "Carried", "Context", "ForwardPass", "Key", "Known", "Weights", "init", "layer", "zeros"]

Weights = Mapping[str, Tensor]
"""A layer's own weights and state by their names within it."""


@dataclass(frozen=True, slots=True)
class Key:
    """Where a layer's initial numbers come from: the network's seed, and ``numbers``, own weight name -> its number
    among the network's trained arrays."""

    seed: int
    numbers: Mapping[str, int]

    def spread(self, name: str, shape: Shape, reach: float) -> Any:
        """Return numbers spread evenly from ``-reach`` to ``reach``."""
        found = uniforms(shape, self.seed, self.numbers[name])
        found *= np.float32(2)
        found -= np.float32(1)
        found *= np.float32(reach)
        return found

    def normal(self, name: str, shape: Shape, deviation: float) -> Any:
        """Return normally distributed numbers."""
        found = normals(shape, self.seed, self.numbers[name])
        found *= np.float32(deviation)
        return found


def first_adapter(name: str, shape: Shape, key: Key) -> Any:
    """Return an adapter's first weights: A even within +-1 / sqrt(in), B zeros, so that nothing changes at first."""
    is_first = name.endswith(adapter_names("")[0])
    return key.spread(name, shape, 1 / math.sqrt(shape[0])) if is_first else zeros(shape)


def zeros(shape: Shape) -> Any:
    """Return zeros as initial weights."""
    return np.zeros(shape, np.float32)


@dataclass(slots=True)
class ForwardPass:
    """What all layers of one forward pass share.

    ``updates``: state -> its value after this pass; ``frozen``: names of weights that training leaves as they are;
    ``taps``: where they are wanted, what each layer takes (of a node of several inputs: a list) and gives, by its name.
    ``carried``: what recurrent layers carry from pass to pass (step mode); None: each pass is a sequence of its own.
    ``precision``: that of all products. ``positions``: each token's place in its text, whole numbers (batch, tokens);
    None: 0, 1, .. of every sample. ``context``: of such positions, how many there may be. ``cache``: where keys and
    values of earlier tokens are kept, of a pass over single tokens, each of a text of its own. ``turned``: transposed
    copies of matrices, by name, that are faster to multiply with. ``turns``: cosines and sines of the tokens at
    ``positions``, by what they follow from. ``first``: the place in its batch of the first sample, a u32 of shape ();
    None: 0.
    """

    tensors: Mapping[str, Tensor]
    names: Mapping[str, tuple[str, ...]]
    inputs: Mapping[str, Tensor]
    dtype: DType
    device: Device
    seed: int
    training: bool
    step: Tensor | None
    frozen: Collection[str] = ()
    updates: dict[Tensor, Tensor] = field(default_factory=dict[Tensor, Tensor])
    draws: int = 0
    taps: dict[str, tuple[Any, Tensor]] | None = None
    carried: Carried | None = None
    precision: str = FULL
    positions: Tensor | None = None
    context: int = 0
    cache: Cache | None = None
    turned: Mapping[str, Tensor] = field(default_factory=dict[str, Tensor])
    turns: dict[Any, tuple[Tensor, Tensor]] = field(default_factory=dict[Any, tuple[Tensor, Tensor]])
    first: Tensor | None = None


class Cache(Protocol):
    """What is kept of earlier tokens, for a pass of samples of one token each, each of a text of its own."""

    def attend(
        self, name: str, q: Tensor, k: Tensor, v: Tensor, factor: float, window: int | None
    ) -> Tensor:  # fmt: skip
        """Keep the tokens' keys and values for the layer ``name``; return attention over what is kept of each text.

        ``q`` is (batch, heads, 1, size), ``k`` and ``v`` have the heads of keys; scores are multiplied by ``factor``;
        ``window``: the most tokens that are seen, the text's last ones; None: all.
        """
        ...


@dataclass(slots=True)
class Carried:
    """State of recurrent layers by ``place.key``: ``old`` as a pass begins, ``new`` as it ends.

    What is not in ``old`` is zero, and noted there: so a first pass finds out what a network carries.
    """

    old: dict[str, Tensor] = field(default_factory=dict[str, Tensor])
    new: dict[str, Tensor] = field(default_factory=dict[str, Tensor])


@dataclass(frozen=True, slots=True)
class Context:
    """Where a layer is: ``name`` is its key in the network, and ``record`` the pass it belongs to.

    ``is_shared``: within a shared layer, whose name is that of another place.
    ``place``: the same, but for a shared layer its own place, not that of the weights it shares; "" for the same.
    """

    name: str
    record: ForwardPass
    is_shared: bool = False
    place: str = ""

    @property
    def training(self) -> bool:
        """True if the pass is one of training."""
        return self.record.training

    def is_frozen(self, name: str) -> bool:
        """Tell whether the own weight called ``name`` stays as it is."""
        return f"{self.name}.{name}" in self.record.frozen

    def part(self, config: Layer, x: Tensor, key: str) -> Tensor:
        """Record the layer held under ``key`` (``branches.0``)."""
        return replace(self, name=f"{self.name}.{key}", place=f"{self.place or self.name}.{key}").run(config, x)

    def run(self, config: Layer, x: Tensor | list[Tensor]) -> Tensor:
        """Record ``config`` as the layer of this name, on ``x`` (of several inputs: a list)."""
        made = self._apply(config, x)
        if self.record.taps is not None and not self.is_shared:
            self.record.taps[self.name] = (x, made)
        return made

    def _apply(self, config: Layer, x: Tensor | list[Tensor]) -> Tensor:
        if isinstance(config, Shared):
            found = replace(self, name=config.target, is_shared=True, place=self.place or self.name)
            return found.run(config.layer, x)
        known = LAYERS[type(config)]
        own = {key: self.record.tensors[f"{self.name}.{key}"] for key in self.record.names.get(self.name, ())}
        if config.is_at_input and isinstance(x, Tensor):
            x = x.astype(next(iter(own.values())).dtype)  # its numbers stay as they are in mixed precision
        elif not known.any_dtype:
            x = [self.convert(each) for each in x] if isinstance(x, list) else self.convert(x)
        with precision(self.record.precision):
            return known.apply(config, self._with_adapters(config, own), x, self)

    def _with_adapters(self, config: Layer, own: dict[str, Tensor]) -> Weights:
        """Return own weights, those with adapters as ``linear`` takes them."""
        if not isinstance(config, Adaptable) or config.lora is None:
            return own
        rate = config.lora.dropout if self.training else 0.0
        draw = partial(self.draw, stream=RandomStream.DROPOUT)
        found = {n: AdaptedWeight(own[n], own[a], own[b], config.lora.scale, rate, draw)
                 for n, (a, b) in ((n, adapter_names(n)) for n in config.adapted)}  # fmt: skip
        return cast("Weights", own | found)

    def convert(self, x: Tensor) -> Tensor:
        """Return a tensor in the network's type."""
        return x.astype(self.record.dtype)

    def borrow(self, layer: str, key: str) -> Tensor:
        """Return the weight ``key`` of another layer of the network, called ``layer``."""
        return self.record.tensors[f"{layer}.{key}"]

    def carry(self, key: str, shape: Shape) -> Tensor:
        """Return what this layer carried from the pass before under ``key``; ``keep`` says what the next one gets."""
        assert self.record.carried is not None
        old, name = self.record.carried.old, f"{self.place or self.name}.{key}"
        if name not in old:
            old[name] = zero_tensor(shape, self.record.dtype)
        return old[name]

    def keep(self, key: str, value: Tensor) -> None:
        """Carry a value to the next pass."""
        assert self.record.carried is not None
        self.record.carried.new[f"{self.place or self.name}.{key}"] = value

    def draw(self, shape: Shape, stream: RandomStream) -> Tensor:
        """Return random words; each call of a pass has a sequence of its own.

        A micro-batch takes the words that its samples have in the whole batch, whose elements go sample by sample.
        """
        from loom.tensor.ops.random import random_words  # few layers draw

        if self.record.step is None:
            raise StateError(
                f"loom.nn, layer {self.name!r}", "training draws random numbers", expected="the number of the step",
                got="step=None", remedy="Pass step=, an integer tensor of one element",
            )  # fmt: skip
        self.record.draws += 1
        first, after = self.record.first, None
        if first is not None:
            after = first, -(-math.prod(shape) // next(iter(self.record.inputs.values())).shape[0])
        return random_words(shape, self.record.seed, self.record.draws, self.record.step, stream, after)


@dataclass(frozen=True, slots=True)
class Known:
    """The functions of a layer. ``any_dtype``: the input is not brought to the network's type first."""

    init: Callable[[Any, dict[str, Shape], Key], dict[str, Any]]
    apply: Callable[[Any, Weights, Any, Context], Tensor]
    any_dtype: bool = False


class _Layers(dict[type[Layer], Known]):
    """Config class -> its functions, which load when they are asked for: the file called as the config's, else all."""

    def __missing__(self, config: type[Layer]) -> Known:
        own = config.__module__.rpartition(".")[2]
        families = [found.name for found in iter_modules([str(Path(__file__).parent)])]
        for family in sorted(families, key=lambda name: name != own):
            import_module(f"loom.nn.layers.{family}")
            if config in self:
                return self[config]
        raise KeyError(config)


LAYERS = _Layers()


def _nothing(config: Layer, shapes: dict[str, Shape], key: Key) -> dict[str, Any]:
    del config, shapes, key
    return {}


def layer(config: type[Layer], init: Any = _nothing, *, any_dtype: bool = False) -> Callable[[Any], Any]:
    """Make the function below the ``apply`` of a config class, with ``init`` for its weights."""

    def register(apply: Any) -> Any:
        LAYERS[config] = Known(init, apply, any_dtype)
        return apply

    return register


def init(config: Layer, shapes: dict[str, Shape], key: Key) -> dict[str, Any]:
    """Return a layer's first weights and state, those of layers within left out: own name -> f32 array.

    ``shapes``: own name -> shape, trained arrays and state (``own_weights``, ``own_state``).
    """
    plain = {name: shape for name, shape in shapes.items() if not is_adapter(name)}
    made = LAYERS[type(config)].init(config, plain, key)
    return made | {name: first_adapter(name, shape, key) for name, shape in shapes.items() if is_adapter(name)}
