"""``TweenState``: a network being moved towards targets, sample by sample or batch by batch, in one of six modes.

Layer: nn. Each update is one recorded program. Invariant: what a state is, is told by the network's weights and
``arrays()`` alone; equal ones and equal samples give the same bits on every device.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np

from loom import tensor
from loom.core.arrays import Array
from loom.core.dtype import DType, i32
from loom.core.errors import ArgumentError, NotFinite, ShapeError, StateError
from loom.core.given import is_mapping
from loom.nn.model import Model
from loom.nn.spec import NetworkSpec, Snapshot
from loom.nn.train.config import TrainConfig
from loom.nn.train.programs import Programs
from loom.nn.train.samples import Samples, by_name, check_inputs
from loom.nn.train.scalars import flag, real
from loom.nn.train.targets import Output
from loom.nn.tween.config import TweenConfig
from loom.nn.tween.diagnostics import TweenReport
from loom.nn.tween.guard import guard_state, guarded
from loom.nn.tween.modes import TweenMode, mode_of
from loom.nn.tween.propagation import Ticking
from loom.nn.tween.recording import Pairs, layers_above, number_type, output_gap, record_pass, record_update
from loom.nn.tween.targets import read_targets
from loom.tensor import Tensor, TensorProgram

__all__ = ["TweenState"]

_MOST_PROGRAMS = 8
"""Sizes of batches and kinds of targets whose programs are kept."""


class Tweened(Protocol):
    """What is moved: ``loom.Network``."""

    spec: NetworkSpec
    model: Model
    outputs: Mapping[str, Output]
    training: Snapshot | None

    def read_training(
        self, x: Any, y: Any, where: str, optimizer: Any, schedule: Any, settings: Mapping[str, Any]
    ) -> tuple[TrainConfig, Samples]:
        """Return the config and the samples that it would be trained with."""
        ...


class TweenState:
    """A network being trained in a mode; ``network.tween(mode=..)`` makes one.

    ``mode``: a name of ``TweenMode``. In the step modes layers run from the buffers of the tick before: the output is
    that of an input some ticks ago, as many as there are layers; all calls then have batches of one size.

    >>> from loom import Network
    >>> net = Network.from_json({"format": "loom/1", "input": {"shape": [2]}, "layers": [
    ...     {"type": "dense", "output_size": 2}]})
    >>> state = net.tween(mode="tween_chain")
    >>> first = state.step([1.0, 0.0], 1, 0.1)
    >>> state.step([1.0, 0.0], 1, 0.1) < first
    True
    """

    def __init__(
        self, network: Tweened, mode: str | TweenMode = "step_tween_chain", config: TweenConfig | None = None
    ) -> None:
        self.network, self.model = network, network.model
        self.mode, self.config = mode_of(mode), config_for(mode_of(mode), config)
        self.number = number_type(self.model)
        self.steps = 0
        self.report: TweenReport | None = None
        trained = {n: w for n, w in self.model.parameters.items() if n not in self.model.frozen}
        if not trained:
            raise ArgumentError("tween", "nothing can be trained", expected="at least one weight that is not frozen",
                                got=f"{len(self.model.parameters)} weights", remedy="Unfreeze a layer")  # fmt: skip
        self._require_ways()
        where, tweens = self.model.device, self.mode.is_tween
        self.velocities: dict[str, Tensor] = {}
        self.guard = guard_state(self.config, self.number, where) if tweens else {}
        self.counter = tensor.parameter(np.zeros((), np.uint32), name="step", on=where)
        self.buffers: dict[str, Tensor] = {}
        self.bypassed: frozenset[str] = frozenset()
        self._batch = 0
        self._made: dict[tuple[Any, ...], TensorProgram] = {}
        self._training: dict[str, Programs] = {}

    def _require_ways(self) -> None:
        """See that the mode has a way to every node."""
        network, reached = self.model.network, layers_above(self.model)
        lost = [n.name for n in network.nodes if n.name not in reached]
        if lost and self.mode.is_tween:
            raise ArgumentError("tween, mode", f"the mode '{self.mode.value}' has no way to the layer {lost[0]!r}",
                                expected="layers that lead to an output", got=f"{lost[0]!r}, which leads nowhere",
                                remedy="Remove it, or make it an output")  # fmt: skip

    def _require_same(self) -> None:
        """See that the network is on the device and has the weights it had."""
        if self.network.model is not self.model:
            raise StateError("tween", "the network was moved to another device", expected=self.model.device.name,
                             got=self.network.model.device.name, remedy="Make a state after moving")  # fmt: skip

    def _zeros(self, name: str, shape: tuple[int, ...], dtype: DType) -> Tensor:
        return tensor.parameter(np.zeros(shape, dtype.numpy), dtype, name=name, on=self.model.device)

    # steps

    def step(self, x: Any, target: Any, rate: float = 0.01, *, watch: bool = False) -> float:
        """Move the network once; return the loss of the pass before the weights moved.

        ``x``: a sample or a batch of them; ``target``: a class index (of a batch: one for each), or numbers of the
        output's shape; several inputs or outputs by name. Of a batch the mean of the moves is made. The loss is the
        squared gap summed over the output, the mean over samples; in ``normal`` and ``step`` it is the one that is made
        small. ``watch``: note link budgets and gaps in ``report`` (tween modes). NotFinite if the loss is not finite:
        nothing is changed then. ShapeError, ArgumentError, DTypeError for what does not fit.
        """
        where = "tween, step"
        self._require_same()
        rate = float(real(f"{where}, rate", rate))
        watch = flag(f"{where}, watch", watch)
        given, is_one = self._read_inputs(x, where)
        if watch and not self.mode.is_tween:
            raise ArgumentError(f"{where}, watch", f"the mode '{self.mode.value}' has no link budgets",
                                expected="a tween mode", got=self.mode.value, remedy="Leave it out")  # fmt: skip
        with self.model.alone("tween"):
            loss = (self._tween if self.mode.is_tween else self._propagate)(given, target, rate, watch, is_one, where)
            self.network.training = None
        self.steps += 1
        return loss

    def tick(self, x: Any) -> Any:
        """Advance all layers by a tick and move nothing (step modes); return the output, by name if there are several.

        The first axis counts samples unless ``x`` is one alone.
        """
        if not self.mode.is_step:
            raise StateError("tween, tick", f"the mode '{self.mode.value}' has no ticks", expected="a step mode",
                             got=self.mode.value, remedy="Use network.forward")  # fmt: skip
        given, is_one = self._read_inputs(x, "tween, tick")
        with self.model.alone("tween"):
            self._fit_buffers(len(next(iter(given.values()))))
            program = self._program("tick", given, {}, watch=False)
            with self.model.lock:
                program.run(**self._feeds(given, {}))
        found = self.output
        if not is_one:
            return found
        return {n: a[0] for n, a in found.items()} if isinstance(found, dict) else found[0]

    @property
    def output(self) -> Any:
        """The output of the last tick (samples, *shape), by name if there are several; StateError before the first."""
        if not self.buffers:
            raise StateError("tween, output", "no tick was made", expected="a tick or step before, in a step mode",
                             got=f"none in the mode '{self.mode.value}'", remedy="Call tick or step")  # fmt: skip
        with self.model.lock:
            made = {n: self.buffers[n].numpy() for n in self.model.network.outputs}
        return made if len(made) > 1 else next(iter(made.values()))

    def diagnose(self, x: Any, target: Any) -> TweenReport:
        """Return what an update with these samples would see; nothing is changed, no tick is made."""
        if not self.mode.is_tween:
            raise StateError("tween, diagnose", f"the mode '{self.mode.value}' has no link budgets",
                             expected="a tween mode", got=self.mode.value, remedy="Make another state")  # fmt: skip
        given, is_one = self._read_inputs(x, "tween, diagnose")
        with self.model.alone("tween"):
            if self.mode.is_step:
                self._fit_buffers(len(next(iter(given.values()))))
            wanted = self._read_targets(target, given, is_one, "tween, diagnose")
            program = self._program("diagnose", given, wanted, watch=True)
            return self._reported(self._run(program, given, wanted, 0.0))

    def reset(self) -> None:
        """Forget velocities, buffers and what the guard keeps; the weights stay."""
        with self.model.lock:
            for kept in (*self.velocities.values(), *self.buffers.values(), self.counter):
                kept.assign(np.zeros(kept.shape, kept.dtype.numpy))
            for name, first in guard_state(self.config, self.number, self.model.device).items():
                self.guard[name].assign(first.numpy())
        self._training, self.steps, self.report = {}, 0, None

    # reading

    def _read_inputs(self, x: Any, where: str) -> tuple[dict[str, Array], bool]:
        """Return inputs by name, of a batch, and whether one sample was given."""
        net = self.network
        named = by_name(x, [i.name for i in net.spec.inputs], f"{where}, x")
        kinds = {i.name: i for i in net.spec.inputs}
        arrays = {n: a if type(a) is np.ndarray else np.asarray(a) for n, a in named.items() if _is_plain(a)}
        is_one = bool(arrays) and all(np.shape(arrays[n]) == kinds[n].shape for n in arrays)
        found: dict[str, Array] = {}
        for name, value in named.items():
            each = arrays[name][None] if is_one else value
            a = check_inputs(each, kinds[name].dtype, where, "x" if len(named) == 1 else f"x {name!r}")
            if a.shape[1:] != kinds[name].shape:
                sizes = ", ".join(["n", *map(str, kinds[name].shape)])
                raise ShapeError(f"{where}, input {name!r}", "the array has another shape", expected=f"({sizes})",
                                 got=a.shape, remedy="The first axis counts samples")  # fmt: skip
            found[name] = a
        sizes = {len(a) for a in found.values()}
        if len(sizes) > 1:
            raise ShapeError(where, "the inputs differ in samples", expected="as many of each", got=sorted(sizes),
                             remedy="The first axis of each counts samples")  # fmt: skip
        return found, is_one

    def _read_targets(self, target: Any, given: Mapping[str, Array], is_one: bool, where: str) -> dict[str, Array]:
        found = read_targets(
            self.network.outputs, target, self.model.result_type, f"{where}, target", is_one=is_one
        )  # fmt: skip
        count = len(next(iter(given.values())))
        for name, a in found.items():
            if len(a) != count:
                raise ShapeError(f"{where}, target", "x and target differ in samples", expected=f"{count} targets",
                                 got=len(a), remedy=f"One for each sample (output {name!r})")  # fmt: skip
        return found

    def _fit_buffers(self, samples: int) -> None:
        """Make the buffers at the first tick; ShapeError for another size of batch later."""
        if not self.buffers:
            shapes, dtype = self.model.shapes, self.model.network.dtype
            self._batch = samples
            self.buffers = {
                n.name: self._zeros(f"buffer.{n.name}", (samples, *shapes[n.name]), dtype)
                for n in self.model.network.nodes
            }
        if samples != self._batch:
            raise ShapeError("tween, step", f"the mode '{self.mode.value}' has buffers of another batch",
                             expected=f"{self._batch} samples, as at the first tick", got=samples,
                             remedy="Keep to one size, or make another state")  # fmt: skip

    # running

    def _tween(
        self, given: dict[str, Array], target: Any, rate: float, watch: bool, is_one: bool, where: str
    ) -> float:  # fmt: skip
        wanted = self._read_targets(target, given, is_one, where)
        if self.mode.is_step:
            self._fit_buffers(len(next(iter(given.values()))))
        program = self._program("update", given, wanted, watch=watch)
        found = self._run(program, given, wanted, rate)
        loss = float(found[0])
        if not np.isfinite(loss):
            raise self._not_finite(loss)
        if watch:
            self.report = self._reported(found)
        return loss

    def _run(
        self, program: TensorProgram, given: dict[str, Array], wanted: dict[str, Array], rate: float
    ) -> list[Array]:
        feeds = self._feeds(given, wanted) | {"rate": np.asarray(rate, self.number.numpy)}
        with self.model.lock:
            program.run(**{name: a for name, a in feeds.items() if name in program.inputs})
            return program.read()

    def _reported(self, found: list[Array]) -> TweenReport:
        loss, budgets, gaps = found
        names = [n.name for n in self.model.network.nodes if n.name not in self.bypassed]
        means = [a.astype(np.float64).mean(1).tolist() for a in (budgets, gaps)]
        return TweenReport.of(float(loss), *(dict(zip(names, m, strict=True)) for m in means))

    def _feeds(self, given: Mapping[str, Array], wanted: Mapping[str, Array]) -> dict[str, Array]:
        x = {f"x{i}": given[each.name] for i, each in enumerate(self.model.network.inputs)}
        return x | {f"y{i}": wanted[n] for i, n in enumerate(self.model.network.outputs) if n in wanted}

    def _propagate(
        self, given: dict[str, Array], target: Any, rate: float, _watch: bool, is_one: bool, where: str
    ) -> float:  # fmt: skip
        """Make one update by back-propagation."""
        if is_one:
            several = is_mapping(target)
            target = {n: np.asarray(t)[None] for n, t in target.items()} if several else np.asarray(target)[None]
        told = {"batch_size": 1} if self.config.loss is None else {"batch_size": 1, "loss": self.config.loss}
        config, data = self.network.read_training(given, target, where, self.config.optimizer, None, told)
        if self.mode.is_step:
            self._fit_buffers(len(data))
        loss = self._programs_for(config).train(data, rate)
        if not np.isfinite(loss):
            raise self._not_finite(loss)
        return loss

    def _programs_for(self, config: TrainConfig) -> Programs:
        key = repr(config.loss)
        known, model = self._training.get(key), self.model
        if known is None or not known.suit(config, model.frozen, model.learning_rates):
            network = model.network
            trained: Any = Ticking(model, self.buffers) if self.mode.is_step else model
            inputs = [i.name for i in network.inputs] if len(network.inputs) > 1 else ()
            outputs = network.outputs if len(network.outputs) > 1 else ()
            known = Programs(trained, config, model.frozen, model.learning_rates, inputs, outputs)
            self._training[key] = known
        return known

    def _not_finite(self, loss: float) -> NotFinite:
        error = NotFinite(f"tween, step {self.steps}", f"the loss is {'NaN' if np.isnan(loss) else 'infinite'}",
                          expected="a finite number",
                          remedy="Nothing was changed. Lower the rate, or turn the guard on")  # fmt: skip
        error.step, error.tensor = self.steps, "loss"
        return error

    # recording

    def _program(
        self, kind: str, given: Mapping[str, Array], wanted: Mapping[str, Array], *, watch: bool
    ) -> TensorProgram:
        samples = len(next(iter(given.values())))
        types = tuple((n, a.dtype.kind) for n, a in wanted.items())
        key = (kind, samples, types, watch, self.bypassed, self.model.frozen)
        if key not in self._made:
            with self.model.lock:
                self._ready_velocities()
                outputs, updates = self.record(kind, samples, dict(types), watch=watch)
            if len(self._made) == _MOST_PROGRAMS:
                self._made.pop(next(iter(self._made))).free()
            self._made[key] = tensor.compile(outputs, updates, on=self.model.device, name=f"tween, {kind}")
        return self._made[key]

    def _ready_velocities(self) -> None:
        """Make the velocities of matrices that have none yet: those that are trained now."""
        for name, w in self.model.parameters.items():
            if self.mode.is_tween and w.ndim > 1 and name not in self.model.frozen and name not in self.velocities:
                self.velocities[name] = self._zeros(f"velocity.{name}", w.shape, self.number)

    def record(
        self, kind: str, samples: int, targets: Mapping[str, str], *, watch: bool = False
    ) -> tuple[list[Tensor], Pairs]:
        """Return outputs and updates of a program: of one ``update``, a ``tick``, or what ``diagnose`` runs.

        ``targets``: output -> ``"i"`` for classes, ``"f"`` for numbers. Inputs are ``x0``.., ``y0``.. and ``rate``.
        """
        network, model = self.model.network, self.model
        x = {each.name: tensor.input(f"x{i}", (samples, *each.shape), each.dtype)
             for i, each in enumerate(network.inputs)}  # fmt: skip
        found = record_pass(
            model, x, buffers=self.buffers if self.mode.is_step else None, bypassed=self.bypassed,
            training=kind == "update", step=self.counter,
        )  # fmt: skip
        if kind == "tick":
            return [found.made[n] for n in network.outputs], found.updates
        y = {}
        for i, name in enumerate(network.outputs):
            shape = (samples, *model.shapes[name])
            is_class = targets[name] == "i"
            y[name] = tensor.input(f"y{i}", shape[:-1] if is_class else shape, i32 if is_class else model.result_type)
        rate = tensor.input("rate", (), self.number)
        return self._record_moves(kind, found, y, rate, watch=watch)

    def _record_moves(
        self, kind: str, found: Any, y: dict[str, Tensor], rate: Tensor, *, watch: bool
    ) -> tuple[list[Tensor], Pairs]:
        extra: Pairs = [(self.counter, self.counter + 1)]
        if self.guard:
            gap = output_gap(found, y)
            multiplier, kept = guarded(self.config, gap, self.guard)
            is_sound = (gap - gap) == 0
            rate = rate * multiplier
            extra += [(old, tensor.where(is_sound, new, old)) for old, new in kept]
        made = record_update(
            self.model, self.mode, self.config, found, y, rate, self.velocities, bypassed=self.bypassed, watch=watch
        )  # fmt: skip
        outputs = [made.loss]
        if watch:
            names = [n.name for n in self.model.network.nodes if n.name in made.gaps]
            outputs += [tensor.stack([held[n] for n in names], 0) for held in (made.budgets, made.gaps)]
        return outputs, [] if kind == "diagnose" else [*made.updates, *extra]

    # keeping

    def arrays(self) -> dict[str, Array]:
        """Return copies of all that steps change besides the weights, by name."""
        held = {**{f"velocity/{n}": v for n, v in self.velocities.items()}, **self.guard, "step": self.counter}
        held |= {f"buffer/{n}": b for n, b in self.buffers.items()}
        for key, programs in self._training.items():
            held |= {f"training/{key}/{n}": t for n, t in programs.kept.items()}
        with self.model.lock:
            return {n: t.host_elements()[0] for n, t in held.items()}


def config_for(mode: TweenMode, config: TweenConfig | None) -> TweenConfig:
    """Return the config of a state; ArgumentError for what is none, and for settings that the mode does not read."""
    if config is None:
        return TweenConfig()
    if not isinstance(config, TweenConfig):  # pyright: ignore[reportUnnecessaryIsInstance] - users pass anything
        raise ArgumentError("tween, config", "not usable", expected="a TweenConfig", got=type(config).__name__,
                            remedy="Write TweenConfig(momentum=0.5)")  # fmt: skip
    config.require_read(mode)
    return config


def _is_plain(value: Any) -> bool:
    """Tell whether a value is an array of numpy, a number, or lists of them: what one sample may be told by."""
    return isinstance(value, (np.ndarray, list, tuple, int, float, np.generic))
