"""Models of torch written as ONNX by its own exporters, in memory."""

from __future__ import annotations

import io
import warnings
from typing import Any

__all__ = ["exported"]


def exported(module: Any, example: Any, *, training: bool = False, dynamic: Any = None, fold: bool = False) -> bytes:
    """Return what torch's exporter writes of a module, whose parameters keep their names."""
    import torch

    file = io.BytesIO()
    mode = torch.onnx.TrainingMode.TRAINING if training else torch.onnx.TrainingMode.EVAL
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's, of exporters to come
        torch.onnx.export(
            module, example, file, training=mode, do_constant_folding=fold, dynamo=False, opset_version=17,
            input_names=["x"], output_names=["y"], dynamic_axes=dynamic or {"x": {0: "n"}, "y": {0: "n"}},
        )  # fmt: skip
    return file.getvalue()
