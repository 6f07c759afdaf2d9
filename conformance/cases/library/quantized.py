"""The kernels of products with quantised weights, each on its own.

Oracle: the interpreter; tests/unit/tensor/neural/test_quantized.py holds whole products against the definition.
"""

from __future__ import annotations

from functools import partial

import numpy as np

from conformance.running import Case, case
from conformance.values import random_bits
from loom.core.dtype import DType, f16, u32, u64
from loom.ir.frontend.decorator import KernelFunction
from loom.kernels.precisions import PRECISIONS, Precision
from loom.kernels.quantized.blocks import ENCODINGS
from loom.kernels.quantized.exact import multiply_exact, take_quantized_rows
from loom.kernels.quantized.forms import LANES, BlockForm
from loom.kernels.quantized.tiles import QuantizedTile
from loom.kernels.quantized.whole import multiply_whole, record_words, whole_activations

__all__: list[str] = []

_M, _N, _K = 5, 37, 160
_TILES = -(-_N // LANES)
_MODES = ("trusted", "checked", "reported")
_NARROW, _THREADS = QuantizedTile(3, 2), QuantizedTile(2, 1, 4, u32)


def _weights(form: BlockForm) -> tuple[np.ndarray, np.ndarray]:
    """Return words of any bits, and scales of which some are no ordinary numbers."""
    blocks = _K // form.block
    words = random_bits(np.dtype(np.int32), _TILES * blocks * form.words * LANES, seed=form.bits)
    rng = np.random.default_rng(form.block)
    kind = np.float16 if form.scale == f16 else np.float32
    scales = rng.uniform(-2, 2, _TILES * blocks * form.parts * LANES).astype(kind)
    scales[::19], scales[5::37], scales[7::41] = 0, np.inf, np.nan
    return words, scales


def _activations(precision: Precision, block: int) -> Case:
    x = random_bits(np.dtype(np.float32), _M * _K, seed=block)  # infinities and NaN among them
    x[:128] = 0
    records = -(-_K // 128)
    out = np.zeros(_M * records * record_words(precision, block), np.int32)
    kernel = whole_activations(precision, block).verified.kernel
    return Case(kernel, (x, out), (_K,), groups=(records, _M, 1), modes=_MODES)


def _product(kernel: KernelFunction, form: BlockForm, tile: QuantizedTile, x: np.ndarray) -> Case:
    out = np.zeros(_M * _N, np.float32)
    groups = (-(-_TILES // (tile.vectors * tile.tiles)), -(-_M // tile.rows), 1)
    return Case(kernel.verified.kernel, (*_weights(form), x, out), (_M, _N, _K), groups=groups, modes=_MODES[:2])


def _exact(form: BlockForm, tile: QuantizedTile) -> Case:
    x = np.random.default_rng(1).standard_normal(_M * _K).astype(np.float32)
    return _product(multiply_exact(tile, form), form, tile, x)


def _whole(form: BlockForm, tile: QuantizedTile, precision: Precision) -> Case:
    """Return a product by records of any whole numbers, with sums and powers that they need not have."""
    rng, size = np.random.default_rng(2), record_words(precision, form.block)
    records = rng.integers(-precision.top, precision.top, (_M * -(-_K // 128), size)).astype(np.int32)
    records[:, -1] = np.exp2(rng.integers(-126, 60, len(records)).astype(np.float64)).astype(np.float32).view(np.int32)
    return _product(multiply_whole(tile, form, precision), form, tile, records.reshape(-1))


def _rows(form: BlockForm, index: DType) -> Case:
    at = np.array([0, _N - 1, _N, 16, 0xFFFFFFFF, 5], np.uint32)
    out = np.zeros(len(at) * _K, np.float32)
    kernel = take_quantized_rows(form, index).verified.kernel
    return Case(kernel, (*_weights(form), at, out), (len(at), _N, _K), groups=(-(-_K // 64), len(at), 1), modes=_MODES)


for _name in ("q8", "q12"):
    for _block in (16, 32):
        case(f"library/whole-activations-{_name}-{_block}")(partial(_activations, PRECISIONS[_name], _block))
for _encoding in ("Q4_1", "Q8_0", "Q6_K"):
    _form = ENCODINGS[_encoding].form
    for _label, _tile in (("vectors", _NARROW), ("threads", _THREADS)):
        case(f"library/quantized-exact-{_encoding}-{_label}", (1, 8))(partial(_exact, _form, _tile))
        for _name in ("q8", "q12"):
            slow = _name == "q12" and _encoding != "Q4_1"
            made = partial(_whole, _form, _tile, PRECISIONS[_name])
            case(f"library/quantized-{_name}-{_encoding}-{_label}", (1, 8), slow=slow)(made)
    case(f"library/quantized-rows-{_encoding}")(partial(_rows, _form, u64 if _encoding == "Q6_K" else u32))
