"""What a stranger would pass: sample arguments by parameter name, for some functions their own, and objects to call."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from typing import Any

import numpy as np

import loom
from loom import flow, tensor

from .flow_samples import FLOW_SAMPLES
from .library_samples import LIBRARY
from .table_samples import TABLE_SAMPLES, TABLES
from .tensor_samples import METHODS, SAMPLES
from .vector_samples import STORES, VECTOR_SAMPLES

Make = Callable[[], Any]


def _vector() -> Any:
    return np.array([3.0, 1.0, 2.0, 5.0, 4.0, 0.5], np.float32)


def _matrix() -> Any:
    return np.array([[4.0, 1.0, 0.0], [1.0, 3.0, 1.0], [0.0, 1.0, 2.0]], np.float32)


@cache
def kernel() -> Any:
    """Return a kernel of one buffer, which a unit's registers may be."""

    @loom.kernel(workgroup=64)
    def doubled(x: loom.InOut[loom.u32], n: loom.u32):  # type: ignore[valid-type]
        i = loom.global_id()
        if i < n:
            x[i] = x[i] * 2

    return doubled


def unit() -> Any:
    """Return a small unit."""
    return loom.boot(64, 64)


def program() -> Any:
    """Return a program of one dispatch."""
    made = loom.Chain()
    made.dispatch(kernel(), [np.arange(64, dtype=np.uint32)], [64], 1)
    return made.build()


def chain() -> Any:
    """Return an empty chain."""
    return loom.Chain()


def _tensor() -> Any:
    return tensor.array([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])


def _square() -> Any:
    return tensor.array(_matrix())


def _image() -> Any:
    return tensor.array(np.arange(2 * 6 * 6 * 3, dtype=np.float32).reshape(2, 6, 6, 3))


def _csr() -> Any:
    return tensor.csr((2, 3), [0, 1, 3], [0, 1, 2], [1.0, 2.0, 3.0])


def _quantised() -> Any:
    return tensor.quantize(np.ones((3, 32), np.float32), "q8_0")


def loom_tensor() -> Any:
    """Return a tensor with a memory of its own."""
    return tensor.create((3, 3), data=_matrix())


def _tensor_program() -> Any:
    return tensor.compile([tensor.input("x", (3,)) * 2.0])


DOCUMENT = {"format": "loom/1", "input": {"shape": [3]}, "layers": [{"type": "dense", "output_size": 2}]}


def _network() -> Any:
    return loom.Network.from_json(DOCUMENT)


def _frame() -> Any:
    return loom.Frame(np.zeros((4, 4, 4), np.uint8))


def folder() -> str:
    """Return a folder of this process, where a function may write what it likes."""
    return os.environ.get("HOSTILE_FOLDER") or tempfile.gettempdir()


def _path() -> str:
    return os.path.join(folder(), "made")


_OPEN: list[Any] = []
"""What one call made and must be shut down before the next: there is one Support at a time."""


def shut() -> None:
    """Shut down what ``_OPEN`` holds, and forget the kernel that was being built."""
    _KERNEL.clear()
    while _OPEN:
        with suppress(loom.LoomError):  # what nobody waited for is told at the end
            _OPEN.pop().shutdown()


_KERNEL: list[Any] = []
"""The kernel that one call of the flow's builder is about: its program and its first block."""


def _built() -> list[Any]:
    if not _KERNEL:
        prog = flow.ir_begin(workgroup=64)
        _KERNEL[:] = [prog, flow.ir_entry(prog)]
    return _KERNEL


def block() -> Any:
    """Return the first block of the kernel of this call."""
    return _built()[1]


def _whole() -> Any:
    return flow.ir_const_u(block(), 3)


def _real() -> Any:
    return flow.ir_const(block(), 1.5)


def _wide() -> Any:
    return flow.ir_u32_to_u64(block(), _whole())


