"""Adaptation: how a network that learns while it works gets over changes of its task.

Layer: nn. Invariant: in virtual time every result follows from documents, seeds and the cost model alone, to the bit.

Stability: lab.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

from loom.core.names import missing_name

_WHERE = {
    "AdaptationTracker": "tracker", "CostModel": "cost", "Costs": "cost", "LAYERS": "networks", "RealClock": "clock",
    "Settings": "suite", "TaskStream": "streams", "Trial": "trial", "VirtualClock": "clock", "document": "networks",
    "make_learner": "learners", "read_results": "report", "robustness": "report", "run_benchmark": "suite",
    "run_trial": "trial", "save_png": "report", "stream": "streams", "table": "report", "write_results": "report",
}  # fmt: skip
__all__ = list(_WHERE)


def __getattr__(name: str) -> Any:
    if name in _WHERE:
        return getattr(import_module(f"loom.nn.adapt.{_WHERE[name]}"), name)
    raise missing_name("loom.nn.adapt", name, __all__)
