"""Schedulers of learning rates by the older names: ``create_cosine_scheduler``, ``get_scheduler_lr``, ...

Layer: flow, over ``loom.nn.train.schedules``. Invariant: rates are those of the schedules of ``loom.nn.train``, steps
count from 0.
"""

from __future__ import annotations

from loom.core.errors import ArgumentError
from loom.nn.train.scalars import real, whole
from loom.nn.train.schedules import (
    Constant,
    Cosine,
    CosineWarmRestarts,
    Exponential,
    Linear,
    Polynomial,
    Schedule,
    Step,
    Warmup,
)

__all__ = [
    "Scheduler", "create_constant_scheduler", "create_cosine_scheduler", "create_cosine_warm_restarts_scheduler",
    "create_exponential_decay_scheduler", "create_linear_decay_scheduler", "create_polynomial_decay_scheduler",
    "create_step_decay_scheduler", "create_warmup_scheduler", "free_scheduler", "get_scheduler_lr",
]  # fmt: skip


class Scheduler:
    """A schedule under its older name. ``schedule`` is what ``Network.train`` takes.

    >>> create_linear_decay_scheduler(1.0, 0.0, 4).get_lr(1)
    0.75
    """

    def __init__(self, schedule: Schedule, name: str) -> None:
        self.schedule, self._name = schedule, name

    def get_lr(self, step: int) -> float:
        """Return the rate of a step, counted from 0."""
        return self.schedule.at(whole("Scheduler.get_lr, step", step, least=0, most=2**63 - 1))

    def name(self) -> str:
        """Return the older name of its kind."""
        return self._name

    def free(self) -> None:
        """Do nothing: memory is given back when nobody holds it any more."""


def create_constant_scheduler(base_lr: float) -> Scheduler:
    """Return the same rate at every step."""
    return Scheduler(Constant(base_lr), "Constant")


def create_linear_decay_scheduler(start_lr: float, end_lr: float, total_steps: int) -> Scheduler:
    """Return rates on a line from one to the other, and that one after."""
    return Scheduler(Linear(start_lr, end_lr, total_steps), "LinearDecay")


def create_cosine_scheduler(start_lr: float, min_lr: float, total_steps: int) -> Scheduler:
    """Return rates that fall as half a cosine."""
    return Scheduler(Cosine(start_lr, total_steps, min_lr), "CosineAnnealing")


def create_cosine_warm_restarts_scheduler(start_lr: float, min_lr: float, period: int) -> Scheduler:
    """Return rates that fall as half a cosine, again in each period."""
    return Scheduler(CosineWarmRestarts(start_lr, period, min_lr), "CosineAnnealingWarmRestarts")


def create_exponential_decay_scheduler(start_lr: float, decay_rate: float = 0.96, decay_steps: int = 1000) -> Scheduler:
    """Return ``start_lr`` times ``decay_rate`` to the step over ``decay_steps``."""
    return Scheduler(Exponential(start_lr, decay_rate, decay_steps), "ExponentialDecay")


def create_step_decay_scheduler(start_lr: float, factor: float = 0.1, step_size: int = 10_000) -> Scheduler:
    """Return ``start_lr`` times ``factor`` for each whole ``step_size`` of steps."""
    return Scheduler(Step(start_lr, factor, step_size), "StepDecay")


def create_polynomial_decay_scheduler(
    start_lr: float, end_lr: float, total_steps: int, power: float = 1.0
) -> Scheduler:
    """Return rates that fall as a power of what is left of the steps."""
    return Scheduler(Polynomial(start_lr, end_lr, total_steps, power), "PolynomialDecay")


def create_warmup_scheduler(warmup_steps: int, start_lr: float, target_lr: float, after: Scheduler) -> Scheduler:
    """Return rates on a line up to ``target_lr``, then those of ``after``, whose first must be that."""
    inner = _scheduler(after, "create_warmup_scheduler, after")
    target_lr = real("create_warmup_scheduler, target_lr", target_lr)
    if inner.get_lr(0) != target_lr:
        raise ArgumentError("create_warmup_scheduler", "what comes after begins at another rate", expected=target_lr,
                            got=inner.get_lr(0), remedy="Let both be the same")  # fmt: skip
    return Scheduler(Warmup(inner.schedule, warmup_steps, start_lr), f"Warmup+{inner.name()}")


def get_scheduler_lr(scheduler: Scheduler, step: int) -> float:
    """Return a scheduler's rate of a step, counted from 0."""
    return _scheduler(scheduler, "get_scheduler_lr").get_lr(step)


def free_scheduler(scheduler: Scheduler) -> None:
    """Do nothing: memory is given back when nobody holds it any more."""
    _scheduler(scheduler, "free_scheduler").free()


def _scheduler(given: object, where: str) -> Scheduler:
    if not isinstance(given, Scheduler):
        raise ArgumentError(where, "not a scheduler", expected="what create_constant_scheduler or the like returned",
                            got=type(given).__name__, remedy="Make one with such a function")  # fmt: skip
    return given
