"""Modules that ``torch.export`` cannot trace, through ONNX: PyTorch's older exporter, and ``loom.onnx``.

Layer: pytorch. That exporter runs the module once and notes what it did. Invariant: where a number that it saw decided
what the module did, it is refused: another input would go another way.
"""

from __future__ import annotations

import inspect
import io
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


def through_onnx(module: Any, args: tuple[Any, ...], kwargs: dict[str, Any], on: str | Device | None) -> OnnxModel:
    """Return a module in eval mode as a model of ONNX, its lengths fixed; NotExported with the reason if it is none."""
    written = io.BytesIO()
    try:
        with modes(module, training=False), quiet() as seen:
            custom = custom_functions(module, args, kwargs)
            torch.onnx.export(
                module, args, written, kwargs=kwargs, dynamo=False, opset_version=_OPSET, do_constant_folding=False,
                input_names=_names(module, args, kwargs),
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


def _names(module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[str] | None:
    """Return the names of forward's parameters, by which the model takes inputs, if each is a tensor."""
    told = inspect.signature(module.forward).parameters.values()
    names = [p.name for p in told if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    if kwargs or len(names) < len(args) or not all(isinstance(a, torch.Tensor) for a in args):
        return None
    return names[: len(args)]
