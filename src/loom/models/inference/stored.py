"""A checkpoint's weights for a network that keeps them quantised: its blocks as they are, or f32 rounded to blocks.

Layer: models. Matrices of products and tables of embeddings are kept so, everything else is f32. Invariant: with
"stored" and "exact" a network has the bits of the one whose weights are all read as f32.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Protocol

import numpy as np

from loom.core.errors import ArgumentError, NotFinite
from loom.core.given import one_of
from loom.kernels.quantized.blocks import ENCODINGS, QUANTISERS
from loom.nn.spec import NetworkSpec, Shared
from loom.nn.spec.layers.attention import MultiHeadAttention
from loom.nn.spec.layers.dense import Dense
from loom.nn.spec.layers.embedding import Embedding
from loom.nn.spec.layers.swiglu import SwiGLU
from loom.nn.weights.model import KnownWeights
from loom.runtime.port.device import Device
from loom.tensor.neural.quantized import COMPUTES, QuantizedTensor, quantize

__all__ = ["WEIGHTS", "QuantizedWeights", "products_of"]

WEIGHTS = ("f32", "stored", *QUANTISERS)
"""How a model's weights may be kept: as f32, as the file has them, or rounded to blocks of 4 or 8 bits."""

_LAYERS = (Dense, MultiHeadAttention, SwiGLU, Embedding)


class _Source(Protocol):
    """Where a weight comes from, as ``models.architectures`` tells it."""

    def read(self, checkpoint: Any) -> Any:
        """Return it as the network has it, f32."""
        ...

    def read_blocks(self, checkpoint: Any) -> Any:
        """Return its rows in their encoding: ``encoding``, ``shape``, ``data``; None where there are none."""
        ...


def products_of(spec: NetworkSpec) -> dict[str, bool]:
    """Return names of weights that only products and lookups read: False for [in][out], True for tables of rows."""
    found: dict[str, bool] = {}
    for part in spec.walk():
        if isinstance(part.layer, Shared) or not isinstance(part.layer, _LAYERS):
            continue
        for key, shape in part.layer.own_weights(part.shape).items():
            if len(shape) == 2 and key.endswith("weight") and key != "relative_weight":
                found[f"{part.name}.{key}"] = isinstance(part.layer, Embedding)
    return found


class QuantizedWeights(KnownWeights):
    """A network's weights by name, each read when it is asked for: ``QuantizedTensor`` or an array of f32.

    ``weights``: "stored" keeps the blocks of the file (GGUF's Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, Q4_K, Q5_K, Q6_K), "q4_0",
    "q4_1" and "q8_0" round the f32 numbers to blocks of 32 as ggml does. ``compute``: how products with them are
    computed, "exact", "q8" or "q12". ``notes``: name of a matrix that is f32 nevertheless -> why, as far as they were
    asked for. Raises ArgumentError.
    """

    def __init__(
        self, checkpoint: Any, sources: Mapping[str, _Source], spec: NetworkSpec, *, weights: str = "stored",
        compute: str = "exact", on: str | Device | None = None,
    ) -> None:  # fmt: skip
        self.weights = one_of(weights, "loom.models, weights", WEIGHTS[1:])
        self.compute = one_of(compute, "loom.models, compute", COMPUTES)
        self.notes: dict[str, str] = {}
        self._checkpoint, self._sources, self._on = checkpoint, sources, on
        self._products = products_of(spec)

    def __getitem__(self, name: str) -> Any:
        source = self._sources[name]
        is_table = self._products.get(name)
        if is_table is None:
            return source.read(self._checkpoint)
        return self._load_blocks(name, source) if self.weights == "stored" else self._quantize(name, source, is_table)

    def __contains__(self, name: object) -> bool:
        return name in self._sources

    def __iter__(self) -> Iterator[str]:
        return iter(self._sources)

    def __len__(self) -> int:
        return len(self._sources)

    def _load_blocks(self, name: str, source: _Source) -> Any:
        """Return the blocks of a file, f32 where it has none."""
        rows = source.read_blocks(self._checkpoint)
        if rows is None or rows.encoding not in ENCODINGS:
            encoding = "numbers that do not lie in rows of output features" if rows is None else rows.encoding
            self.notes[name] = f"stored as {encoding}"
            return source.read(self._checkpoint)
        data = np.ascontiguousarray(rows.data)
        held = QuantizedTensor.from_blocks(data, rows.encoding, rows.shape, compute=self.compute, on=self._on)
        if not np.isfinite(held.scales.numpy()).all():
            raise NotFinite(f"loom.models, {name!r}", "a scale is NaN or infinite", expected="finite numbers",
                            remedy="The file is damaged")  # fmt: skip
        return held

    def _quantize(self, name: str, source: _Source, is_table: bool) -> Any:
        """Return f32 weights as blocks, themselves where they cannot be."""
        found = source.read(self._checkpoint)
        rows = found if is_table else found.T
        try:
            return quantize(np.ascontiguousarray(rows), self.weights, compute=self.compute, on=self._on)
        except ArgumentError as error:
            self.notes[name] = str(error)
            return found
