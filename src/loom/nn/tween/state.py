"""``TweenState``: a network being moved towards targets, sample by sample or batch by batch, in one of six modes.

Layer: nn. Each update is one recorded program. Invariant: what a state is, is told by the network's weights and
``arrays()`` alone; equal ones and equal samples give the same bits on every device.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from loom.core.arrays import Array
from loom.core.errors import ArgumentError, ShapeError, StateError
from loom.core.given import is_mapping
from loom.nn.layers.scale import learn_scaling
from loom.nn.spec import NetworkSpec
from loom.nn.step import Wiring
from loom.nn.train.loop.trainer import Progress
from loom.nn.train.samples import batches
from loom.nn.train.scalars import flag, real
from loom.nn.train.targets import outputs_of
from loom.nn.tween.config import TweenConfig, require_rate
from loom.nn.tween.diagnostics import TweenReport
from loom.nn.tween.fitting import Fit, TweenHistory, cuts_of, fit, read_settings
from loom.nn.tween.guard import guard_state
from loom.nn.tween.modes import TweenMode
from loom.nn.tween.pruning import without
from loom.nn.tween.recording import (
    Pairs,
    layers_above,
)  # fmt: skip
from loom.nn.tween.running import Tweened, TweenRunner
from loom.nn.tween.targets import read_inputs, read_targets
from loom.nn.weights.model import Model
from loom.tensor import Tensor
from loom.tensor.ops.precision import precision

__all__ = ["TweenState"]

Arrays = Mapping[str, Array]

_EVALUATED_AT_ONCE = 256


class TweenState(TweenRunner):
    """A network being trained in a mode; ``network.tween(mode=..)`` makes one.

    In the step modes layers run from the buffers of the tick before: the output is that of an input ``delay`` ticks
    ago; all calls until ``reset`` then have batches of one size.

    Args:
        network: Network to train.
        mode: Name of a ``TweenMode``.
        config: Settings; None: the defaults.

    >>> from loom import Network
    >>> net = Network.from_json({"format": "loom/1", "input": {"shape": [2]}, "layers": [
    ...     {"type": "dense", "output_size": 2}]})
    >>> state = net.tween(mode="tween_chain")
    >>> first = state.step([1.0, 0.0], 1, 0.1)
    >>> state.step([1.0, 0.0], 1, 0.1) < first
    True
    """

    report: TweenReport | Any  # None until a step was watched

    def __init__(
        self, network: Tweened, mode: str | TweenMode = "step_tween_chain", config: TweenConfig | None = None
    ) -> None:
        self._begin(network, mode, config)
        self._require_same()
        self._require_ways()

    def _require_ways(self) -> None:
        """See that the mode has a way to every node."""
        network, reached = self.model.network, layers_above(self.model)
        lost = [n.name for n in network.nodes if n.name not in reached]
        if lost and self.mode.is_tween:
            raise ArgumentError("tween, mode", f"the mode '{self.mode.value}' has no way to the layer {lost[0]!r}",
                                expected="layers that lead to an output", got=f"{lost[0]!r}, which leads nowhere",
                                remedy="Remove it, or make it an output")  # fmt: skip

    def _require_here(self) -> None:
        """See that the network is on the device it was on."""
        if self.network.model is not self.model:
            raise StateError("tween", "the network was moved to another device", expected="where the state was made",
                             got=f"new weights, on {self.network.model.device.name}",
                             remedy="Make a state after moving")  # fmt: skip

    def _require_same(self) -> None:
        """See that the network is on the device it was on, and has weights to move."""
        self._require_here()
        if len(self.model.frozen) == len(self.model.parameters):
            raise ArgumentError("tween", "nothing can be trained", expected="at least one weight that is not frozen",
                                got=f"{len(self.model.parameters)} weights", remedy="Unfreeze a layer")  # fmt: skip

    def _require_unseen(self) -> None:
        """See that nobody observes, who would be told nothing: the updates of these modes are programs of their own."""
        watch = self.model.watch
        if watch is not None and not watch.is_showing and (self.mode.is_tween or self.mode.is_step):
            raise StateError("tween", f"the mode '{self.mode.value}' cannot be observed", expected="no observer",
                             got=f"{len(watch.viewers)} attached",
                             remedy="Close them while it moves, and observe predict; or use network.step()",
                             )  # fmt: skip

    # steps

    def step(self, x: Any, target: Any, rate: float = 0.01, *, watch: bool = False) -> float:
        """Move the network once; of a batch the mean of the moves is made.

        The loss is the squared gap summed over the output, the mean over samples; in ``normal`` and ``step`` it is the
        one that is made small.

        Args:
            x: Samples, or one; of several inputs by name.
            target: Class index (of a batch: one for each), or numbers of the output's shape; of several outputs by
                name.
            rate: Learning rate.
            watch: Whether link budgets and gaps are noted in ``report`` (tween modes).

        Returns:
            Loss of the pass before the weights moved.

        Raises:
            ArgumentError: The rate is no number, or too large; ``watch`` in a mode without link budgets; names are not
                those of inputs or outputs; a class outside.
            DTypeError: Not numbers, or not of the kind needed.
            ShapeError: Samples or targets of another shape.
            StateError: The network is being trained, or was changed or shared since.
            NotFinite: The samples or the loss are not finite; nothing is changed.
        """
        where = "tween, step"
        rate = float(real(f"{where}, rate", rate))
        watch = flag(f"{where}, watch", watch)
        given, is_one = self._read_inputs(x, where)
        if watch and not self.mode.is_tween:
            raise ArgumentError(f"{where}, watch", f"the mode '{self.mode.value}' has no link budgets",
                                expected="a tween mode", got=self.mode.value, remedy="Leave it out")  # fmt: skip
        self.network.spec.require_several((len(next(iter(given.values()))),), f"{where}, x", "Pass 2 or more")
        wanted = self._read_targets(target, given, is_one, where)
        with self.model.alone("tween"):
            return self.move(given, wanted, rate, watch=watch)

    def move(self, given: Arrays, wanted: Arrays, rate: float, *, watch: bool = False) -> float:
        """Move the network with arrays by name that were checked; the caller holds its turn.

        Args:
            given: Inputs by name, checked.
            wanted: Targets by name, checked.
            rate: Learning rate.
            watch: Whether link budgets and gaps are noted in ``report``.

        Returns:
            Loss of the pass before the weights moved.

        Raises:
            NotFinite: The loss is not finite; nothing is changed.
        """
        self._require_same()
        self._require_unseen()
        require_rate(rate, self.number)
        if self.mode.is_step:
            self._fit_buffers(len(next(iter(given.values()))))
        loss = self._tween(given, wanted, rate, watch) if self.mode.is_tween else self._propagate(given, wanted, rate)
        self.network.training = None
        self.steps += 1
        return loss

    def tick(self, x: Any) -> Any:
        """Advance all layers by a tick and move nothing (step modes).

        Args:
            x: Samples, or one; of several inputs by name.

        Returns:
            Output, of several by name; of one sample without its axis.

        Raises:
            ArgumentError: Names are not those of the inputs.
            DTypeError: Not numbers, or not of the input's kind.
            ShapeError: Samples of another shape.
            StateError: The mode has no ticks; the network is being trained.
            NotFinite: The samples or the outputs are not finite.
        """
        if not self.mode.is_step:
            raise StateError("tween, tick", f"the mode '{self.mode.value}' has no ticks", expected="a step mode",
                             got=self.mode.value, remedy="Use network.forward")  # fmt: skip
        given, is_one = self._read_inputs(x, "tween, tick")
        with self.model.alone("tween"):
            self.advance(given)
        found = self.output
        if not is_one:
            return found
        return {n: a[0] for n, a in found.items()} if is_mapping(found) else found[0]

    def advance(self, given: Arrays) -> None:
        """Make a tick with arrays by name that were checked; the caller holds its turn.

        Args:
            given: Inputs by name, checked.

        Raises:
            NotFinite: The outputs are not finite.
        """
        self._require_same()
        self._require_unseen()
        self._fit_buffers(len(next(iter(given.values()))))
        (loss,) = self._run(self._program("tick", given, {}, watch=False), given, {}, 0.0)
        if not np.isfinite(loss):
            raise self._not_finite(float(loss))

    @property
    def delay(self) -> int:
        """Ticks that an input takes before the next one shows it in all outputs: one less than there are layers."""
        return Wiring(self.model.network).depth - 1

    @property
    def output(self) -> Any:
        """The output of the last tick (samples, *shape), by name if there are several; StateError before the first."""
        if not self._has_ticked():
            raise StateError("tween, output", "no tick was made", expected="a tick or step before, in a step mode",
                             got=f"none in the mode '{self.mode.value}'", remedy="Call tick or step")  # fmt: skip
        with self.model.lock:
            made = {n: self.buffers[n].numpy() for n in self.model.network.outputs}
        return made if len(made) > 1 else next(iter(made.values()))

    def diagnose(self, x: Any, target: Any) -> TweenReport:
        """Return the report of an update with samples; nothing is changed, no tick is made.

        Args:
            x: Samples, or one; of several inputs by name.
            target: Targets, as of ``step``.

        Raises:
            ArgumentError: Names are not those of inputs or outputs; a class outside.
            DTypeError: Not numbers, or not of the kind needed.
            ShapeError: Samples or targets of another shape.
            StateError: The mode has no link budgets; the network is being trained.
        """
        if not self.mode.is_tween:
            raise StateError("tween, diagnose", f"the mode '{self.mode.value}' has no link budgets",
                             expected="a tween mode", got=self.mode.value, remedy="Make another state")  # fmt: skip
        self._require_here()
        given, is_one = self._read_inputs(x, "tween, diagnose")
        self.network.spec.require_several((len(next(iter(given.values()))),), "tween, diagnose, x", "Pass 2 or more")
        with self.model.alone("tween"):
            if self.mode.is_step:
                self._fit_buffers(len(next(iter(given.values()))))
            wanted = self._read_targets(target, given, is_one, "tween, diagnose")
            program = self._program("diagnose", given, wanted, watch=True)
            return self._report(self._run(program, given, wanted, 0.0))

    def reset(self) -> None:
        """Forget velocities, buffers and what the guard keeps, as a new state; the weights and ``fit``'s place stay."""
        with self.model.lock:
            for kept in (*self.velocities.values(), *self.buffers.values(), *self.history.values(), self.counter):
                kept.assign(np.zeros(kept.shape, kept.dtype.numpy))
            for name, first in guard_state(self.config, self.number, self.model.device).items():
                self.guard[name].assign(first.numpy())
            for programs in self._training.values():
                programs.restart(programs.config)
        self._waiting, self.steps, self.report = {}, 0, None

    # reading

    def _read_inputs(self, x: Any, where: str) -> tuple[dict[str, Array], bool]:
        spec = self.network.spec
        return read_inputs(spec.inputs, x, where, spec.vocabularies())

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

    def record(self, x: Any, target: Any) -> tuple[dict[str, Tensor], Pairs]:
        """Return the outputs and updates of an update's program, as ``loom.export`` takes them; nothing is run.

        Its inputs are ``x0``, .. and ``y0``, .. in the network's order (classes as i32), and ``rate``; its output is
        the loss.

        Args:
            x: Samples like those to come.
            target: Targets like those to come, as of ``step``.

        Raises:
            ArgumentError: Names are not those of inputs or outputs; a class outside.
            DTypeError: Not numbers, or not of the kind needed.
            ShapeError: Samples or targets of another shape.
            StateError: The mode is ``normal`` or ``step``: ``network.step().record`` has the programs of ticks.
        """
        if not self.mode.is_tween:
            raise StateError("tween, record", f"the mode '{self.mode.value}' is a training's own programs",
                             expected="a tween mode", got=self.mode.value,
                             remedy="Use loom.export.freeze, or network.step().record")  # fmt: skip
        self._require_here()
        given, is_one = self._read_inputs(x, "tween, record")
        wanted = self._read_targets(target, given, is_one, "tween, record")
        samples = len(next(iter(given.values())))
        with self.model.alone("tween"), self.model.lock:
            if self.mode.is_step:
                self._fit_buffers(samples)
            self._ready_velocities()
            with precision(self.model.network.precision.value):
                outputs, updates = self._record("update", samples, {n: a.dtype.kind for n, a in wanted.items()})
        return {"loss": outputs[0]}, updates

    # epochs

    def fit(
        self, x: Any, y: Any, *, validation: tuple[Any, Any] | None = None, resume: bool = False,
        report: Callable[[Progress], None] | None = None, **settings: Any,
    ) -> TweenHistory:  # fmt: skip
        """Train with samples and targets for epochs; return the history.

        Layers that scale the input learn their scales first, as in ``network.train``. Every ``config.evaluate_every``
        epochs, and after the last, the deviation score is measured, on ``validation`` if that is given; the best
        weights are put back at the end. In a step mode each batch is held until it has come through, then for
        ``config.ticks`` ticks that train; samples that fill no batch wait for another epoch's order.

        Args:
            x: Samples (n, *shape), of several inputs by name.
            y: Targets (n, ...), of several outputs by name.
            validation: Pair of samples and targets that the score is measured on; None: ``x`` and ``y``.
            resume: Whether it goes on from where the last ``fit`` was, up to ``epochs`` in all.
            report: Function of a ``Progress``, called after every batch; None: none.
            **settings: Settings of ``FitSettings``.

        Returns:
            History of losses, rates, measures and scores.

        Raises:
            ArgumentError: A setting is unusable; not a pair; names are not those of inputs or outputs; a class outside;
                ``report`` is no function.
            DTypeError: Not numbers, or not of the kind needed.
            ShapeError: Samples or targets of another shape, or in another number.
            StateError: The network is being trained; ``prune`` of weights that are another network's too.
            NotFinite: The samples or the loss are not finite.
        """
        where = "tween, fit"
        found, (given, wanted) = read_settings(settings, where), self._read_samples(x, y, where)
        held_out = None
        if validation is not None:
            if not (isinstance(validation, (tuple, list)) and len(validation) == 2):
                raise ArgumentError(f"{where}, validation", "not samples and their targets", expected="a pair (x, y)",
                                    got=type(validation).__name__, remedy="Pass validation=(x, y)")  # fmt: skip
            held_out = self._read_samples(*validation, f"{where}, validation")
        if self.config.prune and self.model.is_shared:
            raise StateError(f"{where}, prune", "its weights are another network's too", expected="its own",
                             got="shared ones", remedy="Copy it first: copy.copy(network).tween(...)")  # fmt: skip
        resume = flag(f"{where}, resume", resume)
        if report is not None and not callable(report):
            raise ArgumentError(f"{where}, report", "not usable", expected="a function of a Progress",
                                got=type(report).__name__, remedy="Leave it out")  # fmt: skip
        with self.model.alone("tween"):
            self._require_same()
            cuts_of(len(next(iter(given.values()))), found.batch_size, self.mode)
            learn_scaling(self.network.spec, self.model.state, given)
            self.progress = self.progress if resume else Fit()
            return fit(self, given, wanted, held_out, found, self.progress, report or (lambda _progress: None))

    def _read_samples(self, x: Any, y: Any, where: str) -> tuple[Arrays, Arrays]:
        given, is_one = self._read_inputs(x, where)
        if is_one:
            raise ShapeError(where, "one sample, not several", expected="an axis that counts samples", got="none",
                             remedy="Pass x[None] and y[None], or call step")  # fmt: skip
        return given, self._read_targets(y, given, False, where)

    def predict(self, given: Arrays) -> dict[str, Array]:
        """Return the outputs by name for arrays that were checked, layers that are bypassed left out.

        Args:
            given: Inputs by name, checked.
        """
        names, count = self.model.network.outputs, len(next(iter(given.values())))
        made: list[list[Array]] = []
        for cut in batches(count, _EVALUATED_AT_ONCE):
            part = {n: a[cut] for n, a in given.items()}
            made.append(self._run(self._program("predict", part, {}, watch=False), part, {}, 0.0))
        return {n: np.concatenate([outs[i] for outs in made]) for i, n in enumerate(names)}

    def remove(self, names: frozenset[str]) -> dict[str, str]:
        """Take layers out of the network.

        Args:
            names: Names of layers.

        Returns:
            Old names of those that stay, with their new ones.
        """
        spec, new = without(self.model.network, names)
        renamed = {old: f"{new[part]}.{key}" for old, part, key in _arrays_by_node(self.model) if part in new}
        self.velocities = {renamed[n]: v for n, v in self.velocities.items() if n in renamed}
        self.bypassed = frozenset(new[n] for n in self.bypassed if n in new)
        self.rebuild(spec, {renamed[n]: a for n, a in self.model.weights().items() if n in renamed})
        return new

    def rebuild(self, spec: NetworkSpec, weights: Arrays) -> None:
        """Have the network be that of a document, with these weights; one of the same document is only written to.

        Args:
            spec: Description of the network.
            weights: Arrays by name.
        """
        if spec == self.model.network:
            self.model.load(weights)
            return
        old, model = self.model, Model(spec, self.model.device, weights)
        model.lock, model.turn = old.lock, old.turn
        self.network.spec, self.network.model, self.network.outputs = spec, model, outputs_of(spec)
        self.model = model
        shapes = {n: w.shape for n, w in model.parameters.items()}
        self.velocities = {n: v for n, v in self.velocities.items() if shapes.get(n) == v.shape}
        self._drop_buffers()

    # keeping

    def arrays(self) -> dict[str, Array]:
        """Return copies of all that steps change besides the weights, by name (bf16 as its 16 bits)."""
        with self.model.lock:
            return {n: t.host_elements()[0] for n, t in self._tensors().items()} | dict(self._waiting)

    def _tensors(self) -> dict[str, Tensor]:
        held = {**{f"velocity/{n}": v for n, v in self.velocities.items()}, **self.guard, "step": self.counter}
        held |= {f"buffer/{n}": b for n, b in self.buffers.items()}
        held |= {f"history/{age}/{n}": h for (n, age), h in self.history.items()}
        for key, programs in self._training.items():
            held |= {f"training/{key}/{n}": t for n, t in programs.kept.items()}
        return held

    def __reduce__(self) -> tuple[Any, ...]:
        """Have ``pickle`` and ``copy`` make a state of its own, of a network of its own, that goes on as this one."""
        facts = (self.arrays(), self._batch, self.steps, self.bypassed, self.progress, self.report)
        return _remade, (self.network, self.mode, self.config, facts)

    def __repr__(self) -> str:
        """Return what it moves, and how."""
        return f"<TweenState of {self.network!r}: {self.mode.value}, {self.steps} steps>"

    def restore(self, arrays: Arrays, batch: int) -> None:
        """Take the arrays of a state of the same network, mode and config.

        Args:
            arrays: Arrays that ``arrays()`` gave.
            batch: Samples of its buffers; 0: it has none.

        Raises:
            StateError: Arrays of another state.
        """
        self._drop_buffers()
        if batch:
            self._fit_buffers(batch)
        shapes = {f"velocity/{n}": w.shape for n, w in self.model.parameters.items() if w.ndim > 1}
        self.velocities = {
            n.removeprefix("velocity/"): self._zeros(n.replace("/", "."), shapes[n], self.number)
            for n in arrays if n in shapes and self.mode.is_tween
        }  # fmt: skip
        held, waiting = self._tensors(), {n: a for n, a in arrays.items() if n.startswith("training/")}
        theirs = {n: a.shape for n, a in arrays.items() if n not in waiting}
        if {n: t.shape for n, t in held.items()} != theirs or (waiting and self.mode.is_tween):
            raise StateError("tween, restore", "arrays of another state", got=", ".join(arrays)[:200] or "none",
                             expected=f"{', '.join(held)}, as arrays() of the same network, mode and config gave them",
                             remedy="Make a state as that one was, and pass its arrays and batch")  # fmt: skip
        for name, kept in held.items():
            kept.write_elements(arrays[name])
        self._waiting = waiting


def _remade(network: Any, mode: TweenMode, config: TweenConfig, facts: tuple[Any, ...]) -> TweenState:
    """Return a copied state."""
    state = TweenState.__new__(TweenState)
    state._begin(network, mode, config)  # pyright: ignore[reportPrivateUsage] - what was frozen since is no fault here
    arrays, batch, state.steps, state.bypassed, state.progress, state.report = facts
    state.restore(arrays, batch)
    return state


def _arrays_by_node(model: Model) -> list[tuple[str, str, str]]:
    """Return of each array of a model its name, the node that has it, and the key there."""
    nodes = sorted((n.name for n in model.network.nodes), key=len, reverse=True)
    found: list[tuple[str, str, str]] = []
    for name in (*model.parameters, *model.state):
        owner = next(n for n in nodes if name.startswith(f"{n}."))
        found.append((name, owner, name[len(owner) + 1 :]))
    return found
