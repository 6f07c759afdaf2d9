"""What tweening is told: rates, bounds, thresholds, and what watches over it.

Layer: nn. Invariant: a setting that a mode does not read is refused if it is not the default: none is without effect.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import field, fields
from typing import Any

import numpy as np

from loom.core.dtype import DType
from loom.core.errors import ArgumentError, near_matches
from loom.core.given import is_list, is_mapping
from loom.core.late.dataclass import dataclass
from loom.nn.train.losses import Loss, loss_of
from loom.nn.train.optimizers import SGD, Optimizer
from loom.nn.train.scalars import flag, real, whole
from loom.nn.tween.modes import TweenMode

__all__ = ["LAYER_RATES", "TweenConfig", "config_of", "require_rate"]

LAYER_RATES: dict[str, float] = {
    "dense": 1.0, "stitch": 1.0, "conv1d": 0.1, "conv2d": 0.1, "rnn": 0.5, "lstm": 0.5, "gru": 0.5,
    "multi_head_attention": 0.2, "layer_norm": 0.1, "rms_norm": 0.1, "batch_norm": 0.1, "swiglu": 0.2,
    "embedding": 0.1, "kmeans": 0.1,
}  # fmt: skip
"""Type of layer -> what multiplies its rate."""

_INFINITE = float("inf")
_REALS: dict[str, tuple[float, float]] = {
    "momentum": (0.0, 1.0), "bias_multiplier": (0.0, _INFINITE), "weight_multiplier": (0.0, _INFINITE),
    "ignore_threshold": (0.0, _INFINITE), "tanh_clamp": (0.0, _INFINITE), "sigmoid_low": (0.0, 1.0),
    "sigmoid_high": (0.0, _INFINITE), "relu_clamp": (0.0, _INFINITE), "link_budget_scale": (0.0, 1.000001),
    "depth_scale": (1e-30, 1e6), "depth_cap": (1e-30, 1e30), "gradient_scale": (0.0, _INFINITE),
    "total_weight_threshold": (0.0, _INFINITE), "derivative_eps": (0.0, _INFINITE),
    "link_clip": (1e-30, _INFINITE), "update_clip": (1e-30, _INFINITE), "block_clip": (1e-30, _INFINITE),
    "lstm_gate_scale": (0.0, _INFINITE), "frontier_threshold": (0.0, _INFINITE), "guard_growth": (0.0, _INFINITE),
    "guard_limit": (0.0, _INFINITE), "guard_floor": (0.0, 1.000001), "guard_recovery": (1.0, _INFINITE),
    "prune_threshold": (0.0, _INFINITE), "early_stop_score": (0.0, _INFINITE),
}  # fmt: skip
_WHOLES = {
    "depth_linear_to": 0, "guard_baseline": 1, "prune_patience": 1, "prune_at_once": 1, "evaluate_every": 1, "ticks": 1,
}  # fmt: skip
_FLAGS = ("exact_links", "frontier", "guard", "prune")

_GAP = frozenset((TweenMode.TWEEN, TweenMode.STEP_TWEEN))
_CHAIN = frozenset((TweenMode.TWEEN_CHAIN, TweenMode.STEP_TWEEN_CHAIN))
_TWEEN = _GAP | _CHAIN
_READ_BY: dict[str, frozenset[TweenMode]] = {
    "loss": frozenset((TweenMode.NORMAL, TweenMode.STEP)), "optimizer": frozenset((TweenMode.NORMAL, TweenMode.STEP)),
    "layer_rates": _TWEEN, "momentum": _TWEEN, "exact_links": _TWEEN,
    "tanh_clamp": _TWEEN, "sigmoid_low": _TWEEN, "sigmoid_high": _TWEEN, "relu_clamp": _TWEEN,
    "frontier": _TWEEN, "frontier_threshold": _TWEEN, "link_clip": _TWEEN,
    "guard": _TWEEN, "prune": _TWEEN,
    "bias_multiplier": _GAP, "weight_multiplier": _GAP, "ignore_threshold": _GAP, "link_budget_scale": _GAP,
    "total_weight_threshold": _GAP,
    "depth_scale": _CHAIN, "depth_linear_to": _CHAIN, "depth_cap": _CHAIN, "gradient_scale": _CHAIN,
    "derivative_eps": _CHAIN, "update_clip": _CHAIN, "block_clip": _CHAIN, "lstm_gate_scale": _CHAIN,
    "ticks": frozenset(m for m in TweenMode if m.is_step),
}  # fmt: skip
"""Setting -> the modes that read it; those not here are read by all (in ``fit``)."""
_NEEDS = {
    "frontier_threshold": "frontier", "guard_baseline": "guard", "guard_growth": "guard", "guard_limit": "guard",
    "guard_cuts": "guard", "guard_runs": "guard", "guard_floor": "guard", "guard_recovery": "guard",
    "prune_threshold": "prune", "prune_patience": "prune", "prune_at_once": "prune",
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class TweenConfig:
    """How to tween. Numbers without units multiply or bound what the table of the guide calls by the same letters.

    Of back-propagation (``normal``, ``step``): ``loss`` (None: as ``Network.train`` chooses) and ``optimizer``.

    Of tweening: ``layer_rates`` by type of layer (those not told keep ``LAYER_RATES``); ``momentum`` of matrices;
    ``tanh_clamp``, ``sigmoid_low`` and ``sigmoid_high``, ``relu_clamp`` bound targets of layers that end with such a
    function; ``link_clip`` bounds what goes from layer to layer. ``exact_links``: every layer by its exact
    vector-Jacobian product, not by the older formulas of its type. ``frontier``: what lies below the first layer (from
    the output) whose link budget is under ``frontier_threshold`` is left as it is.

    Of ``tween_chain``: ``depth_scale`` to the power of the layers above, whose number counts by its logarithm beyond
    ``depth_linear_to``, at most ``depth_cap``; ``derivative_eps`` is added to derivatives that can vanish;
    ``update_clip`` bounds a change (``block_clip`` in lstm, swiglu and attention); ``lstm_gate_scale`` weighs each gate
    in what an lstm hands down; ``gradient_scale``: the share of the signal that makes targets, for link budgets.

    Of ``tween``: ``bias_multiplier``, ``weight_multiplier``; samples whose link budget is below ``ignore_threshold``
    leave a layer as it is; ``link_budget_scale``: how much the rate follows the budget; inputs whose weights'
    magnitudes sum up to at most ``total_weight_threshold`` get no target.

    ``guard``: the first ``guard_baseline`` gaps make a baseline; a gap above ``guard_growth`` times the one before, or
    ``guard_limit`` times the baseline, multiplies all rates by the first of ``guard_cuts``, by the second after
    ``guard_runs[0]`` such in a row, the third after ``guard_runs[1]``, down to ``guard_floor``; any other by
    ``guard_recovery``, up to 1.

    Of ``fit``: ``evaluate_every`` epochs it measures the score, keeps the best weights, and stops at
    ``early_stop_score``; ``prune``: a layer that keeps its shape and whose mean link budget stays below
    ``prune_threshold`` for ``prune_patience`` epochs is bypassed (``prune_at_once`` at a time from the input's side,
    never the first or last), after as many more removed; ``ticks`` of each batch that train, once it has come through.
    """

    loss: str | Loss | None = None
    optimizer: Optimizer = field(default_factory=SGD)
    layer_rates: Mapping[str, float] = field(default_factory=dict[str, float])
    momentum: float = 0.9
    bias_multiplier: float = 0.1
    weight_multiplier: float = 0.01
    ignore_threshold: float = 0.2
    tanh_clamp: float = 0.95
    sigmoid_low: float = 0.05
    sigmoid_high: float = 0.95
    relu_clamp: float = 10.0
    link_budget_scale: float = 0.5
    depth_scale: float = 1.2
    depth_linear_to: int = 10
    depth_cap: float = 100.0
    gradient_scale: float = 0.1
    total_weight_threshold: float = 0.01
    derivative_eps: float = 0.01
    link_clip: float = 10.0
    update_clip: float = 1.0
    block_clip: float = 0.5
    lstm_gate_scale: float = 0.25
    exact_links: bool = False
    frontier: bool = False
    frontier_threshold: float = 0.55
    guard: bool = False
    guard_baseline: int = 10
    guard_growth: float = 1.5
    guard_limit: float = 10.0
    guard_cuts: tuple[float, float, float] = (0.7, 0.5, 0.3)
    guard_runs: tuple[int, int] = (5, 10)
    guard_floor: float = 0.01
    guard_recovery: float = 1.05
    prune: bool = False
    prune_threshold: float = 0.1
    prune_patience: int = 10
    prune_at_once: int = 3
    early_stop_score: float = 95.0
    evaluate_every: int = 5
    ticks: int = 1

    def __post_init__(self) -> None:
        for name, (least, below) in _REALS.items():
            self._keep(name, float(real(_at(name), getattr(self, name), least=least, below=below)))
        for name, least in _WHOLES.items():
            self._keep(name, whole(_at(name), getattr(self, name), least=least))
        for name in _FLAGS:
            self._keep(name, flag(_at(name), getattr(self, name)))
        self._keep("layer_rates", _rates(self.layer_rates))
        self._keep("guard_cuts", _numbers("guard_cuts", self.guard_cuts, 3))
        runs = _numbers("guard_runs", self.guard_runs, 2)
        self._keep("guard_runs", tuple(whole(_at("guard_runs"), n, least=1) for n in runs))
        if max(self.guard_cuts) > 1 or self.guard_runs[0] > self.guard_runs[1]:
            raise ArgumentError(_at("guard_cuts"), "the guard would not cut more the longer gaps grow",
                                expected="factors of at most 1, and runs that do not fall",
                                got=f"{self.guard_cuts}, {self.guard_runs}", remedy="Correct them")  # fmt: skip
        if self.sigmoid_low > self.sigmoid_high:
            raise ArgumentError(_at("sigmoid_low"), "above sigmoid_high", expected=f"at most {self.sigmoid_high:g}",
                                got=self.sigmoid_low, remedy="Correct one of them")  # fmt: skip
        if not isinstance(self.optimizer, Optimizer):  # pyright: ignore[reportUnnecessaryIsInstance] - users pass anything
            raise ArgumentError(_at("optimizer"), "not usable", expected="an optimiser, for example Adam()",
                                got=repr(self.optimizer), remedy="Make one of loom.nn.train")  # fmt: skip
        if not (self.loss is None or callable(self.loss) or is_mapping(self.loss)):
            loss_of(self.loss)
        self._require_needed()

    def _keep(self, name: str, value: object) -> None:
        object.__setattr__(self, name, value)

    def _require_needed(self) -> None:
        for name in self.changed:
            switch = _NEEDS.get(name)
            if switch and not getattr(self, switch):
                raise ArgumentError(_at(name), "has no effect alone", expected=f"{switch}=True as well",
                                    got=f"{switch}=False", remedy=f"Pass {switch}=True, or leave it out")  # fmt: skip

    @property
    def changed(self) -> tuple[str, ...]:
        """Names of the settings that are not the default."""
        plain: dict[str, Any] = {f.name: f.default for f in fields(self)}
        plain |= {"optimizer": SGD(), "layer_rates": dict[str, float]()}
        return tuple(name for name, default in plain.items() if getattr(self, name) != default)

    def require_read(self, mode: TweenMode) -> None:
        """See that a mode reads all that was set.

        Args:
            mode: Mode.

        Raises:
            ArgumentError: A setting has no effect in the mode.
        """
        for name in self.changed:
            readers = _READ_BY.get(_NEEDS.get(name, name), frozenset(TweenMode))
            if mode not in readers:
                raise ArgumentError(_at(name), f"has no effect in the mode '{mode.value}'",
                                    expected=" or ".join(sorted(m.value for m in readers)), got=mode.value,
                                    remedy=f"Leave {name} out, or choose another mode")  # fmt: skip

    def require_fit(self, number: DType) -> None:
        """See that no setting is too large for a type.

        Args:
            number: Float dtype that is computed with.

        Raises:
            ArgumentError: A setting is too large for it.
        """
        most = float(np.finfo(number.numpy).max)
        told = {n: getattr(self, n) for n in _REALS if n not in ("early_stop_score", "prune_threshold")}
        told |= {f"layer_rates, {kind!r}": rate for kind, rate in self.layer_rates.items()}
        for name, value in told.items():
            if value > most:
                raise ArgumentError(_at(name), f"too large for {number}", expected=f"at most {most:g}", got=value,
                                    remedy="Lower it, or build the network with dtype f64")  # fmt: skip

    @property
    def new_share(self) -> float:
        """What a move has of a velocity: the rest of the momentum."""
        return 1 - self.momentum

    def rate_of(self, kind: str) -> float:
        """Return the factor of the rate of a type of layer: 1 of those without weights of their own.

        Args:
            kind: Type of the layer.
        """
        return self.layer_rates.get(kind, LAYER_RATES.get(kind, 1.0))

    def depth(self, above: int) -> float:
        """Return the factor D of a layer by the layers above it.

        Args:
            above: Number of them.

        >>> TweenConfig().depth(0), round(TweenConfig().depth(2), 6)
        (1.0, 1.44)
        """
        most = self.depth_linear_to
        power = above if above <= most else most + math.log(above - most + 1)
        most = math.log(self.depth_cap)
        return self.depth_cap if power * math.log(self.depth_scale) > most + 1 else min(
            self.depth_cap, self.depth_scale**power)  # fmt: skip


def config_of(config: Any) -> TweenConfig:
    """Return the config of a state, the default for None; ArgumentError for what is none."""
    if config is None:
        return TweenConfig()
    if not isinstance(config, TweenConfig):
        raise ArgumentError("tween, config", "not usable", expected="a TweenConfig", got=type(config).__name__,
                            remedy="Write TweenConfig(momentum=0.5)")  # fmt: skip
    return config


def require_rate(rate: float, number: DType) -> None:
    """See that a rate is not too large for ``number``; ArgumentError else."""
    most = float(np.finfo(number.numpy).max)
    if rate > most:
        raise ArgumentError("tween, rate", f"too large for {number}", expected=f"at most {most:g}", got=rate,
                            remedy="Lower it")  # fmt: skip


def _at(name: str) -> str:
    return f"tween, {name}"


def _rates(given: Any) -> dict[str, float]:
    if not is_mapping(given):
        raise ArgumentError(_at("layer_rates"), "no rates by type of layer", expected="a mapping", got=repr(given)[:80],
                            remedy="Write {'dense': 1.0}")  # fmt: skip
    for kind in given:
        if kind not in LAYER_RATES:
            raise ArgumentError(_at("layer_rates"), f"no layer with weights is of type {kind!r}",
                                expected=", ".join(LAYER_RATES),
                                remedy=near_matches(str(kind), LAYER_RATES))  # fmt: skip
    return {kind: float(real(_at(f"layer_rates, {kind!r}"), value)) for kind, value in given.items()}


def _numbers(name: str, given: Any, count: int) -> tuple[Any, ...]:
    if not is_list(given) or len(given) != count:
        raise ArgumentError(_at(name), "not usable", expected=f"{count} numbers", got=repr(given)[:80],
                            remedy="Correct it")  # fmt: skip
    return tuple(real(_at(name), value) for value in given)
