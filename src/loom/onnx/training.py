"""Training of a model of ONNX by the trainer of networks: its graph is the forward pass.

Layer: onnx. Invariant: what is trained is what ``OnnxModel.record`` records; nothing of a graph is done otherwise here.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from math import ceil
from typing import Any, Protocol, cast

import numpy as np

from loom import tensor
from loom.core.dtype import DType, f32, lookup
from loom.core.errors import ArgumentError, ShapeError, StateError, near_matches
from loom.core.given import is_mapping
from loom.nn.random import RandomStream, keep_mask
from loom.nn.settings import refuse_several
from loom.nn.spec.meaning import INDEPENDENT, NUMBERS, Meaning, probabilities
from loom.nn.train.config import TrainConfig
from loom.nn.train.history import History
from loom.nn.train.optimizers import optimizer_of
from loom.nn.train.progress import show_progress
from loom.nn.train.samples import by_name
from loom.nn.train.schedules import Schedule, schedule_of
from loom.nn.train.targets import Output, fit_all_targets
from loom.nn.train.trainer import Trainer
from loom.onnx.given import ValueInfo
from loom.onnx.learning import Learning
from loom.tensor.graph import PARAMETER, ancestors
from loom.tensor.ops.precision import precision
from loom.tensor.ops.random import random_words
from loom.tensor.tensor import Tensor

__all__ = ["GraphModel", "GraphTraining"]

Shape = tuple[int, ...]
_OWN = ("validation", "optimizer", "schedule", "frozen", "batch_statistics", "resume", "progress")


class Recordable(Protocol):
    """What of ``OnnxModel`` a training needs."""

    inputs: tuple[ValueInfo, ...]
    outputs: tuple[ValueInfo, ...]
    lock: AbstractContextManager[Any]

    @property
    def parameters(self) -> dict[str, Tensor]: ...
    @property
    def opsets(self) -> dict[str, int]: ...
    @property
    def proto(self) -> Any: ...
    def record(self, inputs: Mapping[str, Any], *, learning: Learning | None = None) -> dict[str, Tensor]: ...
    def load_weights(self, weights: Mapping[str, Any]) -> None: ...
    def weights(self) -> dict[str, np.ndarray[Any, Any]]: ...


class GraphModel:
    """A model as ``Trainer`` sees it: ``parameters``, ``state_updates`` of the last pass, and ``apply``.

    ``outputs``: those that losses are taken of; ``unused``: inputs that none of them is made of, with the shape of a
    sample; ``seed`` of the numbers that Dropout draws.
    """

    def __init__(
        self, model: Recordable, outputs: Sequence[str], unused: Mapping[str, tuple[Shape, DType]], seed: int, *,
        batch_statistics: bool,
    ) -> None:  # fmt: skip
        self.model, self.outputs, self.seed = model, tuple(outputs), seed
        self.unused = dict(unused)
        self.batch_statistics = batch_statistics
        self.parameters = model.parameters
        self.state_updates: list[tuple[Tensor, Tensor]] = []
        self.lock = model.lock

    def apply(self, x: Any, *, training: bool, step: Tensor | None = None, **precisions: Any) -> Tensor:
        """Record the graph; return its only output that is trained on."""
        return self.apply_all(x, training=training, step=step, **precisions)[self.outputs[0]]

    def apply_all(
        self, x: Any, *, training: bool, step: Tensor | None = None, precision: str | None = None
    ) -> dict[str, Tensor]:
        """Record the graph; return its outputs by name."""
        learning = self._learning(step) if training else Learning(_keep_all, batch_statistics=False)
        with _in(precision):
            made = self.model.record(self._with_unused(x), learning=learning)
        self.state_updates = learning.updates
        return made

    def _with_unused(self, x: Mapping[str, Tensor]) -> dict[str, Any]:
        """Return inputs and, for those that no trained output is made of, zeros of their shapes."""
        samples = next(iter(x.values())).shape[0]
        rest = {n: tensor.zeros((samples, *shape), dtype) for n, (shape, dtype) in self.unused.items()}
        return {**x, **rest}

    def _learning(self, step: Tensor | None) -> Learning:
        draws = 0

        def keep(shape: Shape, rate: float) -> Tensor:
            nonlocal draws
            if step is None:
                raise StateError("onnx.train", "Dropout draws numbers", expected="the number of the step", got=None,
                                 remedy="Train with OnnxModel.train")  # fmt: skip
            draws += 1
            return keep_mask(random_words(shape, self.seed, draws, step, RandomStream.DROPOUT), rate)

        return Learning(keep, True if self.batch_statistics else None)

    def load(self, weights: Mapping[str, Any]) -> None:
        """Write weights."""
        self.model.load_weights(weights)

    def weights(self) -> dict[str, np.ndarray[Any, Any]]:
        """Return copies of parameters and state."""
        return self.model.weights()


def _keep_all(shape: Shape, rate: float) -> Tensor:
    del rate
    return tensor.full(shape, True, "bool")


def _in(name: str | None) -> Any:
    return nullcontext() if name is None else precision(name)


class GraphTraining:
    """Trainings of one model: each goes on with the weights of the one before."""

    def __init__(self, model: Recordable) -> None:
        self.model = model
        self._trainer: Trainer | None = None
        self._like: tuple[Any, ...] = ()
        self._unused: dict[str, tuple[Shape, DType]] = {}
        self._reached = set[str]()

    def fit(
        self, x: Any, y: Any, validation: Any, how: tuple[Any, Any, Any, Any], frozen: Sequence[str],
        batch_statistics: bool, settings: Mapping[str, Any],
    ) -> History:  # fmt: skip
        """Train; see ``OnnxModel.train``."""
        optimizer, schedule, resume, progress = how
        self._check(frozen, settings)
        names = self._trained_outputs(y)
        everything = by_name(x, [i.name for i in self.model.inputs], "onnx.train, x")
        outputs = self._outputs(everything, names)
        given = {n: a for n, a in everything.items() if n not in self._unused}
        loss, targets = fit_all_targets(outputs, y, settings.get("loss"), "onnx.train, y")
        config = _config(optimizer, schedule, _length(given), {
            **settings, "loss": loss,
            "probabilities": _by_output({n: o.gives_probabilities for n, o in outputs.items()}),
        })  # fmt: skip
        trainer = self._trainer_for(names, config, frozen, batch_statistics)
        held_out = None
        if validation is not None:
            there, truths = _pair(validation)
            others = by_name(there, list(everything), "onnx.train, validation")
            wanted = fit_all_targets(outputs, truths, loss, "onnx.train, validation, y")[1]
            held_out = {n: others[n] for n in given}, wanted
        with show_progress(progress) as report:
            return trainer.fit(given, targets, held_out, resume=resume, report=report)

    def _check(self, frozen: Sequence[str], settings: Mapping[str, Any]) -> None:
        known = [k for k in TrainConfig.__dataclass_fields__ if k not in ("probabilities", "compute", "loss_scale")]
        for key in settings:
            if key in ("compute", "loss_scale"):
                raise ArgumentError(f"onnx.train, {key}", "a graph has its own dtypes", expected="none",
                                    got=settings[key], remedy="Export the model in the dtype wanted")  # fmt: skip
            refuse_several(key, settings[key])
            if key not in known:
                raise ArgumentError("onnx.train", f"no setting is called {key!r}",
                                    remedy=near_matches(key, [*known, *_OWN]))  # fmt: skip
        parameters = self.model.parameters
        for name in [frozen] if isinstance(frozen, str) else frozen:
            if name not in parameters:
                raise ArgumentError("onnx.train, frozen", f"no parameter is called {name!r}",
                                    remedy=near_matches(str(name), list(parameters)))  # fmt: skip

    def _trained_outputs(self, y: Any) -> list[str]:
        names = [o.name for o in self.model.outputs]
        if not is_mapping(y):
            return names
        for name in y:
            if name not in names:
                raise ArgumentError("onnx.train, y", f"the model has no output {name!r}", expected=", ".join(names),
                                    remedy=near_matches(str(name), names))  # fmt: skip
        return [n for n in names if n in y]

    def _trainer_for(
        self, names: Sequence[str], config: TrainConfig, frozen: Collection[str], batch_statistics: bool
    ) -> Trainer:
        like = (tuple(names), tuple(self._unused.items()), config.seed, bool(batch_statistics))
        before = self._trainer if like == self._like else None
        held = before.model if before is not None else GraphModel(
            self.model, names, self._unused, config.seed, batch_statistics=bool(batch_statistics)
        )  # fmt: skip
        types: dict[str, DType] = {i.name: lookup(i.dtype) for i in self.model.inputs if i.name not in self._unused}
        still = [n for n in self.model.parameters if n not in self._reached or n in frozen]
        dtypes = {lookup(o.dtype) for o in self.model.outputs if o.name in names}
        y_type = dtypes.pop() if len(dtypes) == 1 else f32
        self._like = like
        self._trainer = Trainer(
            held, config, frozen=still, x_type=types, y_type=f32 if y_type.storage_only else y_type,
            outputs=names if len(names) > 1 else (), after=before,
        )  # fmt: skip
        return self._trainer

    def _outputs(self, given: Mapping[str, Any], names: Sequence[str]) -> dict[str, Output]:
        """Return the shapes of one sample's outputs, and what their numbers mean, of a batch that is recorded."""
        count = min(2, _length(given))
        infos = {i.name: i for i in self.model.inputs}
        batch = count
        for info in infos.values():
            if info.shape and isinstance(info.shape[0], int):
                batch = info.shape[0]
        shapes = {n: (batch, *np.shape(a)[1:]) for n, a in given.items()}
        feeds = {n: tensor.input(f"x{k}", s, infos[n].dtype) for k, (n, s) in enumerate(shapes.items())}
        made = self.model.record(feeds, learning=Learning(_keep_all))
        behind = ancestors([made[name] for name in names])
        reached = {id(node) for node in behind}
        self._unused = {n: (s[1:], feeds[n].dtype) for n, s in shapes.items() if id(feeds[n]) not in reached}
        self._reached = {node.name for node in behind if node.op is PARAMETER}
        found: dict[str, Output] = {}
        for name in names:
            shape = made[name].shape
            if not shape or shape[0] != batch:
                raise ShapeError("onnx.train", f"output {name!r} has no axis of samples", expected=f"({batch}, ...)",
                                 got=shape, remedy="Train on an output that has, by y={name: targets}, or record a "
                                 "loss with model.record")  # fmt: skip
            found[name] = Output(shape[1:], self._meaning(name, shape))
        return found

    def _meaning(self, name: str, shape: Shape) -> Meaning:
        """Return what an output's numbers mean, by the operator that makes it."""
        graph = self.model.proto.graph
        makers = {out: node for node in graph.node for out in node.output if out}
        node = makers.get(name)
        while node is not None and node.op_type in ("Identity", "Cast") and node.input[0] in makers:
            node = makers[node.input[0]]
        if node is None or node.domain not in ("", "ai.onnx"):
            return NUMBERS
        if node.op_type == "Sigmoid":
            return INDEPENDENT
        axis = next((a.i for a in node.attribute if a.name == "axis"), 1 if self.model.opsets.get("", 0) < 13 else -1)
        is_last = axis in (-1, len(shape) - 1)
        return probabilities(shape[-1]) if node.op_type == "Softmax" and is_last else NUMBERS


