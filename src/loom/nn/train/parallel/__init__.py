"""Training by several workers: micro-batches, the tree their sums are added by, and crews that share them out.

Layer: nn. Names are loaded when they are first used: most trainings have one device. Invariant: weights depend on the
size of micro-batches, never on who computed which.
"""

from importlib import import_module
from typing import Any

from loom.core.names import missing_name

_NAMES = {
    "choosing": "open_crew",
    "courses": "checks_of",
    "crew": "Crew CrewPrograms Replica Worker programs_for",
    "devices": "DeviceCrew crew_of",
    "messages": "Change CourseTold MicroBatches Recipe TrainState",
    "pooled": "PoolCrew",
    "programs": "MicroPrograms",
    "replicas": "PooledReplica",
    "tree": "Sums TreeNode cover join root_of share_out",
}
"""The names that each module gives."""


def __getattr__(name: str) -> Any:
    for module, names in _NAMES.items():
        if name in names.split():
            return getattr(import_module(f"loom.nn.train.parallel.{module}"), name)
    raise missing_name("loom.nn.train.parallel", name, " ".join(_NAMES.values()).split())