def _ir(name: str, parameter: str) -> Make | None:
    """Return a value of the type an operation of the flow's builder takes, or None."""
    if parameter in ("idx", "start", "stop", "step", "mask") or (parameter == "val" and "atomic" in name):
        return _whole
    if parameter in ("a", "b", "val", "initial", "condition") and name not in ("ir_const", "ir_const_u"):
        if parameter == "condition":
            return lambda: flow.ir_eq(block(), _whole(), _whole())
        return _wide if name.endswith("64") or name == "ir_u64_to_u32" else _real if name in _FLOATS else _whole
    return {
        "block": block,
        "var": lambda: flow.ir_var(block(), _whole()),
        "index": lambda: 0,
        "val": lambda: 2.0,
        "prog": lambda: _built()[0],
        "dim": lambda: 0,
        "bind": lambda: 0,
    }.get(parameter)


_FLOATS = frozenset(
    (
        "ir_as_u32",
        "ir_f32_to_u32",
        "ir_fadd",
        "ir_fdiv",
        "ir_fmul",
        "ir_fsqrt",
        "ir_fsub",
        "ir_fabs",
        "ir_fceil",
        "ir_fcos",
        "ir_fexp",
        "ir_ffloor",
        "ir_flog",
        "ir_fmax",
        "ir_fmin",
        "ir_fneg",
        "ir_fpow",
        "ir_frint",
        "ir_fsin",
        "ir_ftanh",
        "ir_ftrunc",
        "ir_buf_store",
    )
)


def _support() -> Any:
    shut()
    _OPEN.append(loom.Support(workers=1))
    _OPEN[-1].boot("a", 64, 64)
    return _OPEN[-1]


def _engine() -> Any:
    shut()
    _OPEN.append(loom.Engine({"m": {"registers": 64, "globals": 64}}))
    return _OPEN[-1]


