"""Step mode: networks that advance tick by tick, every layer at once from the tick before.

Layer: nn. Invariant: a tick is one recorded program of the layers that ``loom.nn.layers`` records for ordinary passes.

Stability: lab.
"""

from loom.nn.step.generating import generate, sample
from loom.nn.step.gradients import Gradients, Past, record_gradient_now, record_gradient_then, rescale
from loom.nn.step.record import Tick, record_back, record_node, record_tick
from loom.nn.step.state import StepState
from loom.nn.step.wiring import Wiring

__all__ = [
    "Gradients", "Past", "StepState", "Tick", "Wiring", "generate", "record_back", "record_gradient_now",
    "record_gradient_then", "record_node", "record_tick", "rescale", "sample",
]  # fmt: skip
