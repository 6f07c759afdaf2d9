"""The benchmark: modes x architectures x types x noise over seeds, row by row.

Layer: nn. Each row is independent of all others. Invariant: in virtual time what it returns follows from the settings
alone; the device's name is no part of it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import field
from itertools import product
from typing import Any

from loom.core.errors import ArgumentError
from loom.core.given import flag, is_mapping, items, one_of
from loom.core.late.dataclass import dataclass
from loom.core.numbers import real, whole
from loom.nn.adapt.cost import CostModel, Costs
from loom.nn.adapt.learner import BLOCK, Learner
from loom.nn.adapt.learners import make_learner, require_rule
from loom.nn.adapt.networks import AGENTS, LAYERS, document
from loom.nn.adapt.rates import rate_of
from loom.nn.adapt.streams import WORLDS, stream
from loom.nn.adapt.trial import ADAPTING_MS, DEADLINE_MS, Trial, run_trial
from loom.nn.integer.record import BITS
from loom.nn.spec import parse
from loom.nn.tween import TweenMode, mode_of
from loom.nn.weights.model import Model

__all__ = ["MEASURES", "TYPES", "VERSION", "Settings", "run_benchmark"]

VERSION = 1
"""Of the JSON."""
MODES = tuple(m.value for m in TweenMode)
TYPES = ("f32", "f64", "f16", "bf16", *BITS)
MEASURES = (
    "accuracy", "each", "throughput", "availability", "learning", "longest_gap_ms", "recovered", "recovery_ms",
    "adapting", "lowest", "score",
)  # fmt: skip
"""What is measured of each run, as ``Trial`` has it."""
_WARM_MS = 100
_RANGES = {
    "seeds": (1, 1_000_000), "first_seed": (0, 1 << 62), "total_ms": (1, 10_000_000), "window_ms": (1, 10_000_000),
    "changes": (0, 1000), "block": (1, 100_000),
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What is run.

    ``seeds``: how many, from ``first_seed`` on; ``modes``: of ``TweenMode``; ``layers``: architectures of ``LAYERS``,
    or "agents"; ``types``: of weights and arithmetic; ``worlds`` of the streams; ``noise``: deviations of what is added
    to observations. A stream lasts ``total_ms`` with ``changes`` of the task; ``window_ms``: of the tracker.
    ``block``: answers that a mode without ticks collects before it learns. ``rates``: mode -> learning rate, in place
    of the tuned ones. ``real_time``: by the machine's clock, else by ``cost``. ArgumentError for what is unknown or
    out of range.

    Args:
        seeds: Number of seeds, from 1 to 1,000,000.
        first_seed: First of them.
        modes: Names of modes of ``TweenMode``.
        layers: Names of architectures of ``LAYERS``, or "agents".
        types: Types of weights and arithmetic.
        worlds: Names of the streams' worlds.
        noise: Deviations of what is added to observations, from 0 to 10^6.
        total_ms: Milliseconds of a stream.
        window_ms: Milliseconds of a window.
        changes: Changes of the task, fewer than milliseconds.
        block: Answers that a mode without ticks collects before it learns.
        rates: Learning rates by mode, in place of the tuned ones.
        real_time: Whether the machine's clock counts, else ``cost``.
        cost: Cost model of virtual time.

    Raises:
        ArgumentError: A name that there is not; a number out of range; a type or an architecture that a mode has no
            rule for, or whose operations have no cost.
    """

    seeds: int = 100
    first_seed: int = 0
    modes: Sequence[str] = MODES
    layers: Sequence[str] = (*LAYERS, "agents")
    types: Sequence[str] = ("f32",)
    worlds: Sequence[str] = WORLDS
    noise: Sequence[float] = (0.0,)
    total_ms: int = 3000
    window_ms: int = 50
    changes: int = 2
    block: int = BLOCK
    rates: Mapping[str, float] = field(default_factory=dict[str, float])
    real_time: bool = False
    cost: CostModel = field(default_factory=CostModel)

    def __post_init__(self) -> None:
        for name, (least, most) in _RANGES.items():
            self._keep(name, whole(getattr(self, name), _at(name), least=least, most=most))
        self._keep("modes", _several("modes", self.modes, lambda m: mode_of(m, _at("modes")).value))
        for name, known in (("layers", (*LAYERS, "agents")), ("types", TYPES), ("worlds", WORLDS)):
            self._keep(name, _several(name, getattr(self, name), lambda v, k=known, n=name: one_of(v, _at(n), k)))
        self._keep("noise", _several("noise", self.noise, lambda v: float(real(v, _at("noise"), least=0.0, most=1e6))))
        self._keep("real_time", flag(self.real_time, _at("real_time")))
        if self.changes >= self.total_ms:
            raise ArgumentError(_at("changes"), "more changes than milliseconds", expected=f"below {self.total_ms}",
                                got=self.changes, remedy="Change less often, or for longer")  # fmt: skip
        if not is_mapping(self.rates) or not isinstance(self.cost, CostModel):
            raise ArgumentError(_at("rates, cost"), "not usable", expected="a dict and a CostModel",
                                got=f"{self.rates!r}, {self.cost!r}"[:120], remedy="Correct them")  # fmt: skip
        rates = {mode_of(m, _at("rates")).value: float(real(r, _at("rates"), least=0.0)) for m, r in self.rates.items()}
        if len(rates) < len(self.rates):
            raise ArgumentError(_at("rates"), "a mode is named twice", expected="one rate for each",
                                got=dict(self.rates), remedy="Leave one out")  # fmt: skip
        self._keep("rates", rates)
        self._require_rules()

    def _require_rules(self) -> None:
        """See that all rows can be run, before the first one is."""
        for mode, dtype in product(self.modes, self.types):
            require_rule(mode_of(mode), dtype)
        for dtype, layers in product(self.types, self.layers):
            require_rule(TweenMode.NORMAL, dtype, layers)
            if not self.real_time:
                self.cost.require_cost(dtype)

    def _keep(self, name: str, value: object) -> None:
        object.__setattr__(self, name, value)

    def rows(self) -> Iterator[dict[str, Any]]:
        """Yield what tells each row from the others, in their order."""
        for world, layers, dtype, noise, mode in product(
            self.worlds, self.layers, self.types, self.noise, self.modes
        ):  # fmt: skip
            yield {"world": world, "layers": layers, "type": dtype, "noise": noise, "mode": mode}

    def facts(self) -> dict[str, Any]:
        """Return what rows of two benchmarks must have in common to stand in one table."""
        names = ("seeds", "first_seed", "total_ms", "window_ms", "changes", "block", "rates", "real_time")
        return {n: getattr(self, n) for n in names} | {
            "deadline_ms": DEADLINE_MS, "adapting_ms": ADAPTING_MS, "cost": self.cost.to_dict()
        }  # fmt: skip