BY_NAME: dict[str, Make] = {
    "data": _vector,
    "a": _vector,
    "b": _vector,
    "x": _vector,
    "y": _vector,
    "q": _matrix,
    "k": _matrix,
    "v": _matrix,
    "up": _matrix,
    "down": _matrix,
    "weight": lambda: None,
    "mask": lambda: np.array([True, False, True, True, False, True]),
    "indices": lambda: [0, 2, 1],
    "target": lambda: np.zeros(6, np.float32),
    "keys": lambda: [1, 2, 1, 3, 2, 1],
    "left_keys": lambda: [1, 2, 2],
    "right_keys": lambda: [2, 3, 2],
    "low": lambda: 1.0,
    "high": lambda: 3.0,
    "args": tuple,
    "segments": lambda: [0, 0, 1, 1, 1, 2],
    "sorted": lambda: [1.0, 2.0, 3.0],
    "values": lambda: [0.5, 2.5],
    "dtype": lambda: loom.f32,
    "axis": lambda: 0,
    "n": lambda: 9,
    "lags": lambda: 2,
    "lag": lambda: 1,
    "window": lambda: 3,
    "alpha": lambda: 0.3,
    "beta": lambda: 5.0,
    "taps": lambda: [0.5, 0.5],
    "numtaps": lambda: 5,
    "cutoff": lambda: 0.3,
    "kernel": kernel,
    "unit": unit,
    "prog": program,
    "programs": lambda: [program()],
    "groups": lambda: 1,
    "params": lambda: [64],
    "size": lambda: 6,
    "shape": lambda: (2, 3),
    "seed": lambda: 7,
    "count": lambda: 2,
    "registers": lambda: 64,
    "timeout": lambda: 0.5,
    "name": lambda: "hann",
    "op": lambda: "sum",
    "lo": lambda: 2,
    "hi": lambda: 100,
    "start": lambda: 0,
    "slots": lambda: 4,
    "slot_words": lambda: 8,
    "p": lambda: 0.5,
    "repeats": lambda: 2,
    "offset": lambda: 0,
    "path": _path,
    "frame": _frame,
    "pixels": lambda: np.zeros((4, 4, 4), np.uint8),
    "source": lambda: {**DOCUMENT},
    "document": lambda: {**DOCUMENT},
    "port": lambda: 0,
    "folder": folder,
    "to": lambda: None,
    "mains": lambda: {"m": {"registers": 64, "globals": 64}},
    "nbytes": lambda: None,
    "step": lambda: lambda _: False,
    "subscripts": lambda: "ij,jk->ik",
    "classes": lambda: 3,
    "bins": lambda: 4,
    "condition": lambda: tensor.array([True, False, True]),
    "fn": lambda: lambda t: t * 2.0,
    "rows": lambda: 3,
    "parts": lambda: 2,
    "widths": lambda: [(1, 1), (0, 2)],
    "tensors": lambda: [_tensor(), _tensor()],
    "loss": lambda: None,
    "wrt": list,
    "matrix": _csr,
    "table": _tensor,
    "value": lambda: 1.0,
    "bind": lambda: 0,
    "off": lambda: 0,
    "len": lambda: 4,
    "reg_size": lambda: 64,
    "wg": lambda: 1,
    "total": lambda: 4,
    "microseconds": lambda: 5.0,
    "which": lambda: "a",
    "what": lambda: "a",
    "units": lambda: ["a"],
    "buffers": lambda: [np.arange(64, dtype=np.uint32)],
    "counts": lambda: np.array([1, 1, 1], np.uint32),
    "stream": tensor.Stream,
    "first": lambda: 0,
    "lanes": lambda: 4,
    "other": unit,
    "axes": lambda: (1, 0),
    "sizes": lambda: (2,),
    "steps": lambda: (1,),
    "starts": lambda: (0, 1),
    "logits": _tensor,
    "log_probabilities": _tensor,
    "delta": lambda: 1.0,
    "words": lambda: False,
    "networks": lambda: {"m": _network()},
    "probability": lambda: 0.5,
    "lane": lambda: 0,
    "key": lambda: 0,
    "view": lambda: None,
    "maximum": lambda: 4,
    "dense": lambda: tensor.array(_matrix()),
    "result": _tensor,
    "bitmap": lambda: None,
    "ir": kernel,
}
"""Parameter -> a value most functions take for it."""

_T: dict[str, Make] = {
    "x": _tensor,
    "a": _square,
    "b": _square,
    "target": _tensor,
    "indices": lambda: tensor.array([0, 1, 1]),
    "data": _matrix,
}