def _length(given: Mapping[str, Any]) -> int:
    try:
        return len(next(iter(given.values())))
    except (TypeError, StopIteration):
        raise ArgumentError("onnx.train, x", "no samples", expected="arrays whose first axis counts samples",
                            got="none", remedy="Pass arrays") from None  # fmt: skip


def _pair(validation: Any) -> tuple[Any, Any]:
    pair = cast("list[Any]", validation)
    if not (isinstance(validation, (tuple, list)) and len(pair) == 2):
        raise ArgumentError("onnx.train, validation", "not samples and their targets", expected="a pair (x, y)",
                            got=type(validation).__name__,
                            remedy="Hold some out and pass validation=(x, y)")  # fmt: skip
    return pair[0], pair[1]


def _by_output(found: dict[str, bool]) -> bool | dict[str, bool]:
    return next(iter(found.values())) if len(found) == 1 else found


def _config(optimizer: Any, schedule: Any, samples: int, settings: Mapping[str, Any]) -> TrainConfig:
    if "learning_rate" in settings and isinstance(schedule, Schedule):
        raise ArgumentError("train, learning_rate", "has no effect: the schedule has its own rates",
                            expected="a schedule's name, or no learning_rate", got=repr(schedule),
                            remedy="Give the schedule the rate and leave this out")  # fmt: skip
    made = optimizer_of(optimizer) if isinstance(optimizer, str) else optimizer
    given: dict[str, Any] = {**settings, "optimizer": made}
    config = TrainConfig(**given)
    if isinstance(schedule, str):
        steps = ceil(ceil(samples / config.batch_size) / config.accumulate) * config.epochs
        schedule = schedule_of(schedule, config.learning_rate, steps)
    return config if schedule is None else replace(config, schedule=schedule)
