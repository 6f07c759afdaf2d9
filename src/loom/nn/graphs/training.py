"""Training of imported graphs by the trainer of networks: what is told, checked against what the graph gives.

Layer: nn. Invariant: what is wrong with samples, targets or settings is told before anything runs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from loom import tensor
from loom.core.arrays import read_array
from loom.core.dtype import DType
from loom.core.errors import ArgumentError, ShapeError, near_matches
from loom.core.given import is_mapping
from loom.nn.graphs.ports import ArrayInfo
from loom.nn.settings import config_of
from loom.nn.spec.meaning import INDEPENDENT, NUMBERS, probabilities
from loom.nn.train.config import TrainConfig
from loom.nn.train.losses import Loss
from loom.nn.train.programs import Trainable
from loom.nn.train.samples import by_name
from loom.nn.train.targets import Losses, Output, fit_all_targets
from loom.nn.train.trainer import Trainer

__all__ = ["Task", "read_task", "told_config", "trainer_for"]


class Trained(Trainable, Protocol):
    """What a training asks of a graph, besides what the trainer asks: ``nn.graphs.TrainableGraph``."""

    inputs: tuple[ArrayInfo, ...]
    outputs: tuple[ArrayInfo, ...]
    learning_rates: dict[str, float]

    @property
    def seed(self) -> int:
        """The seed of what it draws."""
        ...

    @property
    def batch_size(self) -> int:
        """Samples of a batch, if they are not told."""
        ...

    @property
    def result_type(self) -> DType:
        """The type that outputs are compared with targets in."""
        ...

    def not_trained(self, outputs: Sequence[str]) -> frozenset[str]:
        """Return the names of parameters that a training of some outputs leaves as they are."""
        ...


_REFUSED = ("compute", "loss_scale")
"""Settings that a graph, which has its own dtypes, does not take."""


class Task:
    """What is trained or measured: samples by the inputs' names, targets, losses, and the outputs they are of."""

    def __init__(self, given: dict[str, Any], targets: Any, loss: Any, outputs: tuple[str, ...]) -> None:
        self.given, self.targets, self.loss, self.outputs = given, targets, loss, outputs


def read_task(model: Trained, x: Any, y: Any, loss: Losses, chances: bool | Mapping[str, bool], where: str) -> Task:
    """Return samples and targets as losses take them; errors as those of ``Network.train``."""
    given = by_name(x, [i.name for i in model.inputs], f"{where}, x")
    names = _trained_outputs(model, y, where)
    targets = y if is_mapping(y) else {names[0]: y}
    found: dict[str, Any] = {}
    losses: dict[str, str | Loss] = {}
    outputs = _outputs(model, given, names, chances, where)
    for name in names:
        own: Any = loss.get(name) if is_mapping(loss) else loss
        at = f"{where}, y" if len(names) == 1 else f"{where}, y {name!r}"
        losses[name], found[name] = _fit(outputs[name], targets[name], own, at)
    if len(model.outputs) == 1:
        return Task(given, found[names[0]], losses[names[0]], ())
    return Task(given, found, losses, tuple(names))


def _fit(output: Output, y: Any, loss: Any, where: str) -> tuple[Any, Any]:
    if loss == "nll":  # of logarithms of probabilities, which only the module's author knows them to be
        return loss, read_array(y, where)[0]
    return fit_all_targets({"": output}, y, loss, where)


def _trained_outputs(model: Trained, y: Any, where: str) -> list[str]:
    names = [o.name for o in model.outputs]
    if not is_mapping(y):
        if len(names) > 1:
            raise ArgumentError(f"{where}, y", "the model has several outputs",
                                expected="targets by the outputs' names",
                                got=type(y).__name__, remedy=f"Pass y={{{names[0]!r}: targets}}")  # fmt: skip
        return names
    for name in y:
        if name not in names:
            raise ArgumentError(f"{where}, y", f"the model has no output {name!r}", expected=", ".join(names),
                                remedy=near_matches(str(name), names))  # fmt: skip
    if not y:
        raise ArgumentError(f"{where}, y", "no targets", expected="those of an output", got="none", remedy="Pass some")
    return [n for n in names if n in y]


def _length(given: Mapping[str, Any], where: str) -> int:
    try:
        return len(next(iter(given.values())))
    except (TypeError, StopIteration):
        raise ArgumentError(f"{where}, x", "no samples", expected="arrays whose first axis counts samples", got="none",
                            remedy="Pass arrays") from None  # fmt: skip


def _outputs(
    model: Trained, given: Mapping[str, Any], names: Sequence[str], chances: bool | Mapping[str, bool], where: str
) -> dict[str, Output]:
    """Return the shapes of one sample's outputs, of a batch that is recorded, and what their numbers mean."""
    count = min(2, _length(given, where))
    fixed = {i.shape[0] for i in model.inputs if i.shape and isinstance(i.shape[0], int)}
    batch = next(iter(fixed)) if fixed else count
    fed: dict[str, Any] = {}
    for info in model.inputs:
        shape = read_array(given[info.name], f"{where}, x")[0].shape if not hasattr(given[info.name],
                                                                                    "shape") else tuple(
            given[info.name].shape
        )  # fmt: skip
        fed[info.name] = tensor.input(info.name, (batch, *shape[1:]), info.type)
    made = model.apply_all(fed, training=False)
    found: dict[str, Output] = {}
    for name in names:
        shape = made[name].shape
        if not shape or shape[0] != batch:
            raise ShapeError(where, f"output {name!r} has no axis of samples", expected=f"({batch}, ...)", got=shape,
                             remedy="Train on another, y={name: targets}, or record a loss with apply_all")  # fmt: skip
        own = chances.get(name, False) if is_mapping(chances) else chances
        meaning = NUMBERS if not own else INDEPENDENT if own == "independent" else probabilities(shape[-1])
        found[name] = Output(shape[1:], meaning)
    return found


def told_config(
    model: Trained, task: Task, optimizer: Any, schedule: Any, settings: Mapping[str, Any], where: str
) -> TrainConfig:
    """Return the config of a training."""
    for key in _REFUSED:
        if settings.get(key) is not None:
            raise ArgumentError(f"{where}, {key}", "a graph has its own dtypes", expected="none", got=settings[key],
                                remedy="Import the model in the dtype wanted")  # fmt: skip
    told: dict[str, Any] = {**settings, "loss": task.loss}
    return config_of(model, told.get("probabilities", False), task.given, optimizer, schedule, told)


def trainer_for(model: Trained, config: TrainConfig, outputs: tuple[str, ...], after: Trainer | None) -> Trainer:
    """Return a trainer of the model, which takes the programs of the one before if they are the same."""
    types: dict[str, DType] = {i.name: i.type for i in model.inputs}
    x_type = types if len(types) > 1 else next(iter(types.values()))
    return Trainer(
        model, config, frozen=model.not_trained(outputs), rates=model.learning_rates, y_type=model.result_type,
        x_type=x_type, outputs=outputs, after=after if after is not None and after.outputs == outputs else None,
    )  # fmt: skip
