"""A network frozen: its forward passes, its training step, and what the host did in training, as tables.

Layer: export. Invariant: what a training loop on the host does that changes bits (order of samples, rates, the guard
against NaN) is told by numbers here, and by nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import copy
from functools import partial
from typing import Any

import numpy as np

from loom import tensor
from loom.core.arrays import Array
from loom.core.caps import Caps
from loom.core.dtype import DType
from loom.core.errors import ArgumentError
from loom.core.given import is_mapping
from loom.core.late.dataclass import dataclass
from loom.core.numbers import whole
from loom.export.frozen import Ends, Image, draft
from loom.export.words import require_identifier
from loom.nn.layers.scale import learn_scaling
from loom.nn.network import Network, digest_of
from loom.nn.spec import NetworkSpec
from loom.nn.spec.base.layer import Layer, Shared
from loom.nn.spec.layers.embedding import Embedding
from loom.nn.spec.layers.nested import Sequential
from loom.nn.spec.layers.parallel import Parallel
from loom.nn.spec.layers.shaping import Flatten, Permute, Reshape
from loom.nn.spec.reader import write_network
from loom.nn.train.config import TrainConfig
from loom.nn.train.loop.trainer import settings_of
from loom.nn.train.losses import CHANCE_LOSSES, NEXT_TOKEN
from loom.nn.train.programs import BatchShape, Programs
from loom.nn.train.samples import Samples, batches, by_name
from loom.nn.train.schedules import Constant
from loom.tensor import Tensor

__all__ = ["FrozenNetwork", "Limit", "Measure", "Training", "freeze"]

_MOST_RATES = 1 << 20
"""Updates whose rates are written down."""


@dataclass(frozen=True, slots=True)
class Training:
    """How a frozen network is trained: ``sizes`` of batches, ``samples`` of an epoch, ``rates`` of updates (float64).

    One rate stands for all updates; else there are ``epochs`` of them. ``accumulate``: batches of an update;
    ``patience``: None, or epochs without a gain of more than ``least_gain`` before training ends, watched on the
    ``held_out`` samples, or on those it trains with if there are none; ``measures``: how each target says classes,
    ``truths``: what it may hold; ``config``: what a training that goes on elsewhere must have in common; ``digest``:
    what all epochs end in, if that was asked.
    """

    samples: int
    batch: int
    sizes: tuple[int, ...]
    epochs: int
    rates: Array
    shuffle: bool
    seed: int
    accumulate: int
    patience: int | None
    least_gain: float
    held_out: int
    measures: tuple[Measure, ...]
    truths: tuple[Limit | None, ...]
    config: tuple[tuple[str, str], ...]
    digest: str | None


@dataclass(frozen=True, slots=True)
class Measure:
    """How an output says a class: the largest of ``classes``, or (of ``chance``) a number above ``above``; else not."""

    classes: int = 0
    chance: bool = False
    above: float = 0.0


@dataclass(frozen=True, slots=True)
class Limit:
    """What an array of callers may hold, from 0 to ``most``: ``tokens``, ``classes`` (``padded``: or padding), or
    ``chances``; of all but chances whole numbers alone."""

    kind: str
    most: int


class FrozenNetwork:
    """What every export of a network is made of; ``image`` lays it out for one machine.

    ``outputs``: name, dtype and shape (without the axis of samples) of each; ``targets``: name and dtype of what
    training compares them with; ``samples``: those it was frozen with; ``tokens``: inputs that are ids of a
    vocabulary; ``documents``: those that ``CreateLoomNetwork`` knows it by, the network's own first.
    """

    def __init__(
        self,
        network: Network,
        name: str,
        ends: Mapping[str, Callable[[], Ends]],
        kept: Mapping[str, Tensor],
        training: Training | None,
        targets: Sequence[DType] = (),
        learned: Mapping[str, Array] | None = None,
        *,
        threads: bool = False,
        samples: Samples | None = None,
    ) -> None:
        self.samples = samples
        self.network, self.name, self.training, self.threads = network, name, training, threads
        self._learned = dict(learned or {})
        self.documents: list[Any] = [write_network(network.spec)]
        self._ends, self._kept = ends, kept
        names = network.spec.outputs
        made, _ = ends["forward_1"]()
        self.tokens = tokens_of(network.spec)
        self.outputs = [(n, t.dtype, tuple(t.shape[1:])) for n, t in zip(names, made, strict=True)]
        self.targets = list(zip(names, targets, strict=False))

    @property
    def inputs(self) -> list[tuple[str, DType, tuple[int, ...]]]:
        """Name, dtype and shape (without the axis of samples) of each input."""
        return [(i.name, i.dtype, tuple(i.shape)) for i in self.network.spec.inputs]

    def weights(self) -> Mapping[str, Array]:
        """Return what the digest is of."""
        return self.network.model.weights()

    def image(self, caps: Caps) -> Image:
        """Return programs and memory as a machine of ``caps`` runs them."""
        found = Image(caps)
        model = self.network.model
        for name, parameter in (model.parameters | model.state).items():
            found.keep(name, parameter)
        weights = list(found.tensors.values())
        for name, parameter in self._kept.items():
            found.keep(f"state/{name}", parameter)
        if self.training is not None and self.training.patience is not None:
            for about in weights:
                found.reserve(f"best/{about.name}", about)
        with model.lock:
            found.freeze({name: draft(record(), model.device, caps) for name, record in self._ends.items()})
        return found

    def start(self, image: Image) -> bytes:
        """Return the state as it is now, which nets begin with."""
        model = self.network.model
        held = (model.parameters | model.state) | {f"state/{n}": t for n, t in self._kept.items()}
        memory = bytearray(image.state_nbytes)
        for name, about in image.tensors.items():
            if name in held:
                storage = held[name].data
                assert storage is not None
                content = self._learned.get(name, storage.read(0, about.nbytes))
                memory[about.offset : about.offset + about.nbytes] = content.tobytes()
        return bytes(memory)

    def digest(self) -> str:
        """Return the digest of the weights that nets begin with, as ``Network.digest`` makes it."""
        return digest_of({**self.network.model.weights(), **self._learned})


def freeze(
    network: Network,
    *,
    name: str = "net",
    batch: int | Sequence[int] = (1,),
    train: Mapping[str, Any] | None = None,
    data: tuple[Any, Any] | None = None,
    validation: tuple[Any, Any] | None = None,
    threads: bool = False,
    proof: bool = False,
) -> FrozenNetwork:
    """Return a network written down for exports.

    Args:
        network: Network.
        name: Prefix of its functions.
        batch: Numbers of samples that are computed at once; 1 always is among them.
        train: Settings of ``Network.train``; None: none.
        data: Samples and targets like those it will be trained with, as ``Network.train`` takes them; None: the export
            does not train. Their number, shapes and types are written down (and, for layers ``scale`` that have met
            none, mean and deviation), nothing else of them.
        validation: Samples and targets that are measured after each epoch; None: none.
        threads: Whether nets may compute with several threads, those of the system.
        proof: Whether a copy is trained here for all epochs, and the manifest tells the digest that they end in.

    Raises:
        ArgumentError: A name that C cannot have; a setting that an export does not have, or that has no effect without
            data.
        StateError: Weights are kept quantised.
    """
    require_identifier(name)
    network.model.require_numbers("an export")
    sizes = [batch] if isinstance(batch, int) else list(batch)
    sizes = sorted({1, *(whole(n, "loom.export, batch", least=1) for n in sizes)}, reverse=True)
    ends: dict[str, Callable[[], Ends]] = {f"forward_{n}": _forward(network, n) for n in sizes}
    if data is None:
        for setting, given in (("train", train), ("validation", validation), ("proof", proof)):
            if given:
                raise ArgumentError(f"loom.export, {setting}", "has no effect without data", expected="data=(x, y)",
                                    got="none", remedy="Pass samples like those it will be trained with")  # fmt: skip
        return FrozenNetwork(network, name, ends, {}, None, threads=threads)
    config, samples = _settings(network, dict(train or {}), data, "data")
    held = () if validation is None else _settings(network, dict(train or {}), validation, "validation")[1]
    programs = _programs(network, config)
    shape, size = BatchShape.of(samples), config.batch_size
    cuts = batches(len(samples), size)
    steps = _sizes(len(samples), size)
    kind = "sum" if config.accumulate > 1 else "step"
    for n in steps:
        ends[f"{kind}_{n}"] = partial(programs.record, kind, n, shape)
    if config.accumulate > 1:
        ends["update_0"] = partial(programs.record, "update", 0, None)
    for n in sorted({*steps, *_sizes(len(held), size), 1}, reverse=True):  # 1: any number of samples has a score
        ends[f"score_{n}"] = partial(programs.record, "loss", n, shape)
    digest = None
    if proof:
        other = copy(network)
        other.train(*data, validation=validation, progress=False, **(train or {}))
        digest = other.digest()
    training = Training(
        len(samples), size, tuple(steps), config.epochs, _rates(config, -(-len(cuts) // config.accumulate)),
        config.shuffle, config.seed, config.accumulate, config.patience, config.least_gain, len(held),
        _measures(network, config, samples), _truths(network, config, samples),
        tuple(settings_of(config, network.model).items()), digest,
    )  # fmt: skip
    learned = _scaling(network, data[0])
    return FrozenNetwork(
        network, name, ends, programs.kept, training, samples.y_types, learned, threads=threads, samples=samples
    )


def _programs(network: Network, config: TrainConfig) -> Programs:
    names = network.spec.outputs if len(network.spec.outputs) > 1 else ()
    types = [i.name for i in network.spec.inputs] if len(network.spec.inputs) > 1 else ()
    return Programs(network.model, config, network.model.frozen, network.model.learning_rates, types, names)


def _sizes(samples: int, batch: int) -> list[int]:
    """Return how many samples batches have, the larger number first."""
    return sorted({cut.stop - cut.start for cut in batches(samples, batch)}, reverse=True)


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


def _settings(network: Network, given: dict[str, Any], data: tuple[Any, Any], what: str) -> tuple[TrainConfig, Samples]:
    """Return the config that ``Network.train`` would train with, and the samples as it takes them."""
    optimizer, schedule = given.pop("optimizer", "sgd"), given.pop("schedule", None)
    config, samples = network.read_training(*data, f"loom.export, {what}", optimizer, schedule, given)
    for setting, remedy in _OF_THE_HOST.items():
        if getattr(config, setting) is not None:
            raise ArgumentError(f"loom.export, {setting}", "an export does not have it", expected="None",
                                got=repr(getattr(config, setting)), remedy=remedy)  # fmt: skip
    return config, samples


_OF_THE_HOST = {
    "micro_batch": "Leave it out, or train in Python: an export computes a batch at once",
    "checkpoint": "Leave it out, and keep what the function save gives: load goes on from there",
    "budget_nbytes": "Leave it out: the function size tells what a net takes",
}
"""Settings without a meaning in an export, and what to do."""


def _scaling(network: Network, x: Any) -> dict[str, Array]:
    """Return the state of layers ``scale`` as training with ``x`` would set it first; the network stays as it is."""
    names = [i.name for i in network.spec.inputs]
    state = network.model.state
    with network.model.alone("loom.export"):
        before = learn_scaling(network.spec, state, by_name(x, names, "loom.export, data"))
        found = {name: state[name].numpy() for name in before}
        for name, value in before.items():
            state[name].assign(value)
    return found


def _measures(network: Network, config: TrainConfig, samples: Samples) -> tuple[Measure, ...]:
    """Return how accuracy is counted for each target: see ``nn.train.measures.classes_said`` and its caller.

    Classes that are padding count nowhere; truths of one number are two classes where it is the only output.
    """
    shapes = [network.spec.shapes()[name] for name in network.spec.outputs]
    found: list[Measure] = []
    for shape, y, dtype in zip(shapes, samples.y, samples.y_types, strict=True):
        if not dtype.is_float and len(shape) > y.ndim - 1:
            found.append(Measure(classes=shape[-1]))
        elif len(shapes) == 1 and config.loss == "binary_cross_entropy" and shape == y.shape[1:] and y.size == len(y):
            found.append(Measure(chance=True, above=0.5 if config.probabilities else 0.0))
        else:
            found.append(Measure())
    return tuple(found)


def _truths(network: Network, config: TrainConfig, samples: Samples) -> tuple[Limit | None, ...]:
    """Return what each target may hold: see ``nn.train.targets.fit_targets``."""
    shapes, found = network.spec.shapes(), list[Limit | None]()
    for name, dtype in zip(network.spec.outputs, samples.y_types, strict=True):
        loss = config.loss[name] if is_mapping(config.loss) else config.loss
        if not dtype.is_float:
            found.append(Limit("padded" if loss == NEXT_TOKEN else "classes", shapes[name][-1] - 1))
        else:
            found.append(Limit("chances", 1) if isinstance(loss, str) and loss in CHANCE_LOSSES else None)
    return tuple(found)


_RESHAPES = (Flatten, Permute, Reshape)


def tokens_of(spec: NetworkSpec) -> dict[str, Limit]:
    """Return the inputs that embeddings look up, as they are or reshaped, each with its smallest vocabulary."""
    sources, found = {i.name: i.name for i in spec.inputs}, dict[str, Limit]()
    for node in spec.nodes:
        source = sources.get(node.inputs[0])
        if source is None:
            continue
        if isinstance(node.layer, _RESHAPES):
            sources[node.name] = source
        for size in _vocabularies(node.layer):
            most = size - 1 if source not in found else min(size - 1, found[source].most)
            found[source] = Limit("tokens", most)
    return found


def _vocabularies(layer: Layer) -> Iterator[int]:
    """Yield the vocabularies of embeddings that read what a layer reads."""
    if isinstance(layer, Shared):
        yield from _vocabularies(layer.layer)
    elif isinstance(layer, Embedding):
        yield layer.vocab_size
    elif isinstance(layer, Sequential):
        first = next((each for each in layer.layers if not isinstance(each, _RESHAPES)), None)
        yield from _vocabularies(first) if first is not None else ()
    elif isinstance(layer, Parallel):
        for branch in layer.branches:
            yield from _vocabularies(branch)


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
