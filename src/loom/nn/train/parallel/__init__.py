"""Training by several workers: micro-batches, the tree their sums are added by, and crews that share them out.

Layer: nn. Invariant: weights depend on the size of micro-batches, never on who computed which.
"""

from __future__ import annotations

from loom.nn.train.parallel.auditing import WrongWorkError
from loom.nn.train.parallel.choosing import opened_crew
from loom.nn.train.parallel.courses import checks_of
from loom.nn.train.parallel.crew import Crew, CrewPrograms, Replica, Worker, programs_for
from loom.nn.train.parallel.devices import DeviceCrew, crew_of
from loom.nn.train.parallel.messages import Change, CourseTold, MicroBatches, Recipe, TrainState
from loom.nn.train.parallel.pooled import PoolCrew
from loom.nn.train.parallel.programs import MicroPrograms
from loom.nn.train.parallel.replicas import PooledReplica
from loom.nn.train.parallel.tree import Sums, TreeNode, cover, join, root_of, share_out

__all__ = [
    "Change",
    "CourseTold",
    "Crew",
    "CrewPrograms",
    "DeviceCrew",
    "MicroBatches",
    "MicroPrograms",
    "PoolCrew",
    "PooledReplica",
    "Recipe",
    "Replica",
    "Sums",
    "TrainState",
    "TreeNode",
    "Worker",
    "WrongWorkError",
    "checks_of",
    "cover",
    "crew_of",
    "join",
    "opened_crew",
    "programs_for",
    "root_of",
    "share_out",
]  # fmt: skip
