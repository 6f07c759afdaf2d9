"""The settings of a training as ``Network.train`` takes them: by name, with the document's as defaults.

Layer: nn. Invariant: a setting that is unknown, or would have no effect, is told before anything runs.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Protocol

from loom.core.errors import ArgumentError, near_matches
from loom.nn.base.elsewhere import name_here
from loom.nn.train.config import TrainConfig
from loom.nn.train.optimizers import Optimizer, optimizer_of
from loom.nn.train.schedules import Schedule, schedule_of

__all__ = ["Defaults", "config_of", "refuse_several"]

_OWN_SETTINGS = ("validation", "resume", "progress")
"""Those that ``train`` has besides ``TrainConfig``'s."""
_OF_SEVERAL = ("devices", "workers", "address", "audit")
"""Those of trainings by several devices or processes, which networks of documents have."""


class Defaults(Protocol):
    """What a network, or what else is trained, says of its trainings."""

    @property
    def seed(self) -> int:
        """The seed, if none is told."""
        ...

    @property
    def batch_size(self) -> int:
        """Samples of a batch, if they are not told; 1 for no opinion."""
        ...


def config_of(
    spec: Defaults, probabilities: bool | dict[str, bool], samples: Mapping[str, Any], optimizer: str | Optimizer,
    schedule: str | Schedule | None, settings: Mapping[str, Any],
) -> TrainConfig:  # fmt: skip
    """Return the config of a training with samples by input; ``probabilities``: what the network's outputs are."""
    known = list(TrainConfig.__dataclass_fields__)
    for key in settings:
        refuse_several(key, settings[key])
        if key not in known:
            raise ArgumentError("loom.Network.train", f"no setting is called {key!r}",
                                remedy=name_here(key) or near_matches(key, [*known, *_OWN_SETTINGS]))  # fmt: skip
    if "learning_rate" in settings and isinstance(schedule, Schedule):
        raise ArgumentError("train, learning_rate", "has no effect: the schedule has its own rates",
                            expected="a schedule's name, or no learning_rate", got=repr(schedule),
                            remedy="Give the schedule the rate and leave this out")  # fmt: skip
    if settings.get("probabilities", probabilities) != probabilities:
        raise ArgumentError("train, probabilities", "not what the network's output means", expected=probabilities,
                            got=settings["probabilities"], remedy="Leave it out: the last layers tell")  # fmt: skip
    given: dict[str, Any] = {"seed": spec.seed, "probabilities": probabilities}
    given |= {"batch_size": spec.batch_size} if spec.batch_size > 1 else {}
    given |= {**settings, "optimizer": optimizer_of(optimizer) if isinstance(optimizer, str) else optimizer}
    config = TrainConfig(**given)
    if isinstance(schedule, str):
        steps = math.ceil(math.ceil(_count(samples) / config.batch_size) / config.accumulate) * config.epochs
        schedule = schedule_of(schedule, config.learning_rate, steps)
    return config if schedule is None else replace(config, schedule=schedule)


def refuse_several(key: str, value: Any) -> None:
    """Raise ArgumentError if ``key`` is a setting of several workers: what is trained here has one device."""
    if key in _OF_SEVERAL:
        raise ArgumentError(f"train, {key}", "only networks of documents are trained by several devices or workers",
                            expected="the model's device alone", got=repr(value)[:200],
                            remedy=f"Leave {key} out")  # fmt: skip


def _count(given: Mapping[str, Any]) -> int:
    """Return how many samples are given; what is wrong with them is told by who reads them."""
    try:
        return len(next(iter(given.values())))
    except TypeError:
        return 1
