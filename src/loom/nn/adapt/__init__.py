"""Adaptation: how a network that learns while it works gets over changes of its task.

Layer: nn. Invariant: in virtual time every result follows from documents, seeds and the cost model alone, to the bit.
"""

from loom.nn.adapt.clock import RealClock, VirtualClock
from loom.nn.adapt.streams import TaskStream, stream
from loom.nn.adapt.tracker import AdaptationTracker

__all__ = ["AdaptationTracker", "RealClock", "TaskStream", "VirtualClock", "stream"]
