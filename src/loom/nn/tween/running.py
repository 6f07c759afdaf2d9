"""What a ``TweenState`` has and runs: its arrays on the device, and the programs of updates, ticks and forward passes.

Layer: nn. Invariant: programs are kept by all that they depend on; what a run must not change is decided inside it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np

from loom import tensor
from loom.core.arrays import Array
from loom.core.dtype import DType, i32
from loom.core.errors import ArgumentError, NotFinite, ShapeError
from loom.nn.spec import NetworkSpec, Snapshot
from loom.nn.spec.freezing import require_no_adapters
from loom.nn.train.config import TrainConfig
from loom.nn.train.programs import Programs
from loom.nn.train.samples import Samples
from loom.nn.train.targets import Output
from loom.nn.tween.config import TweenConfig, config_of
from loom.nn.tween.diagnostics import TweenReport
from loom.nn.tween.fitting import Fit
from loom.nn.tween.guard import guard_rate, guard_state
from loom.nn.tween.link import wide
from loom.nn.tween.modes import TweenMode, mode_of
from loom.nn.tween.propagation import Ticking, rows_of_history
from loom.nn.tween.recording import (
    Pairs,
    loss_or_nan,
    number_type,
    output_gap,
    record_pass,
    record_update,
    update_if_finite,
)  # fmt: skip
from loom.nn.weights.model import Model
from loom.tensor import Tensor, TensorProgram
from loom.tensor.ops.precision import precision

__all__ = ["TweenRunner", "Tweened"]

Arrays = Mapping[str, Array]

_MOST_PROGRAMS = 8
"""Sizes of batches and kinds of targets whose programs are kept."""


class Tweened(Protocol):
    """What is moved: ``loom.Network``."""

    spec: NetworkSpec
    model: Model
    outputs: dict[str, Output]
    training: Snapshot | None

    def read_training(
        self, x: Any, y: Any, where: str, optimizer: Any, schedule: Any, settings: Mapping[str, Any]
    ) -> tuple[TrainConfig, Samples]:
        """Return the config and the samples that it would be trained with."""
        ...


class TweenRunner:
    """The arrays and programs of a network being moved in a mode."""

    report: TweenReport | Any  # None until a step was watched

    def _begin(self, network: Tweened, mode: str | TweenMode, config: TweenConfig | None) -> None:
        if not isinstance(getattr(network, "model", None), Model):
            raise ArgumentError("tween, network", "not usable", expected="a loom.Network", got=type(network).__name__,
                                remedy="Call network.tween(mode=..)")  # fmt: skip
        require_no_adapters(network.spec, "tween, network")
        self.network, self.model = network, network.model
        self.number = number_type(self.model)
        self.mode, self.config = mode_of(mode), config_of(config)
        self.config.require_read(self.mode)
        self.config.require_fit(self.number)
        self.steps = 0
        self.report = None
        where, tweens = self.model.device, self.mode.is_tween
        self.velocities: dict[str, Tensor] = {}
        self.guard = guard_state(self.config, self.number, where) if tweens else {}
        self.counter = tensor.parameter(np.zeros((), np.uint32), name="step", on=where)
        self.buffers: dict[str, Tensor] = {}
        self.history: dict[tuple[str, int], Tensor] = {}
        self.bypassed: frozenset[str] = frozenset()
        self.progress = Fit()
        self._waiting: dict[str, Array] = {}
        self._batch = 0
        self._made: dict[tuple[Any, ...], TensorProgram] = {}
        self._training: dict[str, Programs] = {}

    def _zeros(self, name: str, shape: tuple[int, ...], dtype: DType) -> Tensor:
        return tensor.parameter(np.zeros(shape, dtype.numpy), dtype, name=name, on=self.model.device)

    # buffers

    def _fit_buffers(self, samples: int) -> None:
        """Make the buffers at the first tick; ShapeError for another size of batch later."""
        if samples != self._batch and not self._has_ticked():
            self._drop_buffers()
        if not self.buffers:
            shapes, dtype = self.model.shapes, self.model.network.dtype
            self._batch = samples
            self.buffers = {
                n.name: self._zeros(f"buffer.{n.name}", (samples, *shapes[n.name]), dtype)
                for n in self.model.network.nodes
            }
            kinds = {i.name: i.dtype for i in self.model.network.inputs}
            rows = rows_of_history(self.model.network) if self.mode is TweenMode.STEP else {}
            self.history = {
                (n, age): self._zeros(f"history.{age}.{n}", (samples, *shapes[n]), kinds.get(n, dtype))
                for n, count in rows.items() for age in range(1, count + 1)
            }  # fmt: skip
        if samples != self._batch:
            raise ShapeError("tween, step", f"the mode '{self.mode.value}' has buffers of another batch",
                             expected=f"{self._batch} samples, as at the first tick", got=samples,
                             remedy="Keep to one size, or call reset() before another")  # fmt: skip

    def _has_ticked(self) -> bool:
        """Tell whether buffers hold what a tick made."""
        with self.model.lock:
            return bool(self.buffers) and self.counter.item() != 0

    def _drop_buffers(self) -> None:
        """Forget buffers and the programs that are bound to them."""
        self.buffers, self.history, self._training = {}, {}, {}
        for program in self._made.values():
            program.free()
        self._made = {}

    # running

    def _tween(self, given: Arrays, wanted: Arrays, rate: float, watch: bool) -> float:
        program = self._program("update", given, wanted, watch=watch)
        found = self._run(program, given, wanted, rate)
        loss = float(found[0])
        if not np.isfinite(loss):
            raise self._not_finite(loss)
        if watch:
            self.report = self._report(found)
        return loss

    def _run(self, program: TensorProgram, given: Arrays, wanted: Arrays, rate: float) -> list[Array]:
        feeds = self._feeds(given, wanted) | {"rate": np.asarray(rate, self.number.numpy)}
        with self.model.lock:
            program.run(**{name: a for name, a in feeds.items() if name in program.inputs})
            return program.read()

    def _report(self, found: list[Array]) -> TweenReport:
        loss, budgets, gaps = found
        names = [n.name for n in self.model.network.nodes if n.name not in self.bypassed]
        means = [a.astype(np.float64).mean(1).tolist() for a in (budgets, gaps)]
        return TweenReport.of(float(loss), *(dict(zip(names, m, strict=True)) for m in means))

    def _feeds(self, given: Arrays, wanted: Arrays) -> dict[str, Array]:
        x = {f"x{i}": given[each.name] for i, each in enumerate(self.model.network.inputs)}
        return x | {f"y{i}": wanted[n] for i, n in enumerate(self.model.network.outputs) if n in wanted}

    def _propagate(self, given: Arrays, wanted: Arrays, rate: float) -> float:
        """Make one update by back-propagation."""
        told = {"batch_size": 1} if self.config.loss is None else {"batch_size": 1, "loss": self.config.loss}
        where = "tween, step"
        config, data = self.network.read_training(given, wanted, where, self.config.optimizer, None, told)
        loss = self._programs_for(config).train(data, rate)
        if not np.isfinite(loss):
            raise self._not_finite(loss)
        return loss

    def _programs_for(self, config: TrainConfig) -> Programs:
        key = repr(config.loss)
        known, model = self._training.get(key), self.model
        if known is None or not known.suit(config, model.frozen, model.learning_rates):
            network = model.network
            trained: Any = model
            if self.mode.is_step:
                trained = Ticking(model, self.buffers, self.history, self.counter)
            inputs = [i.name for i in network.inputs] if len(network.inputs) > 1 else ()
            outputs = network.outputs if len(network.outputs) > 1 else ()
            known = Programs(trained, config, model.frozen, model.learning_rates, inputs, outputs)
            for name, t in known.kept.items():
                held = self._waiting.pop(f"training/{key}/{name}", None)
                if held is not None:
                    t.write_elements(held)
            self._training[key] = known
        return known

    def _not_finite(self, loss: float) -> NotFinite:
        what = "what layers would give" if self.mode.is_step and np.isnan(loss) else "the loss"
        error = NotFinite(f"tween, step {self.steps}", f"{what} is {'NaN' if np.isnan(loss) else 'infinite'}",
                          expected="a finite number",
                          remedy="Nothing was changed. Scale the samples, load finite weights, or lower the rate"
                          )  # fmt: skip
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
                with precision(self.model.network.precision.value):
                    outputs, updates = self._record(kind, samples, dict(types), watch=watch)
            if len(self._made) == _MOST_PROGRAMS:
                self._made.pop(next(iter(self._made))).free()
            self._made[key] = tensor.compile(outputs, updates, on=self.model.device, name=f"tween, {kind}")
        return self._made[key]

    def _ready_velocities(self) -> None:
        """Make the velocities of matrices that have none yet: those that are trained now."""
        for name, w in self.model.parameters.items():
            if self.mode.is_tween and w.ndim > 1 and name not in self.model.frozen and name not in self.velocities:
                self.velocities[name] = self._zeros(f"velocity.{name}", w.shape, self.number)

    def _record(
        self, kind: str, samples: int, targets: Mapping[str, str], *, watch: bool = False
    ) -> tuple[list[Tensor], Pairs]:
        """Return outputs and updates of a program: of one ``update``, a ``tick``, or what ``diagnose`` runs.

        ``targets``: output -> ``"i"`` for classes, ``"f"`` for numbers. Inputs are ``x0``.., ``y0``.. and ``rate``.
        """
        network, model = self.model.network, self.model
        x = {each.name: tensor.input(f"x{i}", (samples, *each.shape), each.dtype)
             for i, each in enumerate(network.inputs)}  # fmt: skip
        is_tick = self.mode.is_step and kind != "predict"
        found = record_pass(
            model, x, buffers=self.buffers if is_tick else None, bypassed=self.bypassed,
            training=kind in ("update", "diagnose"), step=self.counter,
        )  # fmt: skip
        if kind == "predict":
            return [wide(found.made[n]) for n in network.outputs], []
        if kind == "tick":
            shifted = Ticking(model, self.buffers, self.history, self.counter).shift_history(x)
            loss = loss_or_nan(tensor.zeros((), self.number), found.updates)
            return [loss], update_if_finite(loss, [*found.updates, *shifted, (self.counter, self.counter + 1)])
        y: dict[str, Tensor] = {}
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
            multiplier, kept = guard_rate(self.config, output_gap(found, y), self.guard)
            rate = rate * multiplier
            extra += kept
        made = record_update(
            self.model, self.mode, self.config, found, y, rate, self.velocities, bypassed=self.bypassed, watch=watch
        )  # fmt: skip
        outputs = [made.loss]
        if watch:
            names = [n.name for n in self.model.network.nodes if n.name in made.gaps]
            outputs += [tensor.stack([held[n] for n in names], 0) for held in (made.budgets, made.gaps)]
        return outputs, [] if kind == "diagnose" else [*made.updates, *update_if_finite(made.loss, extra)]
