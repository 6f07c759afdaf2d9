"""``TrainableGraph``: the base of models that are imported as graphs over weights.

Layer: nn. Who imports says how the graph is recorded (``record``); everything else is as of ``loom.Network``:
programs for each set
of shapes, training by ``nn.train``, measures. Invariant: the bits of outputs, and of weights after a training, depend
on graph, weights, data and settings alone.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from loom import tensor
from loom.core.arrays import Array, read_array
from loom.core.conversions import show
from loom.core.dtype import DType
from loom.core.errors import ArgumentError, DTypeError, StateError, near_matches
from loom.core.given import flag, is_mapping
from loom.nn.base.digests import digest_of
from loom.nn.base.held import HeldWeights
from loom.nn.base.random import RandomStream
from loom.nn.graphs.ports import ArrayInfo, check_shapes
from loom.nn.graphs.training import Facts, Task, config_of_task, read_task, trainer_for
from loom.nn.spec import Snapshot
from loom.nn.spec.base.meaning import NUMBERS, Meaning
from loom.nn.train.config import TrainConfig
from loom.nn.train.loop.history import History
from loom.nn.train.loop.progress import show_progress
from loom.nn.train.loop.trainer import Trainer
from loom.nn.train.optimizers import Optimizer
from loom.nn.train.samples import by_name, require_ids
from loom.nn.train.schedules import Schedule
from loom.runtime.port.device import Device
from loom.runtime.port.elements import Readable
from loom.runtime.registry import device as find_device
from loom.tensor import Tensor, TensorProgram
from loom.tensor.ops.precision import precision as in_precision
from loom.tensor.ops.random import random_words
from loom.tensor.selecting.outside import IndexLimits

__all__ = ["GraphPass", "TrainableGraph"]

_MOST_PROGRAMS = 32
"""Programs that a model keeps, one for each set of shapes."""


@dataclass
class GraphPass:
    """One recording of a graph: ``training`` or not, and the random words that it draws.

    ``weights``: parameters and state by name, in the type that they are computed in; ``updates``: what the graph leaves
    in its state, by name; ``limits``: of the indices that it computes.
    """

    weights: Mapping[str, Tensor]
    training: bool = False
    step: Tensor | None = None
    seed: int = 0
    updates: dict[str, Tensor] = field(default_factory=dict[str, Tensor])
    limits: IndexLimits = field(default_factory=IndexLimits)
    _draws: int = 0

    def words(self, shape: Sequence[int], where: str) -> Tensor:
        """Return random words (u32) of this step; each call of a pass has a sequence of its own."""
        if self.step is None:
            raise StateError(where, "it draws random numbers", expected="the number of the step", got="step=None",
                             remedy="Pass step=, an integer tensor of one element")  # fmt: skip
        self._draws += 1
        return random_words(shape, self.seed, self._draws, self.step, RandomStream.DROPOUT)


class TrainableGraph(HeldWeights, ABC):
    """A graph with weights on a device.

    ``inputs``, ``outputs``: what it takes and gives; ``parameters``: trained arrays by name; ``state``: arrays that
    only a pass in training changes; ``frozen``: names that training leaves as they are; ``training``: where the last
    training stopped; ``state_updates``: (state, its new value) of the last ``apply``. ``seed``: of what it draws.
    """

    def __init__(
        self, inputs: Sequence[ArrayInfo], outputs: Sequence[ArrayInfo], parameters: Mapping[str, Any],
        state: Mapping[str, Any], *, on: str | Device | None = None, frozen: Collection[str] = (), seed: int = 0,
    ) -> None:  # fmt: skip
        super().__init__()
        self.device, self.seed = find_device(on), seed
        self.inputs, self.outputs = tuple(inputs), tuple(outputs)
        self.parameters = {name: self._store(name, a) for name, a in parameters.items()}
        self.state = {name: self._store(name, a) for name, a in state.items()}
        self.frozen = frozenset(frozen)
        self.learning_rates: dict[str, float] = {}
        self.state_updates: list[tuple[Tensor, Tensor]] = []
        self.limits = IndexLimits()
        """Of the indices that the last ``apply`` computes."""
        self.training: Snapshot | None = None
        self._trainer: Trainer | None = None
        self.facts: tuple[Any, Facts] | None = None
        """What the batch that was recorded last told of a training, and of what it is."""
        self._batches: tuple[Any, ...] | None = None
        """What ``train_batch`` was told last, if nothing else was trained or loaded since."""
        self._programs: OrderedDict[Any, tuple[TensorProgram, IndexLimits]] = OrderedDict()

    batch_size = 1
    """That of a training is told by who trains."""
    settings: tuple[str, ...] = ("validation", "optimizer", "schedule", "resume", "progress")
    """What ``train`` takes besides the settings of ``TrainConfig``."""

    def _store(self, name: str, values: Any) -> Tensor:
        return values if isinstance(values, Tensor) else tensor.parameter(values, name=name, on=self.device)

    @abstractmethod
    def record(self, inputs: Mapping[str, Tensor], run: GraphPass) -> Mapping[str, Tensor]:
        """Record the graph over tensors by the inputs' names; return its outputs by name."""

    def meaning(self, output: str, shape: tuple[int, ...]) -> Meaning:
        """Return what the numbers of an output mean, one sample of which has a shape; numbers, if nothing tells."""
        del output, shape
        return NUMBERS

    @property
    def mode(self) -> tuple[Any, ...]:
        """What recordings depend on besides inputs and weights; the programs of a training are of one mode."""
        return (self.seed,)

    @property
    def where(self) -> str:
        """How errors call it."""
        return f"loom.{type(self).__name__}"

    # weights

    def digest(self) -> str:
        """Return the SHA-256 of names, types, shapes and bits of all weights."""
        return digest_of(self.weights())

    def freeze(self, *names: str) -> None:
        """Have training leave weights (names, beginnings of names up to a dot; none: all) as they are."""
        self.frozen = self.frozen | self._matching(names, "freeze")

    def unfreeze(self, *names: str) -> None:
        """Have training change weights again; arguments as of ``freeze``."""
        self.frozen = self.frozen - self._matching(names, "unfreeze")

    def _matching(self, names: Sequence[str], what: str) -> frozenset[str]:
        if not names:
            return frozenset(self.parameters)
        found: set[str] = set()
        for name in names:
            here = {n for n in self.parameters if n == name or n.startswith(f"{name}.")}
            if not here:
                raise ArgumentError(f"{self.where}.{what}", f"no weight is called {name!r}",
                                    remedy=near_matches(name, list(self.parameters)) or "Leave it out")  # fmt: skip
            found |= here
        return frozenset(found)

    # recording

    def apply(self, x: Tensor | Mapping[str, Tensor], **options: Any) -> Tensor:
        """Record the graph and return its only output; arguments as of ``apply_all``."""
        found = self.apply_all(x, **options)
        if len(found) != 1:
            raise ArgumentError(f"{self.where}.apply", "the model has several outputs", expected="one",
                                got=", ".join(found), remedy="Use apply_all")  # fmt: skip
        return next(iter(found.values()))

    def apply_all(
        self, x: Tensor | Mapping[str, Tensor], *, training: bool = False, step: Tensor | None = None,
        compute: DType | None = None, precision: str | None = None,
    ) -> dict[str, Tensor]:  # fmt: skip
        """Record the graph on tensors, of several inputs a mapping by name; return its outputs by name.

        ``training``: as the graph is in training; ``step``: the number of the training step, an integer tensor of one
        element, which draws depend on; ``compute``: the type that parameters and inputs are brought to; ``precision``:
        that of products of matrices.
        """
        given: dict[str, Any] = dict(x) if is_mapping(x) else {self.inputs[0].name: x}
        self.check(given, f"{self.where}.apply")
        weights = self.parameters
        if compute is not None:
            weights = {n: w.astype(compute) if w.dtype.is_float else w for n, w in weights.items()}
            given = {n: a.astype(compute) if a.dtype.is_float else a for n, a in given.items()}
        run = GraphPass(weights | self.state, training, step, self.seed)
        with in_precision(precision):
            made = dict(self.record(given, run))
        held = self.parameters | self.state
        self.state_updates = [(held[n], new) for n, new in run.updates.items()]
        self.limits = run.limits
        return made

    def check(self, given: Mapping[str, Any], where: str) -> None:
        """See that arrays or tensors are the model's inputs, of its dtypes and shapes."""
        known = {i.name: i for i in self.inputs}
        unknown, missing = [n for n in given if n not in known], [n for n in known if n not in given]
        if unknown or missing:
            raise ArgumentError(where, "not the inputs of the model", expected=", ".join(known) or "none",
                                got=", ".join(map(str, given)) or "none",
                                remedy=f"Pass {', '.join(missing)}" if missing else "Leave the others out")  # fmt: skip
        for name, a in given.items():
            if isinstance(a, Tensor) and a.dtype != known[name].type:
                raise DTypeError(where, f"{name!r} has another dtype", expected=known[name].dtype, got=a.dtype,
                                 remedy="Convert with astype")  # fmt: skip
        check_shapes(given, known, where)

    def not_trained(self, outputs: Sequence[str]) -> frozenset[str]:
        """Return the names of parameters that a training of some outputs (none: all) leaves as they are."""
        del outputs
        return self.frozen

    # training

    def train(
        self, x: Any, y: Any, *, validation: tuple[Any, Any] | None = None, optimizer: str | Optimizer = "sgd",
        schedule: str | Schedule | None = None, resume: bool = False, progress: bool | None = None, **settings: Any,
    ) -> History:  # fmt: skip
        """Train with samples ``x`` (n, ...) and targets ``y`` (n, ...); return the history.

        Of several inputs ``x`` is a mapping by name or a list; of several outputs ``y`` is a mapping by name, of those
        that are trained on. ``settings`` are those of ``TrainConfig`` (``loss``, ``learning_rate``, ``epochs``,
        ``batch_size``, ``clip_norm``, ...). Without ``loss``: cross-entropy of logits for classes and one-hot rows,
        else the mean squared error; ``loss="nll"`` of logarithms of probabilities. ``probabilities``: True for an
        output of probabilities, "independent" for chances of their own, where the graph does not tell. ``resume``: go
        on up to ``epochs`` in all, from the folder ``checkpoint`` or from ``training``.
        Errors are those of ``Network.train``.
        """
        with self.alone(f"{self.where}.train"):
            return self.train_alone(x, y, validation, (optimizer, schedule, resume, progress), settings)

    def train_alone(
        self, x: Any, y: Any, validation: Any, how: tuple[Any, Any, bool, bool | None], settings: Mapping[str, Any]
    ) -> History:
        """Train, as ``train`` does, within ``alone``; ``how``: optimizer, schedule, resume, progress."""
        where, (optimizer, schedule, resume, progress) = f"{self.where}.train", how
        resume = flag(resume, f"{where}, resume")
        task, config, trainer = self._trainer_of(x, y, optimizer, schedule, settings, where)
        held_out = None
        if validation is not None:
            if not (isinstance(validation, (tuple, list)) and len(cast("Sequence[Any]", validation)) == 2):
                raise ArgumentError(f"{where}, validation", "not samples and their targets",
                                    expected="a pair (x, y)", got=type(cast("Any", validation)).__name__,
                                    remedy="Hold some out and pass validation=(x, y)")  # fmt: skip
            held_out = self._read_validation(
                *cast("tuple[Any, Any]", validation), task, settings, f"{where}, validation"
            )
        self._batches = None
        start = self.training if resume and config.checkpoint is None and self.training is not None else resume
        try:
            with show_progress(progress) as report:
                return trainer.fit(self._plain(task.given), task.targets, held_out, resume=start, report=report)
        finally:
            if trainer.has_run:
                self.training = trainer.kept

    def _read_validation(self, x: Any, y: Any, task: Task, settings: Mapping[str, Any], where: str) -> tuple[Any, Any]:
        """Return samples and targets for validation, of the inputs and outputs of a task."""
        other = read_task(self, x, y, task.loss, settings.get("probabilities"), where)
        if other.outputs != task.outputs:
            raise ArgumentError(where, "targets of other outputs than are trained", expected=", ".join(task.outputs),
                                got=", ".join(other.outputs), remedy="Pass targets of the same outputs")  # fmt: skip
        return self._plain({n: other.given[n] for n in task.given}), other.targets

    def train_batch(
        self, x: Any, y: Any, *, optimizer: str | Optimizer = "sgd", schedule: str | Schedule | None = None,
        **settings: Any,
    ) -> float:  # fmt: skip
        """Make one update of one batch and return its loss; the next call with these settings goes on from there.

        Arguments and errors are those of ``train``. What the optimiser keeps begins anew after other settings, other
        weights or a ``train``.
        """
        where = f"{self.where}.train_batch"
        with self.alone(where):
            task, config, trainer = self._trainer_of(x, y, optimizer, schedule, settings, where, self._batches)
            self._batches = self._likes(config, task)
            return trainer.train_batch(self._plain(task.given), task.targets)

    def _trainer_of(
        self, x: Any, y: Any, optimizer: Any, schedule: Any, settings: Mapping[str, Any], where: str, same: Any = None
    ) -> tuple[Task, TrainConfig, Trainer]:
        """Return what is trained, how, and by whom: the trainer there is, if the settings are the ``same``."""
        task = read_task(self, x, y, settings.get("loss"), settings.get("probabilities"), where)
        config = config_of_task(self, task, optimizer, schedule, settings, where)
        if same != self._likes(config, task) or self._trainer is None:
            self._trainer = trainer_for(self, config, task, self._trainer)
        return task, config, self._trainer

    def _likes(self, config: TrainConfig, task: Task) -> tuple[Any, ...]:
        return config, task.outputs, self.mode, task.facts.unused, task.facts.reached

    def _plain(self, given: Mapping[str, Any]) -> Any:
        return given if len(given) > 1 else next(iter(given.values()))

    # running

    def forward(self, x: Any) -> dict[str, Array]:
        """Return the outputs by name, for arrays by name, a list in the inputs' order, or the only input's array.

        ArgumentError, DTypeError and ShapeError tell of what the model does not take, IndexOutside of an index that
        it computes and that there is not.
        """
        given = self.read(x, f"{self.where}.forward")
        key = tuple((n, tuple(a.shape)) for n, a in given.items())
        with self.lock:
            if key not in self._programs:
                self._programs[key] = self._compile({n: tuple(a.shape) for n, a in given.items()}, with_limits=True)
                if len(self._programs) > _MOST_PROGRAMS:
                    self._programs.popitem(last=False)[1][0].free()
            self._programs.move_to_end(key)
            program, limits = self._programs[key]
            program.run(**{feed: given[n] for n, feed in self._feeds().items() if feed in program.inputs})
            made, n = program.read(), len(self.outputs)
            limits.require(made[n:])
            return dict(zip((o.name for o in self.outputs), made[:n], strict=True))

    def read(self, x: Any, where: str) -> dict[str, Any]:
        """Return arrays by the inputs' names, of their dtypes and shapes."""
        given = by_name(x, [i.name for i in self.inputs], where) if self.inputs else {}
        found = {i.name: self._array(given[i.name], i, where) for i in self.inputs}
        check_shapes(found, {i.name: i for i in self.inputs}, where)
        for name, rows in self.vocabularies().items():
            ids = found[name]
            require_ids(ids.host_elements()[0] if isinstance(ids, Readable) else ids, rows, where, f"{name!r}")
        return found

    def vocabularies(self) -> Mapping[str, int]:
        """Return input -> rows of the table that it is looked up in, as far as the graph tells."""
        return {}

    def _array(self, value: Any, info: ArrayInfo, where: str) -> Any:
        if isinstance(value, Readable):
            found, held = value, value.dtype
        else:
            found, held = read_array(value, f"{where}, {info.name!r}")
        if held != info.type:
            raise DTypeError(where, f"{info.name!r} has another dtype", expected=info.dtype, got=held,
                             remedy=f"Convert it to {info.dtype}")  # fmt: skip
        return found if isinstance(found, Readable) else show(found, held)

    def _feeds(self) -> dict[str, str]:
        """Return what programs call the inputs: as the model does where that is a name, and no weight's."""
        names = [info.name for info in self.inputs]
        if all(name.isidentifier() and name not in self.parameters and name not in self.state for name in names):
            return {name: name for name in names}
        return {name: f"x{n}" for n, name in enumerate(names)}

    def compile(self, shapes: Mapping[str, tuple[int, ...]]) -> TensorProgram:
        """Return a new program of the forward pass for inputs of these shapes: what exports take.

        Its inputs are called as the model's are, or x0, x1, ... where one of these is no identifier, or is called as a
        weight. Its outputs are in the order of ``outputs``; it reads the model's weights.
        """
        return self._compile(shapes, with_limits=False)[0]

    def _compile(
        self, shapes: Mapping[str, tuple[int, ...]], *, with_limits: bool
    ) -> tuple[TensorProgram, IndexLimits]:
        """Return a program whose outputs are the model's, and then the ends of limits if wanted."""
        feeds = self._feeds()
        fed = {i.name: tensor.input(feeds[i.name], shapes[i.name], i.type) for i in self.inputs}
        updates = self.state_updates
        made = self.apply_all(fed)
        self.state_updates = updates  # those of training stay
        ends = [made[o.name] for o in self.outputs] + (self.limits.ends if with_limits else [])
        return tensor.compile(ends, on=self.device, name=type(self).__name__), self.limits
