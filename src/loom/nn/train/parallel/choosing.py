"""Who trains: this process with one device or several, or workers of a pool.

Layer: nn. Invariant: an argument that would have no effect is refused before anything is started.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

from loom.core.errors import ArgumentError
from loom.nn.train.config import TrainConfig
from loom.nn.train.parallel.crew import Crew, require_micro_batch
from loom.nn.train.parallel.devices import crew_of
from loom.nn.train.parallel.pooled import PoolCrew
from loom.nn.weights.model import Model
from loom.workers.opening import open_pool

__all__ = ["open_crew"]


@contextmanager
def open_crew(
    devices: Any, workers: Any, address: str | None, audit: float | None, config: TrainConfig, model: Model
) -> Generator[Crew | None, None, None]:
    """Give the crew of a training, None for the model's device alone; a pool opened for it is closed in the end."""
    if workers is None:
        for name, value in (("address", address), ("audit", audit)):
            if value is not None:
                raise ArgumentError(f"train, {name}", "has no effect alone", expected="workers=... as well",
                                    got="no workers", remedy=f"Pass workers, or leave {name} out")  # fmt: skip
        yield crew_of(devices, config, model)
        return
    if devices is not None:
        raise ArgumentError("train, workers", "devices are of this process, workers of others", expected="one of them",
                            got="both", remedy='Name the workers\' devices: workers=["cpu", "vulkan"]')  # fmt: skip
    require_micro_batch(config)
    with open_pool(workers, address, audit, "train", device=model.device.name, seed=config.seed) as pool:
        yield PoolCrew(pool)
