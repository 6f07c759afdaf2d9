"""``load``: a module that was imported and saved, without PyTorch.

Layer: pytorch. Invariant: what is read has the bits that were written; a graph that is not whole is refused.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from loom.core.arrays import Array
from loom.core.errors import ArgumentError
from loom.core.given import path as path_of
from loom.formats.stored_weights import read_tensors
from loom.formats.whole_files import file_bytes
from loom.importers.ports import ArrayInfo
from loom.nn.spec import Snapshot
from loom.pytorch.files import CONSTANTS, FACTS, FIRST_FORMAT, FORMAT, KEPT, MODEL, WEIGHTS, join_complex
from loom.pytorch.graph import check_order, graph_of
from loom.pytorch.model import Imported, TorchModel
from loom.pytorch.ranges import LEAST, Way, way_of
from loom.pytorch.structure import from_json
from loom.runtime.port.device import Device
from loom.tensor.arrays.tensor import parameter

__all__ = ["load"]


def load(source: str | bytes | os.PathLike[str], *, on: str | Device | None = None) -> TorchModel:
    """Return a model that ``TorchModel.save`` wrote, of a file or its bytes; PyTorch need not be installed.

    Args:
        source: File of ``TorchModel.save``, or its bytes.
        on: Device, or its name; None: the default device.

    Raises:
        ArgumentError: The file holds no imported module, or a broken one.
        DTypeError: Not a path; not a device.
        FileError: The file cannot be read.
    """
    where = "loom.pytorch.load"
    if not isinstance(source, (bytes, bytearray)):
        path = Path(source) if isinstance(source, str) else path_of(source, where)
        where = f"{where}, {path.name}"
        data = file_bytes(path, where)
    else:
        data = bytes(source)
    arrays, told = read_tensors(data, where)
    if MODEL not in told:
        raise ArgumentError(where, "the file holds no imported module", expected=f"metadata {MODEL!r}", got="none",
                            remedy="Weights alone are read by read_state_dict")  # fmt: skip
    try:
        return _model_of(json.loads(told[MODEL]), arrays, told, on, where)
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        if isinstance(error, ArgumentError):
            raise
        raise ArgumentError(where, f"the model is broken ({error!r})", expected=FORMAT, got="something else",
                            remedy="Import the module again, and save it") from None  # fmt: skip


def _model_of(
    told: dict[str, Any], arrays: Mapping[str, Array], metadata: Mapping[str, str], on: str | Device | None, where: str
) -> TorchModel:
    if told["format"] not in (FORMAT, FIRST_FORMAT):
        raise ArgumentError(where, "another format", expected=FORMAT, got=told["format"],
                            remedy="Read it with the version of Loom that wrote it")  # fmt: skip
    inputs = _infos(told["inputs"])
    first = told["format"] == FIRST_FORMAT
    evaluation, training = _first_ways(told, inputs) if first else (
        tuple(map(way_of, told[kind])) for kind in ("evaluation", "training"))  # fmt: skip
    constants = {n: (join_complex(arrays[CONSTANTS + n], dtype), dtype) for n, dtype in told["constants"].items()}
    held = {
        kind: {n: parameter(join_complex(arrays[WEIGHTS + n], t), t, name=n, on=on) for n, t in told[kind].items()}
        for kind in ("parameters", "state")
    }
    known = {*held["parameters"], *held["state"], *constants, *told["tied"]}
    for way in (*evaluation, *training):
        check_order(way.graph, known, where)
    call = tuple(from_json(t) for t in told["call"][0]), {n: from_json(t) for n, t in told["call"][1].items()}
    imported = Imported(
        evaluation, training, str(told["untrained"]), inputs, _infos(told["outputs"]), call,
        from_json(told["result"]), tuple(told["names"]), tuple(told["order"]), dict(told["tied"]), constants,
        tuple(told["notes"]), tuple(told.get("needed", ())),
    )  # fmt: skip
    model = TorchModel(imported, held["parameters"], held["state"], on=on, frozen=told["frozen"], seed=told["seed"])
    if FACTS in metadata:
        kept = {n.removeprefix(KEPT): a for n, a in arrays.items() if n.startswith(KEPT)}
        model.training = Snapshot(json.loads(metadata[FACTS]), kept)
    return model


def _first_ways(told: Any, inputs: tuple[ArrayInfo, ...]) -> tuple[tuple[Way, ...], tuple[Way, ...]]:
    """Return the graphs of the first format, which had one for all lengths: none of them of a free length below 2."""
    names = {n for i in inputs for n in i.shape or () if isinstance(n, str)}
    held = {n: told.get("ranges", {}).get(n, (LEAST, None)) for n in names}
    ranges = {n: (max(int(a), LEAST), None if b is None else int(b)) for n, (a, b) in held.items()}
    shapes = tuple(i.shape for i in inputs)
    evaluation, training = (
        () if told[kind] is None else (Way(graph_of(told[kind]), shapes, ranges),) for kind in ("graph", "training")
    )
    return evaluation, training


def _infos(told: Any) -> tuple[ArrayInfo, ...]:
    return tuple(ArrayInfo(str(name), str(dtype), tuple(shape)) for name, dtype, shape in told)
