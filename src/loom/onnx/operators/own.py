"""Functions of the domain ``loom``: what Loom itself wrote, computed as it computes it.

Layer: onnx. Invariant: entered for those alone whose body in the model is Loom's (``loom.onnx.functions``).
"""

from __future__ import annotations

from loom import tensor as lt
from loom.onnx.functions import BODIES, DOMAIN
from loom.onnx.registry import Made, NodeCall, operator

__all__: list[str] = []


@operator(*(name for name in BODIES if name != "matmul"), domain=DOMAIN)
def _elementwise(call: NodeCall) -> Made:
    first, *others = call.tensors()
    return first.map(call.name, *others)


@operator("matmul", domain=DOMAIN)
def _matmul(call: NodeCall) -> Made:
    return lt.matmul(call.tensor(0), call.tensor(1), precision=call.text("precision", "full"))