def run_benchmark(
    settings: Settings, *, device: str | None = None, done: Sequence[Mapping[str, Any]] = (),
    report: Callable[[dict[str, Any]], None] | None = None,
) -> dict[str, Any]:  # fmt: skip
    """Run all rows and return the results, as JSON can hold them: ``settings`` and ``rows``.

    A row tells its ``world``, ``layers``, ``type``, ``noise`` and ``mode``, its learning ``rate``, ``delay`` (how many
    observations ago an answer's was), ``answer_ns`` and ``learn_ns`` (virtual time), ``refused`` updates, of each of
    ``MEASURES`` the ``mean`` and ``std`` over seeds (of a sample; ``count`` is that of seeds which had one), and
    ``windows``: the mean accuracy of each window over the seeds that answered in it (None: none did). Rows ``done``
    that were not asked for are left out.

    Args:
        settings: Settings: worlds, architectures, types, modes, seeds and times.
        device: Name of the device; None: the default device.
        done: Rows of an earlier benchmark of the same ``settings.facts()``, which are not run again.
        report: Function of the results, called after each row, so that what is done can be kept; None: none.

    Returns:
        Results, as JSON can hold them: ``settings`` and ``rows``.

    Raises:
        DeviceError: There is no such device.
    """
    known = {_key(row): dict(row) for row in done}
    result: dict[str, Any] = {"benchmark": "adapt", "version": VERSION, "settings": settings.facts(), "rows": []}
    for facts in settings.rows():
        row = known.get(_key(facts)) or facts | _row(settings, facts, device)
        result["rows"].append(row)
        if report is not None:
            report(result)
    return result


