"""Networks that keep their weights quantised: the bits of those with the f32 weights that the blocks stand for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import gguf.constants
import numpy as np
import pytest
from gguf import quants

import loom
from loom import export
from loom.core.errors import ArgumentError, NotFinite, ShapeError, StateError
from loom.core.numerics import canonical_bits
from loom.models.inference.stored import QuantizedWeights
from loom.nn.spec import parse
from loom.tensor import QuantizedTensor, quantize

Array = np.ndarray[Any, Any]
TABLE = "layers.0.weight"
DOCUMENT = {
    "format": "loom/1", "seed": 3, "input": {"shape": [5], "dtype": "i32"},
    "layers": [
        {"type": "embedding", "vocab_size": 40, "embedding_dim": 64},
        {"type": "rms_norm"},
        {"type": "multi_head_attention", "num_heads": 4, "num_kv_heads": 2, "causal": True},
        {"type": "swiglu", "inner_size": 96},
        {"type": "dense", "output_size": 7},
    ],
}  # fmt: skip


@dataclass(frozen=True)
class _Rows:
    encoding: str
    shape: tuple[int, int]
    data: Array


@dataclass(frozen=True)
class _Source:
    """A weight whose rows a file would hold as blocks of ``encoding``, or as f32."""

    values: Array
    encoding: str
    transposed: bool

    def _blocks(self) -> Array:
        rows = np.ascontiguousarray(self.values.T if self.transposed else self.values)
        return quants.quantize(rows, gguf.constants.GGMLQuantizationType[self.encoding])

    def read(self, checkpoint: Any) -> Array:
        del checkpoint
        if self.encoding == "F32":
            return self.values
        found = quants.dequantize(self._blocks(), gguf.constants.GGMLQuantizationType[self.encoding])
        return np.ascontiguousarray(found.T if self.transposed else found)

    def read_blocks(self, checkpoint: Any) -> _Rows | None:
        del checkpoint
        if self.encoding == "F32":
            return _Rows("F32", self.values.shape, self.values)
        return _Rows(self.encoding, self.values.shape[:: -1 if self.transposed else 1], self._blocks())


@pytest.fixture(scope="module")
def sources() -> dict[str, _Source]:
    drawn = loom.Network(parse(DOCUMENT)).model.weights()
    kinds = {n: "F32" if v.ndim < 2 or v.shape[0] % 32 else "Q4_1" for n, v in drawn.items()} | {TABLE: "Q8_0"}
    return {n: _Source(v, kinds[n], n != TABLE) for n, v in drawn.items()}


def _ids() -> Array:
    return np.array([[1, 5, 39, 0, 7], [3, 3, 3, 2, 38]], np.int32)


@pytest.mark.parametrize("weights", ["stored", "q4_1", "q8_0"])
def test_exact_has_the_bits_of_the_f32_network(sources: dict[str, _Source], weights: str) -> None:
    spec = parse(DOCUMENT)
    kept = QuantizedWeights(None, sources, spec, weights=weights)
    net = loom.Network(spec, weights=kept)
    held = {n: w for n, w in net.model.parameters.items() if isinstance(w, QuantizedTensor)}
    assert len(held) == 9
    assert not kept.notes
    dense = {n: s.read(None) for n, s in sources.items()}
    if weights != "stored":
        dense |= {n: w.dequantized() if n == TABLE else w.dequantized().T for n, w in held.items()}
    whole = loom.Network(spec)
    whole.model.load(dense)
    assert (canonical_bits(net.forward(_ids())) == canonical_bits(whole.forward(_ids()))).all()


@pytest.mark.parametrize("compute", ["q8", "q12"])
def test_whole_activations_are_near_it(sources: dict[str, _Source], compute: str) -> None:
    spec = parse(DOCUMENT)
    exact, near = (
        loom.Network(spec, weights=QuantizedWeights(None, sources, spec, compute=c)).forward(_ids())
        for c in ("exact", compute)
    )
    off = np.abs(near - exact).max() / np.abs(exact).max()
    assert 0 < off < {"q8": 0.06, "q12": 0.004}[compute]


def test_what_cannot_be_kept_is_f32_and_says_why(sources: dict[str, _Source]) -> None:
    spec = parse(DOCUMENT)
    name = "layers.4.weight"
    odd = sources | {name: _Source(sources[name].values, "F32", True)}
    kept = QuantizedWeights(None, odd, spec)
    net = loom.Network(spec, weights=kept)
    assert kept.notes == {name: "stored as F32"}
    assert net.model.parameters[name].shape == (64, 7)
    large = sources | {name: _Source(sources[name].values * np.float32(1e9), "F32", True)}
    kept = QuantizedWeights(None, large, spec, weights="q4_1")
    loom.Network(spec, weights=kept)
    assert "beyond f16" in kept.notes[name]


def test_it_moves_to_another_device_with_its_blocks(sources: dict[str, _Source]) -> None:
    spec = parse(DOCUMENT)
    net = loom.Network(spec, on="cpu", weights=QuantizedWeights(None, sources, spec, on="cpu"))
    before = net.forward(_ids())
    assert net.to("interp").model.device is loom.device("interp")
    assert isinstance(net.model.parameters[TABLE], QuantizedTensor)
    assert (canonical_bits(net.forward(_ids())) == canonical_bits(before)).all()


@pytest.mark.parametrize("shape", [(7, 96), (96, 64), (64, 32)])
def test_blocks_of_another_matrix_are_refused(shape: tuple[int, int]) -> None:
    held = quantize(np.ones(shape, np.float32), "q8_0")
    with pytest.raises(ShapeError, match="has another shape"):
        loom.Network(parse(DOCUMENT), weights={"layers.4.weight": held})


def test_what_needs_f32_weights_is_refused(sources: dict[str, _Source]) -> None:
    spec = parse(DOCUMENT)
    net = loom.Network(spec, weights=QuantizedWeights(None, sources, spec))
    with pytest.raises(StateError, match="kept quantised"):
        net.model.weights()
    with pytest.raises(StateError, match="kept quantised"):
        net.save()
    with pytest.raises(StateError, match="kept quantised"):
        net.train(_ids(), np.zeros((2, 5, 7), np.float32), epochs=1, batch_size=2)
    with pytest.raises(StateError, match="cannot be changed"):
        net.model.load({n: s.read(None) for n, s in sources.items()})
    with pytest.raises(StateError, match="tweening"):
        net.tween()
    with pytest.raises(StateError, match=r"cannot be changed or written.*an export.*weights='f32'"):
        export.freeze(net)
    assert net.blueprint().total_parameters == sum(s.values.size for s in sources.values())
    with pytest.raises(ArgumentError, match="'q5'"):
        QuantizedWeights(None, sources, spec, weights="q5")
    with pytest.raises(ArgumentError, match="'q24'"):
        QuantizedWeights(None, sources, spec, compute="q24")
    broken = sources["layers.4.weight"].read_blocks(None)
    assert broken is not None
    broken.data[0, :2] = np.array([np.nan], "<f2").view(np.uint8)

    class Broken(_Source):
        def read_blocks(self, checkpoint: Any) -> _Rows | None:
            del checkpoint
            return broken

    bad = sources | {"layers.4.weight": Broken(np.zeros((64, 7), np.float32), "Q4_1", True)}
    with pytest.raises(NotFinite, match="a scale"):
        loom.Network(spec, weights=QuantizedWeights(None, bad, spec))
