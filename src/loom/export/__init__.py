"""``loom.export``: a network as a small library for other languages, which computes and trains to the same bits; and as
ONNX, which other runtimes compute.

Layer: export, beside flow and proof. A network is frozen (kernels, dispatches, one memory plan, weights), and written
as C tables around object files of one machine after the other. Invariant: no kernel, layer or layout is written twice:
an export is another device, whose memory is one block.

Stability: new.
"""

from loom.export.bindings import LANGUAGES, export_bindings
from loom.export.c import export_c
from loom.export.graphs import freeze_onnx
from loom.export.kernel import FrozenKernel, freeze_kernel
from loom.export.network import FrozenNetwork, freeze
from loom.export.onnx import OnnxExport, export_onnx, to_onnx
from loom.export.program import FrozenFunction, freeze_chain, freeze_program
from loom.export.trainingdata import export_samples
from loom.export.web import export_npm, export_wasm

__all__ = [
    "LANGUAGES",
    "FrozenFunction",
    "FrozenKernel",
    "FrozenNetwork",
    "OnnxExport",
    "export_bindings",
    "export_c",
    "export_npm",
    "export_onnx",
    "export_samples",
    "export_wasm",
    "freeze",
    "freeze_chain",
    "freeze_kernel",
    "freeze_onnx",
    "freeze_program",
    "to_onnx",
]