BY_FUNCTION: dict[str, dict[str, Make]] = {
    "loom.Event": {"kind": lambda: "close"},
    "loom.fixed": {"scale": lambda: 1024.0},
    "loom.tensor.grad": {"loss": lambda: tensor.parameter([1.0]).sum(), "wrt": lambda: [tensor.parameter([1.0])]},
    "loom.linalg.matvec": {"x": lambda: [1.0, 2.0, 3.0]},
    "loom.stats.correlation": {"data": _matrix},
    "loom.stats.covariance": {"data": _matrix},
    "loom.signal.convolve": {"v": lambda: np.ones(2, np.float32)},
    "loom.signal.correlate": {"v": lambda: np.ones(2, np.float32)},
    "loom.random.dropout_mask": {"rate": lambda: 0.5},
    "loom.random.integers": {"low": lambda: 0, "high": lambda: 9},
    "loom.flow.vm_copy": {"source": unit},
    "loom.flow.loom_copy": {"source": unit},
    "loom.flow.ir_spirv": {"kernel": lambda: flow.ir_finalize(_built()[0])},
    "loom.flow.vm_poll": {"prog": lambda: program().launch()},
    "loom.flow.vm_wait": {"prog": lambda: program().launch()},
    "loom.flow.loom_poll": {"prog": lambda: program().launch()},
    "loom.flow.loom_wait": {"prog": lambda: program().launch()},
    "Network.load": {"source": lambda: _network().save()},
    "Network.load_all": {"source": lambda: _network().save()},
    "Tensor.broadcast_to": {"shape": lambda: (2, 3, 3)},
    "LoomTensor.broadcast_to": {"shape": lambda: (2, 3, 3)},
    "LoomTensor.assign": {"values": _matrix},
    "LoomTensor.write": {"values": _matrix},
    "LoomTensor.copy_from": {"source": _square},
    "LoomTensor.reduce_sum": {"a": lambda: tensor.array(np.ones((2, 3, 3), np.float32))},
    "LoomTensor.enqueue_reduce_sum": {"a": lambda: tensor.array(np.ones((2, 3, 3), np.float32))},
    "LoomTensor.spmm": {"matrix": lambda: tensor.csr((3, 3), [0, 1, 2, 3], [0, 1, 2], [1.0, 2.0, 3.0])},
    "LoomTensor.enqueue_spmm": {"matrix": lambda: tensor.csr((3, 3), [0, 1, 2, 3], [0, 1, 2], [1.0, 2.0, 3.0])},
    "CSR.transposed": {"values": lambda: tensor.array([1.0, 2.0, 3.0])},
    "loom.data.scatter": {"data": lambda: np.ones(3, np.float32)},
    "loom.data.bollinger": {"data": lambda: np.linspace(0, 9, 40, dtype=np.float32)},
    "loom.tensor.einsum": {"operands": lambda: (_square(), _square())},
    "Tensor.reshape": {"shape": lambda: (9,)},
    "LoomTensor.reshape": {"shape": lambda: (9,)},
    "LoomTensor.contract": {"operands": lambda: (_square(), _square())},
    "Chain.dispatch": {"params": lambda: [64], "groups": lambda: 1},
    "LoomTensor.enqueue_contract": {"operands": lambda: (_square(), _square())},
    "TensorProgram.run": {"inputs": lambda: None},
    "Unit.dispatch": {"params": lambda: [64], "groups": lambda: 1},
    "loom.gpu_map": {"op": lambda: "sqrt"},
    "loom.where": {},
    "loom.gpu_where": {"condition": lambda: [True, False, True, True, False, False]},
    "loom.gpu_matmul": {"a": _matrix, "b": _matrix},
    "loom.gpu_cast": {"dtype": lambda: loom.i32},
    "loom.gpu_transpose": {"data": _matrix},
    "loom.gpu_fft": {"data": lambda: np.ones(8, np.complex64)},
    "loom.gpu_partition": {"k": lambda: 2},
    "loom.gpu_topk": {"k": lambda: 2},
    "loom.gpu_rope": {"data": lambda: np.ones((2, 4), np.float32)},
    "loom.gpu_attention": {},
    "loom.gpu_ffn": {"data": _matrix},
    "loom.gpu_mod": {"a": lambda: [7, 8], "b": lambda: [2, 3]},
    "loom.gpu_sort_pairs": {"values": lambda: [0, 1, 2, 3, 4, 5]},
    "loom.gpu_range": {"start": lambda: 5},
    "loom.warm": {"count": lambda: 1},
    "loom.max_units": {"count": lambda: None},
    "loom.publish": {"name": lambda: "a"},
    "loom.linalg.solve": {"a": _matrix, "b": lambda: np.ones(3, np.float32)},
    "loom.linalg.cross": {"a": lambda: [1.0, 2.0, 3.0], "b": lambda: [0.0, 1.0, 0.0]},
    "loom.signal.fft": {"data": lambda: np.ones(8, np.complex64)},
    "loom.signal.ifft": {"data": lambda: np.ones(8, np.complex64)},
    "loom.signal.irfft": {"data": lambda: np.ones(5, np.complex64), "n": lambda: 8},
    "loom.signal.rfft": {"data": lambda: np.ones(8, np.float32)},
    "loom.stats.quantile": {"q": lambda: 0.5},
    "loom.tensor.convolve": {"x": _image, "weight": lambda: tensor.array(np.ones((3, 3, 3, 4), np.float32))},
    "loom.tensor.max_pool": {"x": _image, "size": lambda: 2},
    "loom.tensor.average_pool": {"x": _image, "size": lambda: 2},
    "loom.tensor.reshape": {"shape": lambda: (6,)},
    "loom.tensor.arange": {"size": lambda: 6},
    "loom.tensor.input": {"name": lambda: "in"},
    "loom.tensor.sum_by_index": {"x": lambda: tensor.array(_matrix())},
    "loom.tensor.where": {"a": lambda: 1.0, "b": lambda: 2.0},
    "loom.tensor.csr": {"starts": lambda: [0, 1, 3], "columns": lambda: [0, 1, 2], "values": lambda: [1.0, 2.0, 3.0]},
    "loom.tensor.quantize": {"weights": lambda: np.ones((2, 32), np.float32), "encoding": lambda: "q4_1"},
    "loom.tensor.multiply_weights": {"x": lambda: tensor.ones((2, 32)), "weights": _quantised},
    "loom.tensor.take_rows": {"table": _quantised, "indices": lambda: tensor.array([0, 2])},
    "QuantizedTensor.from_blocks": {"data": lambda: bytes(34), "encoding": lambda: "Q8_0", "shape": lambda: (1, 32)},
    "QuantizedTensor.computed": {"compute": lambda: "q8"},
    "loom.tensor.windows": {"axes": lambda: (1,)},
    "loom.tensor.place": {"shape": lambda: (4, 5), "steps": lambda: (1, 1)},
    "loom.tensor.squeeze": {"axis": lambda: None},
    "loom.tensor.nll": {"target": lambda: tensor.array([0, 1])},
    "loom.tensor.cross_entropy": {"target": lambda: tensor.array([0, 1])},
    "loom.tensor.detach": {},
    "loom.tensor.compile": {"outputs": lambda: [_tensor() * 2.0]},
    "loom.tensor.broadcast_to": {"shape": lambda: (2, 2, 3)},
    "loom.tensor.parameter": {"name": lambda: "w"},
    "loom.flow.vm_write": {"offset": lambda: 0, "data": lambda: [1.0, 2.0]},
    "loom.flow.vm_boot": {"bind": lambda: 1},
    "loom.flow.loom_boot": {"bind": lambda: 1},
    "loom.flow.vm_read": {"len": lambda: 4},
    "loom.PngSequence": {"name": lambda: "f-{}.png"},
    "loom.tensor.LoomTensor": {"shape": lambda: (2, 2)},
    "loom.Chain": {"name": lambda: "c"},
    "loom.View": {"shape": lambda: (2, 2), "to": loom.Latest},
    "Chain.dispatch_indirect": {},
    "Network.forward": {"x": lambda: [[1.0, 2.0, 3.0]]},
    "Network.predict": {"x": lambda: [[1.0, 2.0, 3.0]]},
    "Network.train": {"x": lambda: np.ones((4, 3), np.float32), "y": lambda: [0, 1, 0, 1], "epochs": lambda: 1},
    "Network.evaluate": {"x": lambda: np.ones((4, 3), np.float32), "y": lambda: [0, 1, 0, 1]},
    "Network.quantize": {"dtype": lambda: "int8", "calibration": lambda: np.ones((4, 3), np.float32)},
    "Network.load_weights": {"source": lambda: _network().weights()},
    "Unit.read": {},
    "Unit.write": {"data": lambda: np.arange(4, dtype=np.uint32)},
    "Unit.fill": {"value": lambda: 3},
    "Unit.set_heap": {"array": lambda: np.arange(64, dtype=np.float32)},
    "Support.boot": {"name": lambda: "b"},
    "Support.snapshot": {"name": lambda: "s"},
    "Support.restore": {"name": lambda: "s"},
    "Support.present": {"shape": lambda: (2, 2), "unit": lambda: "a"},
    "Support.upload": {"unit": lambda: "a", "data": lambda: [1]},
    "Support.download": {"unit": lambda: "a"},
    "Support.adopt": {"name": lambda: "c"},
    "Unit.present": {"shape": lambda: (2, 2)},
    "Mailbox.post": {"data": lambda: np.arange(8, dtype=np.uint32)},
    "Mailbox.post_from": {"count": lambda: 8},
    "Tensor.map": {"operation": lambda: "sqrt"},
    "LoomTensor.map": {"operation": lambda: "sqrt"},
    "LoomTensor.gemm": {},
    "LoomTensor.enqueue": {"value": lambda: lambda t: t * 2.0, "operands": _square},
    "Tensor.permute": {"axes": lambda: 0},
    "Network.save": {"id": lambda: "m"},
    "MainLoom.dispatch": {},
}