def _key(row: Mapping[str, Any]) -> tuple[Any, ...]:
    return tuple(row[n] for n in ("world", "layers", "type", "noise", "mode"))


def _row(settings: Settings, facts: Mapping[str, Any], device: str | None) -> dict[str, Any]:
    mode, layers, dtype = mode_of(facts["mode"]), facts["layers"], facts["type"]
    rate = settings.rates.get(mode.value, rate_of(mode, layers))
    learner = make_learner(layers, mode, dtype, rate, device, block=settings.block)
    costs = None
    if not settings.real_time:
        costs = settings.cost.of(layers, mode, dtype, batch=learner.block, parts=learner.parts)
    else:
        _run(settings, facts, learner, Costs(1_000_000, 0), 0, total_ms=_WARM_MS)  # compiles what it needs
    runs = [
        _run(settings, facts, learner, costs, seed)
        for seed in range(settings.first_seed, settings.first_seed + settings.seeds)
    ]
    spent = {} if costs is None else {"answer_ns": costs.answer, "learn_ns": costs.learn}
    measured = {name: _statistics([getattr(r, name) for r in runs]) for name in MEASURES}
    windows = [[r.tracked["windows"][k] for r in runs] for k in range(len(runs[0].tracked["windows"]))]
    return {"rate": rate, "delay": learner.delay, **spent, "refused": sum(r.refused for r in runs), **measured,
            "windows": [_mean([w["accuracy"] for w in found if w["outputs"]]) for found in windows]}  # fmt: skip


def _run(
    settings: Settings, facts: Mapping[str, Any], learner: Learner, costs: Costs | None, seed: int,
    total_ms: int | None = None,
) -> Trial:  # fmt: skip
    layers, spec = facts["layers"], parse(document(facts["layers"], _weights_type(facts["type"]), seed))
    learner.start(Model(spec, "cpu").weights())
    seen = stream(
        facts["world"], seed, total_ms or settings.total_ms, noise=facts["noise"],
        agents=AGENTS if layers == "agents" else 1, changes=settings.changes if total_ms is None else 0,
    )  # fmt: skip
    return run_trial(learner, seen, costs, window_ms=settings.window_ms, name=layers, mode=facts["mode"])


def _weights_type(dtype: str) -> str:
    """Return the type of first weights: integers are made of floats."""
    return "f32" if dtype in BITS else dtype


def _mean(values: Sequence[float]) -> float | None:
    return math.fsum(values) / len(values) if values else None


def _statistics(values: Sequence[float | None]) -> dict[str, Any]:
    """Return mean and deviation (of a sample) of those that there are, and how many they are."""
    found = [v for v in values if v is not None]
    mean = _mean(found)
    if mean is None:
        return {"mean": None, "std": None, "count": 0}
    spread = math.fsum((v - mean) ** 2 for v in found)
    return {"mean": mean, "std": math.sqrt(spread / (len(found) - 1)) if len(found) > 1 else 0.0, "count": len(found)}


def _at(name: str) -> str:
    return f"loom bench adapt, {name}"


def _several(name: str, given: Any, read: Callable[[Any], Any]) -> tuple[Any, ...]:
    """Return settings, each read once; ArgumentError for none and for one twice."""
    found = tuple(read(v) for v in items(given, _at(name), name))
    if not found or len(set(found)) != len(found):
        raise ArgumentError(_at(name), "not usable", expected="at least one, none twice", got=list(found),
                            remedy="Correct the list")  # fmt: skip
    return found
