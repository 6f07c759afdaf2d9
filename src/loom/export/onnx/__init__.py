"""Exports to ONNX: networks, programs and functions of tensors, for other runtimes, and for Loom to the same bits.

Layer: export, above ``loom.onnx``, which knows what both directions share. Invariant: what ``loom.onnx.load`` makes of
a file is the operations that were written, so that its answers have their bits on every device.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from loom.core.errors import ArgumentError, FileError
from loom.core.given import flag
from loom.core.late.dataclass import dataclass
from loom.core.numbers import whole
from loom.core.numerics import NUMERICS_VERSION
from loom.core.optional import require
from loom.core.version import __version__
from loom.export.network import FrozenNetwork
from loom.export.onnx.files import MOST_NBYTES, SUFFIX, ArrayLayout, lay_out_arrays, write_files
from loom.export.onnx.graph import value_info, write_graph
from loom.export.onnx.sources import OnnxSource, source_of
from loom.export.onnx.writing.writer import WHERE, GraphWriter, Initializer
from loom.nn.base.digests import digest_of
from loom.nn.network import Network
from loom.onnx.functions import DOMAIN, VERSION, function_proto
from loom.onnx.operatorschemas import newest_opset
from loom.onnx.values import onnx

__all__ = ["OLDEST_OPSET", "OPSET", "OnnxExport", "export_onnx", "to_onnx"]

OPSET = 21
"""What is written where no opset is told: the first with scales for blocks of quantised weights."""
OLDEST_OPSET = 18
"""The first whose operators say what is written: reductions by axes that are inputs, functions on bits."""


@dataclass(frozen=True, slots=True)
class OnnxExport:
    """Files that were written, what they hold, and the digest of the weights."""

    files: tuple[Path, ...]
    opset: int
    nodes: int
    operators: tuple[str, ...]
    weights_nbytes: int
    digest: str


def to_onnx(
    source: Any,
    *,
    name: str | None = None,
    inputs: Mapping[str, Any] | None = None,
    outputs: str | Sequence[str] | None = None,
    batch: int | None = None,
    length: int | None = None,
    opset: int | None = None,
) -> Any:
    """Return a network, program or function as a ``ModelProto`` of onnx, checked by its checker.

    Args:
        source: ``loom.Network`` (also frozen), a program of ``tensor.compile``, tensors (one, several, or by name), or
            a function of tensors.
        name: Name of the model; None: that of the source.
        inputs: Shapes, or (shape, dtype), by the names of a function's inputs; a length that is a name is open; None:
            the source has its own.
        outputs: Names, where the source has none; None: y, or y0, y1, ... (y_, or y_0, y_1, where an input is called
            so).
        batch: Number of samples; None: any, called ``batch``.
        length: Length of inputs of variable length; None: any up to their most, called ``length``.
        opset: Version of the operators, from 18 to the newest that ``onnx`` knows; None: the default.

    Raises:
        ArgumentError: A source, or a part of it, that ONNX cannot say; weights beyond 2 GB (see ``export_onnx``).
        DTypeError: A dtype that ONNX cannot say.

    >>> import loom
    >>> net = loom.Network.from_json({"format": "loom/1", "input": {"shape": [2]}, "layers": [
    ...     {"type": "dense", "output_size": 3, "activation": "relu"}]})
    >>> model = to_onnx(net)
    >>> [node.op_type for node in model.graph.node]
    ['MatMul', 'Add', 'Relu']
    """
    found = _write(source, name, inputs, outputs, batch, length, opset)
    if found.nbytes > MOST_NBYTES:
        raise ArgumentError(WHERE, "the weights are too large for one model in memory",
                            expected=f"at most {MOST_NBYTES} bytes", got=found.nbytes,
                            remedy="Write it with export_onnx, which puts them beside it")  # fmt: skip
    return found.proto(lay_out_arrays(found.arrays, None))


def export_onnx(
    source: Any,
    out: str | os.PathLike[str],
    *,
    name: str | None = None,
    inputs: Mapping[str, Any] | None = None,
    outputs: str | Sequence[str] | None = None,
    batch: int | None = None,
    length: int | None = None,
    opset: int | None = None,
    external: bool | None = None,
    overwrite: bool = False,
) -> OnnxExport:
    """Write a network, program or function as ONNX.

    The same source gives the same bytes.

    Args:
        source: Network, program or function, as of ``to_onnx``.
        out: Folder, to hold NAME.onnx, or a name that ends with .onnx.
        name: Name of the model; None: that of the source.
        inputs: Shapes, or (shape, dtype), by the names of a function's inputs; None: the source has its own.
        outputs: Names, where the source has none; None: y, or y0, y1, ...
        batch: Number of samples; None: any.
        length: Length of inputs of variable length; None: any up to their most.
        opset: Version of the operators, from 18 on; None: the default.
        external: Whether weights lie beside the model, in NAME.onnx.data; None: where they are beyond 2 GB.
        overwrite: Whether a file that is there is written over.

    Returns:
        Export: the files and what they hold.

    Raises:
        ArgumentError: A source, or a part of it, that ONNX cannot say; no place; weights beyond 2 GB that are not
            beside; a flag is no truth.
        DTypeError: A dtype that ONNX cannot say.
        FileError: The file is there, or the folder of a name that ends with .onnx is not.
    """
    where = f"{WHERE}, out"
    apart = None if external is None else flag(external, f"{WHERE}, external")
    replaced = flag(overwrite, f"{WHERE}, overwrite")
    if not isinstance(out, (str, os.PathLike)) or not os.fspath(out):
        raise ArgumentError(where, "no place", expected="a folder, or a name that ends with .onnx", got=repr(out)[:200],
                            remedy="Pass a path")  # fmt: skip
    place = Path(out)
    if place.suffix == SUFFIX and not place.parent.is_dir():
        raise FileError(where, "there is no such folder", expected="one that is there", got=str(place.parent),
                        remedy="Make it first")  # fmt: skip
    found = _write(source, name, inputs, outputs, batch, length, opset)
    path = place if place.suffix == SUFFIX else place / f"{_file_name(found.source.name)}{SUFFIX}"
    beside = path.with_name(path.name + ".data")
    if apart is None:
        apart = found.nbytes > MOST_NBYTES
    if not apart and found.nbytes > MOST_NBYTES:
        raise ArgumentError(f"{WHERE}, external", "the weights are too large for the file itself",
                            expected=f"at most {MOST_NBYTES} bytes", got=found.nbytes,
                            remedy="Pass external=True, or leave it out")  # fmt: skip
    weights = {*found.source.parameters.values(), *found.source.kept} if external else ()
    layout = lay_out_arrays(found.arrays, beside.name if apart else None, weights)
    model = found.proto(layout)
    files = write_files(path, model.SerializeToString(deterministic=True), layout, beside, overwrite=replaced)
    operators = tuple(sorted({n.op_type for n in model.graph.node}))
    return OnnxExport(files, found.writer.opset, len(model.graph.node), operators, found.nbytes, found.digest)


def _file_name(name: str) -> str:
    kept = "".join(c if c.isalnum() or c in "_-." else "_" for c in name).strip(".")
    return kept or "model"


class _WrittenModel:
    """A graph with what the file tells besides."""

    def __init__(self, source: OnnxSource, writer: GraphWriter) -> None:
        self.source, self.writer = source, writer
        self.digest = digest_of(source.weights)
        self.arrays = _initializers(writer, source)
        self.nbytes = sum(len(a.data) for a in self.arrays.values())

    def proto(self, layout: ArrayLayout) -> Any:
        """Return the model, checked."""
        w, record = self.writer, self.writer.record
        graph = onnx.helper.make_graph(
            w.nodes, self.source.name or "graph", [value_info(w, k, v) for k, v in record.inputs.items()],
            [value_info(w, k, v) for k, v in record.outputs.items()],
        )  # fmt: skip
        graph.initializer.extend(layout.protos)
        opsets = [onnx.helper.make_opsetid("", w.opset)]
        opsets += [onnx.helper.make_opsetid(DOMAIN, VERSION)] if w.functions else []
        model = onnx.helper.make_model(
            graph, opset_imports=opsets, functions=[function_proto(n, w.opset) for n in sorted(w.functions)],
            producer_name="loom", producer_version=__version__, domain="loom",
            ir_version=onnx.helper.find_min_ir_version_for(opsets[:1], ignore_unknown=True),
        )  # fmt: skip
        told = {"loom_digest": self.digest, "loom_numerics": NUMERICS_VERSION, **self.source.metadata}
        onnx.helper.set_model_props(model, dict(sorted(told.items())))
        if not layout.outside:
            onnx.checker.check_model(model, full_check=True)
        return model


def _write(source: Any, name: Any, inputs: Any, outputs: Any, batch: Any, length: Any, opset: Any) -> _WrittenModel:
    require("onnx", WHERE)
    chosen = OPSET if opset is None else whole(opset, f"{WHERE}, opset", least=1)
    if not OLDEST_OPSET <= chosen <= newest_opset():
        raise ArgumentError(f"{WHERE}, opset", "not an opset that is written", got=chosen,
                            expected=f"{OLDEST_OPSET} to {newest_opset()}",
                            remedy=f"Leave it out, for {OPSET}")  # fmt: skip
    if name is not None and (not isinstance(name, str) or not name):
        raise ArgumentError(f"{WHERE}, name", "not a name", expected="a text", got=repr(name), remedy="Pass a str")
    network = source.network if isinstance(source, FrozenNetwork) else source
    with network.model.lock if isinstance(network, Network) else nullcontext():  # one state of the weights
        found = source_of(source, name, inputs, outputs, batch, length)
        return _WrittenModel(found, write_graph(found.record, chosen, found.parameters))


def _initializers(writer: GraphWriter, source: OnnxSource) -> dict[str, Initializer]:
    """Return initializers: those that nodes or outputs need, and all weights of a network."""
    used = {n for node in writer.nodes for n in node.input} | {*writer.record.outputs}
    found = {name: array for name, array in writer.arrays.items() if name in used}
    for name, weight in source.kept.items():
        if name not in found:
            assert weight.data is not None
            data = weight.data.read(0, weight.nbytes).tobytes()
            found[name] = Initializer(weight.dtype, tuple(weight.shape), data)
    return found
