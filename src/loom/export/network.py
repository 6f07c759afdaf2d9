"""A network frozen: its forward passes, its training step, and what the host did in training, as tables.

Layer: export. Invariant: what a training loop on the host does that changes bits (order of samples, rates, the guard
against NaN) is told by numbers here, and by nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from loom import tensor
from loom.core.arrays import Array
from loom.core.caps import Caps
from loom.core.dtype import DType
from loom.core.errors import ArgumentError
from loom.core.numbers import whole
from loom.export.frozen import Ends, Image, draft, require_identifier
from loom.nn.network import Network
from loom.nn.train.config import TrainConfig
from loom.nn.train.programs import BatchShape, Programs
from loom.nn.train.samples import Samples, batches
from loom.nn.train.schedules import Constant
from loom.tensor import Tensor

__all__ = ["FrozenNetwork", "Training", "freeze"]

_MOST_RATES = 1 << 20
"""Updates whose rates are written down."""


@dataclass(frozen=True, slots=True)
class Training:
    """How a frozen network is trained: ``sizes`` of batches, ``samples`` of an epoch, ``rates`` of updates (float64).

    One rate stands for all updates; else there are ``epochs`` of them.
    """

    samples: int
    batch: int
    sizes: tuple[int, ...]
    epochs: int
    rates: Array
    shuffle: bool
    seed: int


class FrozenNetwork:
    """What every export of a network is made of; ``image`` lays it out for one machine.

    ``outputs``: name, dtype and shape (without the axis of samples) of each; ``targets``: name and dtype of what
    training compares them with.
    """

    def __init__(
        self,
        network: Network,
        name: str,
        ends: Mapping[str, Callable[[], Ends]],
        kept: Mapping[str, Tensor],
        training: Training | None,
        targets: Sequence[DType] = (),
    ) -> None:
        self.network, self.name, self.training = network, name, training
        self._ends, self._kept = ends, kept
        names = network.spec.outputs
        made, _ = ends["forward_1"]()
        self.outputs = [(n, t.dtype, tuple(t.shape[1:])) for n, t in zip(names, made, strict=True)]
        self.targets = list(zip(names, targets, strict=False))

    def image(self, caps: Caps) -> Image:
        """Return programs and memory as a machine of ``caps`` runs them."""
        found = Image(caps)
        model = self.network.model
        for name, parameter in (model.parameters | model.state).items():
            found.keep(name, parameter)
        for name, parameter in self._kept.items():
            found.keep(f"state/{name}", parameter)
        with model.lock:
            found.freeze({name: draft(record(), model.device, caps) for name, record in self._ends.items()})
        return found

    def start(self, image: Image) -> bytes:
        """Return the state as it is now, which nets begin with."""
        model = self.network.model
        held = (model.parameters | model.state) | {f"state/{n}": t for n, t in self._kept.items()}
        memory = bytearray(image.state_nbytes)
        for name, about in image.tensors.items():
            storage = held[name].data
            assert storage is not None
            memory[about.offset : about.offset + about.nbytes] = storage.read(0, about.nbytes).tobytes()
        return bytes(memory)


def freeze(
    network: Network,
    *,
    name: str = "net",
    batch: int | Sequence[int] = (1,),
    train: Mapping[str, Any] | None = None,
    data: tuple[Any, Any] | None = None,
) -> FrozenNetwork:
    """Return a network written down: its forward pass for ``batch`` samples at once (1 always is among them).

    ``data``: samples and targets like those it will be trained with, as ``Network.train`` takes them: their number,
    shapes and types are written down, nothing else of them. ``train``: settings of ``Network.train``. Without data the
    export does not train. ArgumentError for settings that an export does not have.
    """
    require_identifier(name)
    sizes = [batch] if isinstance(batch, int) else list(batch)
    sizes = sorted({1, *(whole(n, "loom.export, batch", least=1) for n in sizes)}, reverse=True)
    model = network.model
    ends: dict[str, Callable[[], Ends]] = {f"forward_{n}": _forward(network, n) for n in sizes}
    if data is None:
        if train:
            raise ArgumentError("loom.export, train", "has no effect without data", expected="data=(x, y)", got="none",
                                remedy="Pass samples like those it will be trained with")  # fmt: skip
        return FrozenNetwork(network, name, ends, {}, None)
    config, samples = _settings(network, dict(train or {}), data)
    names = network.spec.outputs if len(network.spec.outputs) > 1 else ()
    types = [i.name for i in network.spec.inputs] if len(network.spec.inputs) > 1 else ()
    programs = Programs(model, config, model.frozen, model.learning_rates, types, names)
    shape = BatchShape.of(samples)
    n = len(samples)
    cuts = batches(n, config.batch_size)
    steps = sorted({cut.stop - cut.start for cut in cuts}, reverse=True)
    for size in steps:
        ends[f"step_{size}"] = lambda size=size: programs.record("step", size, shape)
    for size in sorted({*steps, 1}, reverse=True):  # one alone: so that any number of samples has a score
        ends[f"score_{size}"] = lambda size=size: programs.record("loss", size, shape)
    training = Training(n, config.batch_size, tuple(steps), config.epochs, _rates(config, len(cuts)), config.shuffle,
                        config.seed)  # fmt: skip
    return FrozenNetwork(network, name, ends, programs.kept, training, samples.y_types)


def _forward(network: Network, samples: int) -> Callable[[], Ends]:
    def record() -> Ends:
        model = network.model
        inputs = {
            i.name: tensor.input(f"x{n}", (samples, *i.shape), i.dtype) for n, i in enumerate(network.spec.inputs)
        }
        updates = model.state_updates
        made = list(model.apply_all(inputs).values())
        model.state_updates = updates  # those of a training stay
        return made, []

    return record


def _settings(network: Network, given: dict[str, Any], data: tuple[Any, Any]) -> tuple[TrainConfig, Samples]:
    """Return the config that ``Network.train`` would train with, and the samples as it takes them."""
    optimizer, schedule = given.pop("optimizer", "sgd"), given.pop("schedule", None)
    config, samples = network.read_training(*data, "loom.export, data", optimizer, schedule, given)
    for setting, plain in (("accumulate", 1), ("patience", None), ("checkpoint", None), ("budget_nbytes", None)):
        if getattr(config, setting) != plain:
            raise ArgumentError(f"loom.export, {setting}", "an export does not have it", expected=repr(plain),
                                got=repr(getattr(config, setting)), remedy="Leave it out")  # fmt: skip
    if any(node.layer.kind == "scale" for node in network.spec.nodes) and not _is_scaled(network):
        raise ArgumentError("loom.export", "the network's scaling is learned of samples, which it has not met",
                            expected="a network that was trained", got="one that was not",
                            remedy="Train it for an epoch first")  # fmt: skip
    return config, samples


def _is_scaled(network: Network) -> bool:
    state = network.model.state
    scales = [n.name for n in network.spec.nodes if n.layer.kind == "scale"]
    return all(
        np.any(state[f"{name}.shift"].numpy()) or np.any(state[f"{name}.factor"].numpy() != 1) for name in scales
    )


def _rates(config: TrainConfig, updates: int) -> Array:
    """Return the rates of all updates, or the only one."""
    schedule = config.schedule or Constant(config.learning_rate)
    if isinstance(schedule, Constant):
        return np.array([schedule.rate], np.float64)
    count = updates * config.epochs
    if count > _MOST_RATES:
        raise ArgumentError("loom.export, schedule", "too many updates to write their rates down",
                            expected=f"at most {_MOST_RATES}", got=count, remedy="Export fewer epochs")  # fmt: skip
    return schedule.rates(np.arange(count, dtype=np.int64))
