"""Epochs of updates: shuffled, measured every few epochs by deviation metrics, the best kept, pruned, stopped.

Layer: nn. Invariant: where a training is, is told by data alone, so that one that was pickled in between goes on with
the bits of one that was not.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import field, replace
from typing import Any, Protocol

import numpy as np

from loom.core.arrays import Array
from loom.core.errors import ArgumentError, NotFinite, ShapeError, near_matches
from loom.core.late.dataclass import dataclass
from loom.nn.spec import NetworkSpec
from loom.nn.train.loop.history import History
from loom.nn.train.loop.progress import show_progress
from loom.nn.train.loop.trainer import Progress
from loom.nn.train.measures import deviation_metrics
from loom.nn.train.optimizers import optimizer_of
from loom.nn.train.plan import order_of_epoch
from loom.nn.train.samples import batches
from loom.nn.train.scalars import flag, real, whole
from loom.nn.train.schedules import Constant, Schedule, schedule_of
from loom.nn.tween.config import TweenConfig, config_of
from loom.nn.tween.diagnostics import TweenReport
from loom.nn.tween.modes import TweenMode, mode_of
from loom.nn.tween.pruning import Pruning
from loom.nn.weights.model import Model

__all__ = ["Fit", "FitSettings", "TweenHistory", "fit", "read_settings", "score_of", "train_in"]

Arrays = Mapping[str, Array]


class Moved(Protocol):
    """What is trained: ``TweenState``."""

    mode: TweenMode
    config: TweenConfig
    model: Model
    steps: int
    report: TweenReport | Any  # None until a step was watched
    bypassed: frozenset[str]

    @property
    def delay(self) -> int:
        """Ticks that an input takes before the next one shows it."""
        ...

    def advance(self, given: Arrays) -> None:
        """Make a tick."""
        ...

    def move(self, given: Arrays, wanted: Arrays, rate: float, *, watch: bool = False) -> float:
        """Make an update; return the loss before."""
        ...

    def predict(self, given: Arrays) -> dict[str, Array]:
        """Return the outputs by name."""
        ...

    def remove(self, names: frozenset[str]) -> dict[str, str]:
        """Take layers out of the network; return old name -> new name of the others."""
        ...

    def rebuild(self, spec: NetworkSpec, weights: Arrays) -> None:
        """Have the network be that of a document, with these weights."""
        ...


@dataclass(slots=True)
class TweenHistory(History):
    """A ``History`` with the ``scores`` of the epochs in ``score_epochs`` (from 1), the best one's number, and what was
    pruned: names of layers bypassed and removed."""

    scores: list[float] = field(default_factory=list[float])
    score_epochs: list[int] = field(default_factory=list[int])
    best_epoch: int = 0
    bypassed: list[str] = field(default_factory=list[str])
    removed: list[str] = field(default_factory=list[str])


@dataclass(frozen=True, slots=True, kw_only=True)
class FitSettings:
    """Settings of ``fit``; those of tweening are in ``TweenConfig``.

    Args:
        epochs: Times that all samples are met.
        batch_size: Samples of a batch.
        rate: Learning rate.
        schedule: Name of a schedule, or one in place of the rate; None: the rate stays.
        shuffle: Whether samples are met in an order drawn by ``seed``.
        seed: Seed of the orders.

    Raises:
        ArgumentError: A setting is unusable; no schedule is called so.
    """

    epochs: int = 1
    batch_size: int = 32
    rate: float = 0.01
    schedule: str | Schedule | None = None
    shuffle: bool = True
    seed: int = 0

    def __post_init__(self) -> None:
        for name, least in (("epochs", 1), ("batch_size", 1), ("seed", 0)):
            most = (1 << 64) - 1 if name == "seed" else sys.float_info.max
            object.__setattr__(self, name, whole(f"tween, fit, {name}", getattr(self, name), least=least, most=most))
        object.__setattr__(self, "rate", float(real("tween, fit, rate", self.rate)))
        object.__setattr__(self, "shuffle", flag("tween, fit, shuffle", self.shuffle))
        if isinstance(self.schedule, str):
            schedule_of(self.schedule, self.rate, 1)
        elif self.schedule is not None and not isinstance(self.schedule, Schedule):  # pyright: ignore[reportUnnecessaryIsInstance] - users pass anything
            raise ArgumentError("tween, fit, schedule", "not a schedule", expected="one of loom.nn.train.SCHEDULES",
                                got=repr(self.schedule)[:80],
                                remedy="Write 'cosine', or for example Cosine(0.1, steps=100)")  # fmt: skip


@dataclass(slots=True)
class Fit:
    """Where a training of epochs is: ``at`` batches of ``epoch`` are done. ``best``: document and weights."""

    history: TweenHistory = field(default_factory=TweenHistory)
    pruning: Pruning = field(default_factory=Pruning)
    epoch: int = 0
    at: int = 0
    total: float = 0.0
    budgets: dict[str, float] = field(default_factory=dict[str, float])
    score: float = -1.0
    best: tuple[NetworkSpec, frozenset[str], dict[str, Array]] | None = None


def read_settings(given: Mapping[str, Any], where: str) -> FitSettings:
    """Return the settings of a training of epochs; ArgumentError for one that there is not."""
    known = list(FitSettings.__dataclass_fields__)
    for key in given:
        if key not in known:
            remedy = "It is rate" if key in ("learning_rate", "lr") else near_matches(key, known)
            raise ArgumentError(where, f"no setting is called {key!r}", expected=", ".join(known), remedy=remedy)
    return FitSettings(**given)


def train_in(
    network: Any, mode: Any, x: Any, y: Any, validation: Any, told: tuple[Any, Any, bool, bool | None],
    settings: Mapping[str, Any],
) -> TweenHistory:  # fmt: skip
    """Train a network in a mode with what ``Network.train`` got; ``told``: optimiser, schedule, resume, progress."""
    where, (optimizer, schedule, resume, progress) = "loom.Network.train", told
    chosen = mode_of(mode, f"{where}, mode")
    known = ["config", "epochs", "batch_size", "learning_rate", "shuffle", "seed"]
    for key in settings:
        if key not in known:
            raise ArgumentError(where, f"the mode '{chosen.value}' has no setting {key!r}", expected=", ".join(known),
                                remedy=near_matches(key, known) or "Leave it out, or use mode='normal'")  # fmt: skip
    if resume:
        raise ArgumentError(f"{where}, resume", f"the mode '{chosen.value}' keeps no training in the network",
                            expected="resume=False", got="True",
                            remedy="Keep network.tween(..) and call its fit(.., resume=True)")  # fmt: skip
    config = settings.get("config")
    if optimizer != "sgd":
        made = optimizer_of(optimizer) if isinstance(optimizer, str) else optimizer
        config = replace(config_of(config), optimizer=made)
    found: dict[str, Any] = {"seed": network.spec.seed}
    found |= {"batch_size": network.spec.batch_size} if network.spec.batch_size > 1 else {}
    found |= {("rate" if k == "learning_rate" else k): v for k, v in settings.items() if k != "config"}
    found |= {} if schedule is None else {"schedule": schedule}
    with show_progress(progress) as report:
        return network.tween(chosen, config).fit(x, y, validation=validation, report=report, **found)


def fit(
    state: Moved, x: Arrays, y: Arrays, held_out: tuple[Arrays, Arrays] | None, settings: FitSettings,
    at: Fit, report: Callable[[Progress], None],
) -> TweenHistory:  # fmt: skip
    """Train up to ``settings.epochs`` epochs in all from where ``at`` is; it is moved along."""
    n = len(next(iter(x.values())))
    cuts = cuts_of(n, settings.batch_size, state.mode)
    remedy = "Choose a batch_size that leaves no sample over, leave one out"
    state.model.network.require_several({c.stop - c.start for c in cuts}, "tween, fit, batch_size", remedy)
    schedule = settings.schedule or Constant(settings.rate)
    if isinstance(schedule, str):
        schedule = schedule_of(schedule, settings.rate, len(cuts) * settings.epochs)
    measured = (x, y) if held_out is None else held_out
    while at.epoch < settings.epochs and not at.history.stopped:
        order = order_of_epoch(n, settings.seed, at.epoch) if settings.shuffle else np.arange(n)
        rates = schedule.rates(at.epoch * len(cuts) + np.arange(len(cuts), dtype=np.int64))
        while at.at < len(cuts):
            chosen = order[cuts[at.at]]
            loss = _one(state, {k: a[chosen] for k, a in x.items()}, {k: a[chosen] for k, a in y.items()},
                        float(rates[at.at]), at)  # fmt: skip
            at.total += loss * len(chosen)
            at.at += 1
            report(Progress(at.epoch, settings.epochs, at.at, len(cuts), loss))
        _close_epoch(state, at, measured, cuts, float(rates[-1]), settings.epochs)
    _put_best(state, at)
    return at.history


def cuts_of(n: int, size: int, mode: TweenMode) -> list[slice]:
    """Return the batches of an epoch of ``n`` samples; ShapeError for fewer than the buffers of a step mode hold."""
    cuts = list(batches(n, size))
    if mode.is_step:
        cuts = [c for c in cuts if c.stop - c.start == size]
        if not cuts:
            raise ShapeError("tween, fit", f"the mode '{mode.value}' has buffers of whole batches",
                             expected=f"at least {size} samples", got=n, remedy="Lower batch_size")  # fmt: skip
    return cuts


def _one(state: Moved, x: Arrays, y: Arrays, rate: float, at: Fit) -> float:
    """Train with a batch; in a step mode it is held until it has come through, then for the ticks that train."""
    watch = state.config.prune and state.mode.is_tween
    y = dict(zip(state.model.network.outputs, y.values(), strict=True))  # a list's names change as layers go
    if state.mode.is_step:
        for _ in range(state.delay):
            state.advance(x)
        losses = [state.move(x, y, rate, watch=watch) for _ in range(state.config.ticks)]
        loss = sum(losses) / len(losses)
    else:
        loss = state.move(x, y, rate, watch=watch)
    if watch and state.report is not None:
        for link in state.report.links:
            at.budgets[link.name] = at.budgets.get(link.name, 0.0) + link.budget
    return loss


def _close_epoch(
    state: Moved, at: Fit, measured: tuple[Arrays, Arrays], cuts: Sequence[slice], rate: float, epochs: int
) -> None:  # fmt: skip
    config, history = state.config, at.history
    weights = state.model.weights()
    faulty = next((n for n, a in weights.items() if a.dtype.kind == "f" and not np.isfinite(a).all()), None)
    if faulty is not None:
        error = NotFinite(f"tween, epoch {at.epoch}", f"weight {faulty!r} is not finite", expected="finite numbers",
                          remedy="Lower the rate, or turn the guard on")  # fmt: skip
        error.step, error.tensor = state.steps, faulty
        raise error
    history.loss.append(at.total / sum(c.stop - c.start for c in cuts))
    history.rate.append(rate)
    at.epoch, at.at, at.total = at.epoch + 1, 0, 0.0
    if config.prune:
        budgets = {
            n: total / (len(cuts) * (config.ticks if state.mode.is_step else 1)) for n, total in at.budgets.items()
        }
        new, removed = at.pruning.close_epoch(state.model.network, budgets, config)
        at.budgets = {}
        history.bypassed += new
        history.removed += removed
        state.bypassed = (state.bypassed | frozenset(new)) - frozenset(removed)
        if removed:
            at.pruning.rename(state.remove(frozenset(removed)))
    if at.epoch % config.evaluate_every == 0 or at.epoch == epochs:
        wanted = dict(zip(state.model.network.outputs, measured[1].values(), strict=True))
        score = score_of(state.predict(measured[0]), wanted)
        history.scores.append(score)
        history.score_epochs.append(at.epoch)
        if score > at.score:
            at.score, history.best_epoch = score, at.epoch
            at.best = state.model.network, state.bypassed, state.model.weights()
        if score >= config.early_stop_score:
            history.stopped = f"score {score:.2f} at epoch {at.epoch}"


def _put_best(state: Moved, at: Fit) -> None:
    """Give the network the best weights; layers that were bypassed for them are removed."""
    if at.best is None:
        return
    spec, bypassed, weights = at.best
    at.history.removed += [n for n in sorted(bypassed) if n not in at.history.removed]
    state.rebuild(spec, weights)
    state.bypassed, at.pruning = frozenset(), Pruning()
    if bypassed:
        state.remove(bypassed)
    at.best = state.model.network, frozenset(), state.model.weights()


def score_of(outputs: Arrays, targets: Arrays) -> float:
    """Return the mean deviation score of outputs by name: of classes by the largest element, else of every number."""
    scores: list[float] = []
    for name, y in targets.items():
        out = outputs[name]
        if y.dtype.kind in "iu" and out.ndim > y.ndim:
            rows = out.reshape(-1, out.shape[-1])
        else:
            rows = out.reshape(-1, 1)
        scores.append(deviation_metrics(rows, y.reshape(-1)).score)
    return sum(scores) / len(scores)
