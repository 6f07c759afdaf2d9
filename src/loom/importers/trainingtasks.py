"""Training of imported graphs by the trainer of networks: what is told, checked against what the graph gives.

Layer: importers. Invariant: what is wrong with samples, targets or settings is told before anything runs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any

import numpy as np

from loom import tensor
from loom.core.arrays import Array, read_array
from loom.core.dtype import DType, f32
from loom.core.errors import ArgumentError, ShapeError, near_matches
from loom.core.given import is_mapping
from loom.core.late.dataclass import dataclass
from loom.importers.runnable import Facts, RunnableGraph
from loom.nn.spec.base.meaning import INDEPENDENT, Meaning, NumberKind, probabilities
from loom.nn.train.config import TrainConfig
from loom.nn.train.loop.trainer import Trainer
from loom.nn.train.losses import Loss, loss_of
from loom.nn.train.samples import by_name
from loom.nn.train.settings import config_of, refuse_several
from loom.nn.train.targets import Losses, Output, fit_all_targets
from loom.tensor import Tensor
from loom.tensor.record.graph import ancestors

__all__ = ["Task", "config_of_task", "outputs_to_train", "read_task", "trainer_for"]

Shape = tuple[int, ...]
Chances = bool | str | Mapping[str, bool | str] | None


_REFUSED = ("compute", "loss_scale")
"""Settings that a graph, which has its own dtypes, does not take."""


@dataclass(frozen=True)
class Task:
    """What is trained: samples by the inputs' names, targets, losses, the outputs they are of, and what these are.

    ``probabilities``: of one output a bool, of several by name; ``given`` has no inputs that are unused.
    """

    given: Mapping[str, Any]
    targets: Any
    loss: Any
    outputs: tuple[str, ...]
    probabilities: Any
    facts: Facts


class Trainee:
    """A graph as ``Trainer`` sees it: the outputs that are trained, of the inputs that they are made of."""

    def __init__(self, model: RunnableGraph, outputs: Sequence[str], unused: Mapping[str, tuple[Shape, DType]]) -> None:
        self.model, self.outputs, self.unused, self.mode = model, tuple(outputs), dict(unused), model.mode
        self.parameters, self.device, self.lock = model.parameters, model.device, model.lock
        self.state_updates: list[tuple[Tensor, Tensor]] = []
        self._fed = [i.name for i in model.inputs if i.name not in self.unused]

    def vocabularies(self) -> dict[str, int]:
        """Return those of the graph, of the inputs that are fed."""
        return {name: rows for name, rows in self.model.vocabularies().items() if name in self._fed}

    def suits(self, task: Task) -> bool:
        """Tell whether this is what a task trains."""
        return (self.outputs, self.unused, self.mode) == (task.outputs, task.facts.unused, self.model.mode)

    def apply(self, x: Any, *, training: bool, step: Tensor | None = None, precision: str | None = None) -> Tensor:
        """Record the graph; return its first output that is trained."""
        return self.apply_all(x, training=training, step=step, precision=precision)[self.outputs[0]]

    def apply_all(
        self, x: Any, *, training: bool, step: Tensor | None = None, precision: str | None = None
    ) -> dict[str, Tensor]:
        """Record the graph, zeros for the inputs that it does not need; return its outputs by name."""
        given: dict[str, Tensor] = dict(x) if is_mapping(x) else {self._fed[0]: x}
        samples = next(iter(given.values())).shape[0]
        given |= {n: tensor.zeros((samples, *shape), dtype) for n, (shape, dtype) in self.unused.items()}
        made = self.model.apply_all(given, training=training, step=step, precision=precision)
        self.state_updates = self.model.state_updates
        return made

    def load(self, weights: Mapping[str, Any]) -> None:
        """Write weights."""
        self.model.load(weights)

    def weights(self) -> dict[str, Array]:
        """Return copies of parameters and state."""
        return self.model.weights()


def read_task(model: RunnableGraph, x: Any, y: Any, loss: Losses, chances: Chances, where: str) -> Task:
    """Return samples and targets as losses take them; errors as those of ``Network.train``.

    ``chances``: what is told of outputs that the graph tells nothing of: probabilities, or "independent" ones.
    """
    given = by_name(x, [i.name for i in model.inputs], f"{where}, x")
    names = outputs_to_train(model, y, where)
    facts = _facts(model, given, names, where)
    targets: Any = y if is_mapping(y) else {names[0]: y}
    own_losses, own_chances = (
        _by_output(each, names, f"{where}, {key}") for key, each in (("loss", loss), ("probabilities", chances))
    )
    found: dict[str, Any] = {}
    losses: dict[str, str | Loss] = {}
    told: dict[str, Any] = {}
    unread: list[str] = []
    for name in names:
        output, told[name] = _output(model, name, facts.shapes[name], own_chances[name], where)
        at = f"{where}, y" if len(names) == 1 else f"{where}, y {name!r}"
        losses[name], found[name] = _fit(output, targets[name], own_losses[name], at)
        if own_chances[name] and not (_is_chance(model.meaning(name, facts.shapes[name])) or _reads(losses[name])):
            unread.append(name)
    if unread and (is_mapping(chances) or unread == names):
        raise ArgumentError(
            f"{where}, probabilities",
            f"has no effect: output {unread[0]!r} is trained by {losses[unread[0]]!r}",
            expected="a loss that tells probabilities from logits",
            got=own_chances[unread[0]],
            remedy="Leave it out, or pass loss='cross_entropy'",
        )
    used = {n: a for n, a in given.items() if n not in facts.unused}
    if len(names) == 1:
        return Task(used, found[names[0]], losses[names[0]], tuple(names), told[names[0]], facts)
    return Task(used, found, losses, tuple(names), told, facts)


def _by_output(told: Any, names: Sequence[str], where: str) -> dict[str, Any]:
    """Return what is told of each output that is trained: the same for all, or by their names; None else."""
    if not is_mapping(told):
        return dict.fromkeys(names, told)
    for name in told:
        if name not in names:
            raise ArgumentError(
                where,
                f"no output that is trained is called {name!r}",
                expected=", ".join(names),
                remedy=near_matches(str(name), names) or "Leave it out",
            )
    return {name: told.get(name) for name in names}


def _is_chance(meaning: Meaning) -> bool:
    return meaning.kind in (NumberKind.PROBABILITIES, NumberKind.INDEPENDENT)


def _reads(loss: str | Loss) -> bool:
    """Tell whether a loss, or who measures by it, takes probabilities for something else than logits."""
    return not isinstance(loss, str) or loss_of(loss) is not loss_of(loss, probabilities=True)


def _is_usable(told: object) -> bool:
    """Tell whether it can be told of an output: nothing, a truth, or that chances are their own."""
    return told is None or isinstance(told, (bool, np.bool_)) or (isinstance(told, str) and told == "independent")


def _output(model: RunnableGraph, name: str, shape: Shape, told: Any, where: str) -> tuple[Output, Any]:
    """Return what an output is, and what the config says of it: as the graph tells, else as it is ``told``."""
    meaning = model.meaning(name, shape)
    is_chance = _is_chance(meaning)
    if not _is_usable(told):
        raise ArgumentError(
            f"{where}, probabilities",
            "neither a truth nor 'independent'",
            expected="True, False or 'independent'",
            got=repr(told)[:60],
            remedy="Leave it out where the output is logits",
        )
    is_other = told == "independent" and meaning.kind is NumberKind.PROBABILITIES
    if is_chance and told is not None and (is_other or not told):
        raise ArgumentError(f"{where}, probabilities", f"the graph makes output {name!r} probabilities", expected=True,
                            got=told, remedy="Leave it out")  # fmt: skip
    if is_chance or not told:
        return Output(shape, meaning), is_chance
    width = shape[-1] if shape else 1
    return Output(shape, INDEPENDENT if told == "independent" else probabilities(width)), told


def _fit(output: Output, y: Any, loss: Any, where: str) -> tuple[Any, Any]:
    if loss == "nll":  # of logarithms of probabilities, which only the module's author knows them to be
        return loss, read_array(y, where)[0]
    return fit_all_targets({"": output}, y, loss, where)


def outputs_to_train(model: RunnableGraph, y: Any, where: str) -> list[str]:
    """Return the names of the outputs that targets are for."""
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


def _facts(model: RunnableGraph, given: Mapping[str, Any], names: Sequence[str], where: str) -> Facts:
    """Return what a batch that is recorded in training tells; of the same shapes, what it told before."""
    count = min(2, _length(given, where))
    fixed = {i.shape[0] for i in model.inputs if i.shape and isinstance(i.shape[0], int)}
    batch = next(iter(fixed)) if fixed else count
    shapes = {n: (batch, *_shape(a, f"{where}, x")[1:]) for n, a in given.items()}
    key = (model.mode, tuple(names), tuple(shapes.items()))
    if model.facts is None or model.facts[0] != key:
        model.facts = key, _record(model, shapes, names, where)
    return model.facts[1]


def _shape(a: Any, where: str) -> Shape:
    return tuple(a.shape) if hasattr(a, "shape") else read_array(a, where)[0].shape


def _record(model: RunnableGraph, shapes: Mapping[str, Shape], names: Sequence[str], where: str) -> Facts:
    fed = {i.name: tensor.input(f"x{n}", shapes[i.name], i.type) for n, i in enumerate(model.inputs)}
    batch = next(iter(shapes.values()))[0]
    made, run = model.trace(fed, training=True, step=tensor.array(np.zeros(1, np.uint32), on=model.device))
    for name in names:
        shape = made[name].shape
        if not shape or shape[0] != batch:
            raise ShapeError(where, f"output {name!r} has no axis of samples", expected=f"({batch}, ...)", got=shape,
                             remedy="Train on another, y={name: targets}, or record a loss of your own")  # fmt: skip
    behind = {id(node) for node in ancestors([made[name] for name in names])}
    needed = behind | {id(node) for node in ancestors([*run.updates.values()])}
    unused = {n: (tuple(a.shape[1:]), a.dtype) for n, a in fed.items() if id(a) not in needed}
    if len(unused) == len(fed):
        raise ArgumentError(where, "the outputs are made of no input", expected="one that they depend on",
                            got=", ".join(names), remedy="Train on another output, y={name: targets}")  # fmt: skip
    reached = frozenset(n for n, w in model.parameters.items() if id(w) in behind)
    return Facts({n: tuple(made[n].shape[1:]) for n in names}, unused, reached)


def config_of_task(
    model: RunnableGraph, task: Task, optimizer: Any, schedule: Any, settings: Mapping[str, Any], where: str
) -> TrainConfig:
    """Return the config of a training."""
    known = [f.name for f in fields(TrainConfig) if f.name not in _REFUSED]
    for key, value in settings.items():
        if key in _REFUSED and value is not None:
            raise ArgumentError(f"{where}, {key}", "a graph has its own dtypes", expected="none", got=value,
                                remedy="Import the model in the dtype wanted")  # fmt: skip
        refuse_several(key, value)
        if key not in known and key not in _REFUSED:
            raise ArgumentError(where, f"no setting is called {key!r}",
                                remedy=near_matches(key, [*known, *model.settings]))  # fmt: skip
    told: dict[str, Any] = {**settings, "loss": task.loss, "probabilities": task.probabilities}
    return config_of(model, task.probabilities, task.given, optimizer, schedule, told)


def trainer_for(model: RunnableGraph, config: TrainConfig, task: Task, after: Trainer | None) -> Trainer:
    """Return a trainer of the model, which takes the programs of the one before if they are the same."""
    held = None if after is None else after.model
    if not (isinstance(held, Trainee) and held.suits(task)):
        held, after = Trainee(model, task.outputs, task.facts.unused), None
    types: dict[str, DType] = {i.name: i.type for i in model.inputs if i.name in task.given}
    targets = {o.type for o in model.outputs if o.name in task.outputs}
    y_type = targets.pop() if len(targets) == 1 else f32
    still = model.not_trained(task.outputs) | (model.parameters.keys() - task.facts.reached)
    return Trainer(
        held, config, frozen=still, rates=model.learning_rates, y_type=f32 if y_type.storage_only else y_type,
        x_type=types if len(types) > 1 else next(iter(types.values())),
        outputs=task.outputs if len(task.outputs) > 1 else (), after=after,
    )  # fmt: skip
