"""``load_network``: a network that Loom wrote as ONNX, with its weights, to go on training.

Layer: onnx. Invariant: the weights have the digest that the file tells, or it is refused.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from loom.core.errors import FileError
from loom.nn.network import Network
from loom.onnx.reading import read_model
from loom.runtime.port.device import Device

__all__ = ["load_network"]

_WHERE = "onnx.load_network"


def load_network(source: Any, *, on: str | Device | None = None) -> Network:
    """Return the network that ``loom.export.export_onnx`` wrote: its document, weights and running statistics.

    Args:
        source: Path, bytes, or a ``ModelProto`` of onnx.
        on: Device, or its name; None: the default device.

    Raises:
        DTypeError: A dtype that Loom has not; not a device.
        FileError: It cannot be read; a model that Loom did not write, or whose weights are not those that were written
            (``load`` runs such a model).
        DeviceError: There is no such device.

    >>> import loom
    >>> from loom.export import to_onnx
    >>> net = loom.Network.from_json({"format": "loom/1", "input": {"shape": [2]}, "layers": [
    ...     {"type": "dense", "output_size": 3}]})
    >>> load_network(to_onnx(net)).digest() == net.digest()
    True
    """
    import loom.onnx.operators  # pyright: ignore[reportUnusedImport] - enters the operators  # noqa: F401

    read = read_model(source)
    told = {entry.key: entry.value for entry in read.proto.metadata_props}
    document, digest = told.get("loom_document"), told.get("loom_digest")
    if document is None or digest is None:
        raise FileError(_WHERE, "the model is no network that Loom wrote", expected="loom_document and loom_digest",
                        got=", ".join(sorted(told)) or "no metadata",
                        remedy="Run it with loom.onnx.load")  # fmt: skip
    network = Network.from_json(document, on=on)
    arrays = read.initializers(read.graph)
    names = list(network.model.parameters | network.model.state)
    missing = [name for name in names if name not in arrays]
    if missing:
        raise FileError(_WHERE, "weights are missing", expected=f"{len(names)} arrays", got=f"no {missing[0]!r}",
                        remedy="Write the model again; another tool has changed it")  # fmt: skip
    network.model.load({name: _bits(arrays[name]) for name in names})
    if network.digest() != digest:
        raise FileError(_WHERE, "the weights are not those that were written", expected=digest,
                        got=network.digest(), remedy="Write the model again; another tool has changed it")  # fmt: skip
    return network


def _bits(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Return weights as networks take them: bf16 as its 16 bits."""
    return array.view(np.uint16) if array.dtype.name == "bfloat16" else array
