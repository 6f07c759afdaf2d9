"""Imported modules as files, and files of weights: safetensors, and PyTorch's own read as weights alone.

Layer: pytorch. Invariant: reading a file runs no code of it; a saved model needs no PyTorch to run and to train.
"""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import numpy as np

from loom.core.arrays import Array
from loom.core.conversions import widen
from loom.core.errors import ArgumentError, FileError
from loom.core.given import path as path_of
from loom.core.optional import require
from loom.formats.file_writes import path_to_write, write_file
from loom.formats.safetensors import SealedParts, is_safetensors
from loom.formats.stored_weights import read_tensors, write_stored
from loom.formats.whole_files import file_bytes
from loom.pytorch.structure import to_json
from loom.pytorch.torchtypes import array_of, torch

__all__ = ["CONSTANTS", "FACTS", "FIRST_FORMAT", "FORMAT", "KEPT", "MODEL", "WEIGHTS", "join_complex",
           "read_state_dict", "save"]  # fmt: skip

MODEL, FACTS = "loom.torch", "loom.training"
WEIGHTS, CONSTANTS, KEPT = "weights/", "constants/", "training/"
FORMAT, FIRST_FORMAT = "loom-torch/2", "loom-torch/1"


def save(model: Any, path: str | os.PathLike[str]) -> None:
    """Write a ``TorchModel``, its weights and where its training stopped as a .safetensors; FileError if it cannot."""
    where = "loom.TorchModel.save"
    target = path_to_write(path, f"{where}, path")
    if target.suffix != ".safetensors":
        raise ArgumentError(f"{where}, path", "another kind of file", expected="a name that ends with .safetensors",
                            got=target.name, remedy="Rename it")  # fmt: skip
    write_file(target, encode_model(model), where)


def encode_model(model: Any) -> SealedParts:
    """Return the parts of the file of a model."""
    imported = model.imported
    held = model.parameters | model.state
    arrays = {WEIGHTS + n: widen(t.host_elements()[0], t.dtype) for n, t in held.items()}
    arrays |= {CONSTANTS + n: np.asarray(a) for n, (a, _) in imported.constants.items()}
    metadata = {MODEL: json.dumps(_document(model))}
    if model.training is not None:
        arrays |= {KEPT + n: a for n, a in model.training.arrays.items()}
        metadata[FACTS] = json.dumps(dict(model.training.facts))
    flat = {n: _flat(np.asarray(a, order="C")) for n, a in arrays.items()}
    return write_stored(flat, {}, metadata)


def _flat(a: Array) -> Array:
    """Return complex numbers, which .safetensors lacks or Loom does not read of it, as pairs of floats."""
    return np.stack([a.real, a.imag], -1) if a.dtype.kind == "c" else a


def join_complex(a: Array, dtype: str) -> Array:
    """Return elements of a dtype as ``save`` was given them."""
    if dtype not in ("c64", "c128") or a.dtype.kind == "c":
        return a
    return np.ascontiguousarray(a).view(np.complex64 if dtype == "c64" else np.complex128)[..., 0]


def _document(model: Any) -> dict[str, Any]:
    imported = model.imported
    return {
        "format": FORMAT,
        "evaluation": [way.to_json() for way in imported.evaluation],
        "training": [way.to_json() for way in imported.training],
        "untrained": imported.untrained,
        "inputs": [[i.name, i.dtype, i.shape] for i in model.inputs],
        "outputs": [[o.name, o.dtype, o.shape] for o in model.outputs],
        "call": [[to_json(t) for t in imported.call[0]], {n: to_json(t) for n, t in imported.call[1].items()}],
        "result": to_json(imported.result),
        "names": imported.names,
        "needed": imported.needed,
        "order": imported.order,
        "tied": dict(imported.tied),
        "parameters": {n: t.dtype.name for n, t in model.parameters.items()},
        "state": {n: t.dtype.name for n, t in model.state.items()},
        "constants": {n: dtype for n, (_, dtype) in imported.constants.items()},
        "frozen": sorted(model.frozen),
        "seed": model.seed,
        "notes": imported.notes,
    }


def read_state_dict(source: str | os.PathLike[str]) -> dict[str, Array]:
    """Return the arrays of a file of weights by name: a .safetensors, or what ``torch.save`` wrote of a state_dict.

    Nothing of the file is run: of PyTorch's files weights alone are read (``weights_only=True``), and one that holds
    more, a whole module among them, is refused.

    Args:
        source: .safetensors, or a file that ``torch.save`` wrote of a state_dict.

    Raises:
        DTypeError: Not a path; it holds more than arrays, or a dtype that Loom has not.
        FileError: The file cannot be read, is broken, or holds more than weights.
    """
    where = "loom.pytorch.read_state_dict"
    path = Path(source) if isinstance(source, str) else path_of(source, where)
    where = f"{where}, {path.name}"
    data = file_bytes(path, where)
    if is_safetensors(data):
        return read_tensors(data, where)[0]
    import io
    import pickle

    require("torch", where)
    try:
        found = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise FileError(where, f"it is broken, or holds more than weights ({type(error).__name__})", got=path.name,
                        expected="a state_dict that torch.save wrote",
                        remedy="Save module.state_dict() of a module that you trust") from None  # fmt: skip
    if isinstance(found, Mapping) and isinstance(cast("Any", found).get("state_dict"), Mapping):
        found = cast("Any", found)["state_dict"]
    arrays: dict[str, Any] = dict(cast("Mapping[str, Any]", found)) if isinstance(found, Mapping) else {"": None}
    for name, a in arrays.items():
        if not isinstance(a, torch.Tensor):
            raise FileError(where, f"{name!r} is no tensor", expected="tensors by name", got=type(a).__name__,
                            remedy="Save module.state_dict()")  # fmt: skip
    return {str(n): array_of(a)[0] for n, a in arrays.items()}