_OF_TWO = frozenset(("add", "sub", "mul", "div", "pow", "equal", "less", "greater", "maximum", "minimum"))
_OF_MATRICES = frozenset(("cholesky", "det", "inv", "lu", "qr", "pairwise", "solve", "matvec", "transpose"))


def sample(where: str, name: str) -> Make | None:
    """Return how a usable value of one parameter is made, or None where nobody has said."""
    function = where.rpartition(".")[2]
    known = SAMPLES if where.startswith("loom.tensor.") else METHODS if where.startswith(("Tensor.", "Loom")) else {}
    own = {
        **known.get(function, {}),
        **BY_FUNCTION.get(where, {}),
        **LIBRARY.get(where, {}),
        **TABLE_SAMPLES.get(where, {}),
        **VECTOR_SAMPLES.get(where, {}),
        **FLOW_SAMPLES.get(where, {}),
    }
    if name in own:
        return own[name]
    if where.startswith("loom.flow.ir_") and (found := _ir(where.rpartition(".")[2], name)):
        return found
    if name == "args" and where.startswith("loom.gpu_") and where.removeprefix("loom.gpu_") in _OF_TWO:
        return lambda: (2.0,)
    if where.endswith("dispatch_indirect") and name in ("params", "buffer"):
        return {"params": lambda: [64], "buffer": lambda: "globals"}[name]
    if where.endswith(".dispatch") and name in ("params", "groups"):
        return {"params": lambda: [64], "groups": lambda: 1}[name]
    if where.startswith("loom.linalg.") and name == "a":
        return _matrix if where.rpartition(".")[2] in _OF_MATRICES else _vector
    if (where.startswith(("loom.tensor.", "Tensor.", "LoomTensor."))) and name in _T:
        return _T[name]
    return BY_NAME.get(name)


OBJECTS: dict[str, Make] = {
    "Chain": chain,
    "Unit": unit,
    "Program": program,
    "Network": _network,
    "Submission": lambda: program().launch(),
    "Mailbox": lambda: loom.mailbox(8, 4),
    "Tensor": _square,
    "LoomTensor": loom_tensor,
    "TensorProgram": _tensor_program,
    "Stream": tensor.Stream,
    "Support": _support,
    "Engine": _engine,
    "MainLoom": lambda: _engine()["m"],
    "Swarm": lambda: loom.swarm([program()]),
    "DType": lambda: loom.f32,
    "GroupBy": lambda: loom.data.group_by([1, 2, 1], [1.0, 2.0, 3.0]),
    "Rolling": lambda: loom.data.rolling(_vector(), 3),
    "Latest": loom.Latest,
    "Frame": _frame,
    "PngSequence": lambda: loom.PngSequence(folder()),
    "CSR": _csr,
    "QuantizedTensor": _quantised,
    **TABLES,
    **STORES,
}
"""Class -> an object of it whose public methods are called."""
