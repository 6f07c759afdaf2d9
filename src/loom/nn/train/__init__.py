"""Training of networks: losses, optimisers, schedules, steps, checkpoints and measures.

Layer: nn. Invariant: a training step is one compiled program of ``loom.tensor``; after any number of steps the
weights have the same bits on every device and for any number of threads.

Stability: stable.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from loom.core.names import missing_name

if TYPE_CHECKING:
    from loom.nn.train.config import TrainConfig
    from loom.nn.train.datasets import token_windows
    from loom.nn.train.loop.history import History
    from loom.nn.train.loop.trainer import Progress, Trainer
    from loom.nn.train.losses import LOSSES, loss_of
    from loom.nn.train.optimizers import OPTIMIZERS, SGD, Adam, AdamW, Lion, Optimizer, RMSprop, optimizer_of
    from loom.nn.train.schedules import (
        SCHEDULES,
        Constant,
        Cosine,
        CosineWarmRestarts,
        Exponential,
        Linear,
        Polynomial,
        Schedule,
        Step,
        Warmup,
        schedule_of,
    )

_WHERE = {
    "config": "TrainConfig",
    "datasets": "token_windows",
    "loop.history": "History",
    "loop.trainer": "Progress Trainer",
    "losses": "LOSSES loss_of",
    "optimizers": "OPTIMIZERS SGD Adam AdamW Lion Optimizer RMSprop optimizer_of",
    "schedules": (
        "SCHEDULES Constant Cosine CosineWarmRestarts Exponential Linear Polynomial Schedule Step Warmup schedule_of"
    ),
}
__all__ = [
    "LOSSES", "OPTIMIZERS", "SCHEDULES", "SGD", "Adam", "AdamW", "Constant", "Cosine", "CosineWarmRestarts",
    "Exponential", "History", "Linear", "Lion", "Optimizer", "Polynomial", "Progress", "RMSprop", "Schedule", "Step",
    "TrainConfig", "Trainer", "Warmup", "loss_of", "optimizer_of", "schedule_of", "token_windows",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    for module, names in _WHERE.items():
        if name in names.split():
            return getattr(import_module(f"{__name__}.{module}"), name)
    raise missing_name(__name__, name, __all__)


def __dir__() -> list[str]:
    return sorted(__all__)
