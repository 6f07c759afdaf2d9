"""Schedules: the learning rate of each step, counted from 0.

Layer: nn. Rates are doubles, made by +, -, * and / in numpy, cosines by ``core.turns`` and powers by ``decimal``, whose
exp and ln are correctly rounded; the trainer rounds them once, to f32, unless the network is of f64. Invariant: no rate
depends on the host's libm.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import fields
from decimal import Decimal, localcontext
from numbers import Integral

import numpy as np

from loom.core.arrays import Array
from loom.core.errors import ArgumentError, near_matches
from loom.core.late.dataclass import dataclass
from loom.core.turns import cos_sin_of_ratio
from loom.nn.train.scalars import real

__all__ = [
    "SCHEDULES", "Constant", "Cosine", "CosineWarmRestarts", "Exponential", "Linear", "Polynomial", "Schedule", "Step",
    "Warmup", "schedule_of",
]  # fmt: skip

Numbers = Array
_DIGITS = 40


@dataclass(frozen=True, slots=True)
class Schedule(ABC):
    """Base of the schedules."""

    def __post_init__(self) -> None:
        where = f"train, {type(self).__name__}"
        for field in fields(self):
            value, name = getattr(self, field.name), field.name
            if name == "after":
                continue
            if name not in _COUNTS:
                kept = real(where, value, what=f"{name} is out of range")
            elif isinstance(value, Integral) and not isinstance(value, bool) and int(value) >= 1:
                kept = int(value)
            else:
                raise ArgumentError(where, f"{name} is no number of steps", expected="an int of at least 1",
                                    got=repr(value), remedy="Correct it")  # fmt: skip
            object.__setattr__(self, name, kept)

    @abstractmethod
    def rates(self, steps: Numbers) -> Numbers:
        """Return the rates of steps.

        Args:
            steps: Numbers of steps from 0, i64.

        Returns:
            Array of f64, one for each.
        """

    def at(self, step: int) -> float:
        """Return the rate of one step.

        Args:
            step: Number of the step, from 0.
        """
        return float(self.rates(np.array([step], np.int64))[0])


_COUNTS = ("steps", "period", "every", "decay_steps")


def _power(base: float, exponents: Numbers) -> Numbers:
    """Return ``base`` to exponents, by decimals of 40 digits rounded once."""
    if base == 0.0:
        return np.where(exponents == 0, 1.0, 0.0)
    with localcontext() as context:
        context.prec = _DIGITS
        logarithm = Decimal(base).ln()
        return np.array([float((Decimal(float(e)) * logarithm).exp()) for e in exponents], np.float64)


def _fraction(steps: Numbers, whole: int) -> Numbers:
    return np.minimum(steps, whole).astype(np.float64) / float(whole)


@dataclass(frozen=True, slots=True)
class Constant(Schedule):
    """The same rate at every step.

    Args:
        rate: Rate of every step.

    Raises:
        ArgumentError: A number is out of range.
    """

    rate: float

    def rates(self, steps: Numbers) -> Numbers:
        """Return the rates of steps."""
        return np.full(len(steps), float(self.rate))


@dataclass(frozen=True, slots=True)
class Linear(Schedule):
    """From ``rate`` to ``end`` in ``steps``: a + (b - a) s / N, then b.

    Args:
        rate: Rate of the first step.
        end: Rate after ``steps``.
        steps: Steps from the one to the other.

    Raises:
        ArgumentError: A number is out of range.
    """

    rate: float
    end: float
    steps: int

    def rates(self, steps: Numbers) -> Numbers:
        """Return the rates of steps."""
        found = self.rate + (self.end - self.rate) * _fraction(steps, self.steps)
        return np.where(steps >= self.steps, float(self.end), found)


@dataclass(frozen=True, slots=True)
class Cosine(Schedule):
    """Half a wave from ``rate`` down to ``least``: m + (a - m) (1 + cos(pi s / N)) / 2, then m.

    Args:
        rate: Rate of the first step.
        steps: Steps of the half wave.
        least: Rate of the last step.

    Raises:
        ArgumentError: A number is out of range.

    Source: I. Loshchilov and F. Hutter, "SGDR" (2017), equation 5.
    """

    rate: float
    steps: int
    least: float = 0.0

    def rates(self, steps: Numbers) -> Numbers:
        """Return the rates of steps."""
        cosine, _ = cos_sin_of_ratio(np.minimum(steps, self.steps), 2 * self.steps)
        return self.least + (self.rate - self.least) * ((1.0 + cosine) / 2.0)


@dataclass(frozen=True, slots=True)
class CosineWarmRestarts(Schedule):
    """``Cosine`` begun anew every ``period`` steps.

    Args:
        rate: Rate of the first step.
        period: Steps of each half wave.
        least: Rate at the end of each.

    Raises:
        ArgumentError: A number is out of range.
    """

    rate: float
    period: int
    least: float = 0.0

    def rates(self, steps: Numbers) -> Numbers:
        """Return the rates of steps."""
        return Cosine(self.rate, self.period, self.least).rates(steps % self.period)


@dataclass(frozen=True, slots=True)
class Exponential(Schedule):
    """``rate`` times ``factor`` to the power s / ``decay_steps``, at step s.

    Args:
        rate: Rate of the first step.
        factor: Number that ``decay_steps`` steps multiply the rate by.
        decay_steps: Steps of one such factor.

    Raises:
        ArgumentError: A number is out of range.
    """

    rate: float
    factor: float = 0.96
    decay_steps: int = 1000

    def rates(self, steps: Numbers) -> Numbers:
        """Return the rates of steps."""
        return self.rate * _power(self.factor, steps.astype(np.float64) / float(self.decay_steps))


@dataclass(frozen=True, slots=True)
class Step(Schedule):
    """a r^(s // K): times ``factor`` every ``every`` steps.

    Args:
        rate: Rate of the first step.
        factor: Number that the rate is multiplied by.
        every: Steps between two such.

    Raises:
        ArgumentError: A number is out of range.
    """

    rate: float
    factor: float = 0.1
    every: int = 10_000

    def rates(self, steps: Numbers) -> Numbers:
        """Return the rates of steps."""
        return self.rate * _power(self.factor, (steps // self.every).astype(np.float64))


@dataclass(frozen=True, slots=True)
class Polynomial(Schedule):
    """From ``rate`` to ``end`` in ``steps``: (a - b) (1 - s / N)^p + b, then b.

    Args:
        rate: Rate of the first step.
        end: Rate after ``steps``.
        steps: Steps from the one to the other.
        power: Exponent p.

    Raises:
        ArgumentError: A number is out of range.
    """

    rate: float
    end: float
    steps: int
    power: float = 1.0

    def rates(self, steps: Numbers) -> Numbers:
        """Return the rates of steps."""
        left = 1.0 - _fraction(steps, self.steps)
        powers = [float(_power(x, np.array([self.power]))[0]) for x in left.tolist()]
        found = (self.rate - self.end) * np.array(powers, np.float64) + self.end
        return np.where(steps >= self.steps, float(self.end), found)


@dataclass(frozen=True, slots=True)
class Warmup(Schedule):
    """From ``start`` up to the first rate of ``after`` in ``steps``, then ``after`` from its step 0.

    Args:
        after: Schedule that follows.
        steps: Steps of the rise.
        start: Rate of the first step.

    Raises:
        ArgumentError: A number is out of range; ``after`` is no schedule.
    """

    after: Schedule
    steps: int
    start: float = 0.0

    def __post_init__(self) -> None:
        Schedule.__post_init__(self)
        if not isinstance(self.after, Schedule):
            raise ArgumentError("train, Warmup", "after is no schedule", expected="a schedule, as Constant(0.1)",
                                got=repr(self.after), remedy="Correct it")  # fmt: skip

    def rates(self, steps: Numbers) -> Numbers:
        """Return the rates of steps."""
        rising = self.start + (self.after.at(0) - self.start) * _fraction(steps, self.steps)
        return np.where(steps < self.steps, rising, self.after.rates(np.maximum(steps - self.steps, 0)))


SCHEDULES = ("constant", "linear", "cosine", "cosine_warm_restarts", "exponential", "step", "polynomial", "warmup")


def schedule_of(name: str, rate: float, steps: int) -> Schedule:
    """Return the schedule of a name.

    ``linear``, ``polynomial`` (power 1) and ``exponential`` end at 1 % of the rate; ``step`` divides it by 10 after
    each third; ``warmup`` rises for a tenth of the steps, then is constant; ``cosine_warm_restarts`` begins anew four
    times.

    Args:
        name: Name, in capitals or not.
        rate: Learning rate.
        steps: Steps of the training.

    Raises:
        ArgumentError: No schedule is called so; the rate is out of range.

    >>> schedule_of("linear", 1.0, 100).at(50)
    0.505
    """
    steps = max(steps, 1)
    made: dict[str, Schedule] = {
        "constant": Constant(rate),
        "linear": Linear(rate, 0.01 * rate, steps),
        "cosine": Cosine(rate, steps),
        "cosine_warm_restarts": CosineWarmRestarts(rate, max(1, steps // 4)),
        "exponential": Exponential(rate, 0.01, steps),
        "step": Step(rate, 0.1, max(1, -(-steps // 3))),
        "polynomial": Polynomial(rate, 0.01 * rate, steps),
        "warmup": Warmup(Constant(rate), max(1, steps // 10)),
    }
    name = name.lower()
    if name not in made:
        raise ArgumentError("train, schedule", f"no schedule is called {name!r}", remedy=near_matches(name, made))
    return made[name]
