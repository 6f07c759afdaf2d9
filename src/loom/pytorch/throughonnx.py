"""Modules that ``torch.export`` cannot trace, through ONNX: PyTorch's older exporter, and ``loom.onnx``.

Layer: pytorch. That exporter runs the module once and notes what it did. Invariant: where a number that it saw decided
what the module did, it is refused: another input would go another way.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

from loom.onnx import OnnxModel
from loom.onnx import load as load_onnx
from loom.pytorch.exporting import NotExported
from loom.pytorch.refusing import custom_functions, short
from loom.pytorch.surroundings import modes, quiet
from loom.pytorch.torchtypes import torch
from loom.runtime.port.device import Device

__all__ = ["through_onnx"]

_OPSET = 18


def through_onnx(
    module: Any, names: Sequence[str], args: tuple[Any, ...], kwargs: dict[str, Any], on: str | Device | None
) -> OnnxModel:
    """Return a module in eval mode as a model of ONNX, its lengths fixed; NotExported with the reason if it is none.

    Inputs have the ``names`` of forward's parameters, if each is a tensor.
    """
    are_tensors = not kwargs and len(args) <= len(names) and all(isinstance(a, torch.Tensor) for a in args)
    written = io.BytesIO()
    try:
        with modes(module, training=False), quiet() as seen:
            custom = custom_functions(module, args, kwargs)
            torch.onnx.export(
                module, args, written, kwargs=kwargs, dynamo=False, opset_version=_OPSET, do_constant_folding=False,
                input_names=list(names[: len(args)]) if are_tensors else None,
            )  # fmt: skip
        decided = [str(w.message) for w in seen if issubclass(w.category, torch.jit.TracerWarning)]
        if decided:
            raise NotExported(decided[0].split(".")[0])
        if custom:
            raise NotExported(f"{custom[0]} is an autograd.Function with a derivative of its own")
        return load_onnx(written.getvalue(), on=on)
    except NotExported:
        raise
    except Exception as error:  # whatever PyTorch, the module, or a package that is missing raises
        raise NotExported(short(error)) from error
