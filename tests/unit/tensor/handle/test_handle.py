"""Operators beside numpy's, methods, what is shown, pickles, and that nothing gives back the tensor it was given."""

from __future__ import annotations

import ast
import copy
import importlib.util
import operator
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import loom
from loom import tensor
from loom.core.errors import DTypeError, ShapeError
from loom.tensor.handle import methods

A = np.array([[7, -7, 3], [5, 2, -1]], np.int32)
B = np.array([2, -3, 4], np.int32)
BINARY = ["add", "sub", "mul", "truediv", "floordiv", "mod", "and_", "or_", "xor", "lt", "le", "gt", "ge", "eq", "ne"]


@pytest.mark.parametrize("name", BINARY)
@pytest.mark.parametrize("kind", ["i32", "f32"])
def test_operators_are_numpys(name: str, kind: str) -> None:
    if kind == "f32" and name in ("and_", "or_", "xor"):
        return
    a, b = (v.astype({"i32": "i4", "f32": "f4"}[kind]) for v in (A, B))
    op = getattr(operator, name)
    wanted = op(a, b)
    x, y = tensor.array(a), tensor.array(b)
    for found in (op(x, y), op(x, b), op(a, y), op(x, b.tolist())):
        assert isinstance(found, tensor.Tensor)
        assert np.allclose(found.numpy(), wanted, rtol=1e-6)
    scalar = 2
    assert np.allclose(op(x, scalar).numpy(), op(a, np.array(scalar, a.dtype)), rtol=1e-6)
    assert np.allclose(op(scalar, x).numpy(), op(np.array(scalar, a.dtype), a), rtol=1e-6)
    if name in ("add", "sub", "mul", "floordiv", "mod"):
        in_place = getattr(operator, f"i{name}")
        z = tensor.array(a)
        before, same = z * 1, z
        z = in_place(z, b)
        assert z is same
        assert np.allclose(z.numpy(), wanted)
        assert np.array_equal(before.numpy(), a)


def test_shifts_powers_products_and_numbers() -> None:
    x = tensor.array([1, 2, 3])
    assert ((x << 2).tolist(), (x >> 1).tolist(), (1 << x).tolist()) == ([4, 8, 12], [0, 1, 1], [2, 4, 8])
    assert [v.tolist() for v in divmod(x, 2)] == [[0, 1, 1], [1, 0, 1]]
    assert (2.0 ** tensor.array([1.0, 3.0])).tolist() == [2.0, 8.0]
    m = tensor.array([[1.0, 2.0], [3.0, 4.0]])
    assert (np.eye(2, dtype="f4") @ m).tolist() == (m @ np.eye(2, dtype="f4")).tolist() == m.tolist()
    one = tensor.array(2)
    assert ([10, 20, 30][one], complex(one), f"{tensor.array(1.5):.2f}", round(tensor.array([1.4]))[0].item()) == (
        30, 2 + 0j, "1.50", 1.0)  # fmt: skip
    assert 2 in x
    assert 5 not in x
    assert "a" not in x
    assert (x == "a") is False
    assert (+x).tolist() == x.tolist()
    assert np.array_equal(np.hypot(tensor.array([3.0]), 4.0).numpy(), [5.0])
    assert isinstance(np.sin(m), tensor.Tensor)
    total = np.zeros(2, "f4")
    total += tensor.array([1.0, 2.0])
    assert total.tolist() == [1.0, 2.0]
    with pytest.raises(DTypeError, match="f32 does not become i64"):
        x += 0.5
    with pytest.raises(ShapeError, match="the result has another shape"):
        x += np.ones((2, 3), "i8")


def test_parameters_are_written_in_their_place() -> None:
    p = tensor.parameter([1.0, 2.0, 3.0])
    before, place = p * 2, p.data
    program = tensor.compile([p + 0.0])
    p[1] = 5.0
    p *= 2
    p[[0, 2]] = tensor.array([7.0, 8.0])
    assert p.tolist() == [7.0, 10.0, 8.0]
    assert p.data is place
    assert before.tolist() == [2.0, 4.0, 6.0]
    program.run()
    assert program.read()[0].tolist() == [7.0, 10.0, 8.0]


def test_methods_are_functions() -> None:
    x = tensor.array([[3.0, 1.0], [2.0, 4.0]])
    assert x.argsort().tolist() == tensor.argsort(x).tolist()
    assert (x.any().item(), x.all(1).tolist(), x.std().item()) == (True, [True, True], pytest.approx(np.std(x.numpy())))
    assert (x.ravel().tolist(), x.swapaxes(0, 1).tolist()) == ([3.0, 1.0, 2.0, 4.0], [[3.0, 2.0], [1.0, 4.0]])
    assert [p.tolist() for p in x.chunk(2)] == [[[3.0, 1.0]], [[2.0, 4.0]]]
    assert (x.half().dtype, x.double().dtype, x.int().dtype, x.bool().dtype, x.to("i8").dtype) == (
        loom.f16, loom.f64, loom.i32, loom.bool_, loom.i8)  # fmt: skip
    assert (x.unsqueeze(0).shape, x.mT.tolist(), x.clamp(2, 3).tolist()) == (
        (1, 2, 2), [[3.0, 2.0], [1.0, 4.0]], [[3.0, 2.0], [2.0, 3.0]])  # fmt: skip
    assert (x.itemsize, x.expand(3, -1, -1).shape, x.norm().item()) == (4, (3, 2, 2), pytest.approx(30**0.5))
    assert x.to("interp").device.name == x.to_device("interp").home.name == "interp"
    with pytest.raises(AttributeError, match=r"a tensor has no 'argsrt'\. Did you mean 'argsort'"):
        _ = x.argsrt
    assert not hasattr(x, "__cuda_array_interface__")


def test_the_stub_knows_every_method() -> None:
    known = _signatures(Path(methods.__file__).with_suffix(".pyi").read_text())
    assert methods.METHODS
    assert [name for name in methods.METHODS if not callable(getattr(tensor.Tensor, name, None))] == []
    assert [name for name in methods.METHODS if name not in known] == []


def test_the_stub_is_what_the_tool_writes() -> None:
    path = Path(__file__).parents[4] / "tools" / "methods.py"
    spec = importlib.util.spec_from_file_location("tool_methods", path)
    assert spec is not None
    assert spec.loader is not None
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    assert _signatures(tool.stub()) == _signatures(tool.FILE.read_text())


def _signatures(text: str) -> dict[str, str]:
    found = next(node for node in ast.parse(text).body if isinstance(node, ast.ClassDef))
    names: dict[str, str] = {}
    for node in found.body:
        if isinstance(node, ast.Assign):
            names[ast.unparse(node.targets[0])] = ast.unparse(node.value)
        elif isinstance(node, ast.FunctionDef):
            names[node.name] = ast.unparse(node)
    return names


NO_OPS: dict[str, Callable[[Any], Any]] = {
    "reshape": lambda x: x.reshape(x.shape), "astype": lambda x: x.astype(x.dtype), "slice": lambda x: x[...],
    "permute": lambda x: x.permute(0, 1), "broadcast": lambda x: x.broadcast_to(x.shape), "positive": lambda x: +x,
    "copy": lambda x: x.copy(), "squeeze": tensor.squeeze, "concat": lambda x: tensor.concat([x]),
    "T": lambda x: x[0].T,
    "split": lambda x: tensor.split(x, 1)[0], "pad": lambda x: tensor.pad(x, [(0, 0), (0, 0)]),
    "mT": lambda x: x[:1].mT,
    "view": lambda x: x.view(2, 3), "to": lambda x: x.to("cpu"), "round": lambda x: tensor.round(x.int()),
    "flip": lambda x: x.flip(()), "moveaxis": lambda x: x.moveaxis(0, 0), "copied": copy.copy, "deep": copy.deepcopy,
    "checkpoint": lambda x: tensor.asarray(x, copy=True), "where": tensor.clip, "real": lambda x: x.real,
    "broadcast arrays": lambda x: tensor.broadcast_arrays(x)[0], "flatten": lambda x: x.flatten().flatten(),
    "cast": lambda x: tensor.cast(x, "f32"), "expand": lambda x: x.expand(-1, -1), "sum": lambda x: x.sum(()),
}  # fmt: skip


@pytest.mark.parametrize("name", NO_OPS)
def test_what_has_nothing_to_do_gives_another_tensor(name: str) -> None:
    x = tensor.array(np.arange(6, dtype=np.float32).reshape(2, 3), on="cpu")
    found = NO_OPS[name](x)
    before = found.tolist()
    assert found is not x
    x += 1
    assert found.tolist() == before
    found[...] = 9
    assert x.tolist() == [[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]


def test_what_is_shown() -> None:
    x = tensor.array([[1.0, 2.5], [3.0, -4.0]], on="cpu")
    assert repr(x) == "tensor([[ 1. ,  2.5],\n        [ 3. , -4. ]], f32, cpu)"
    assert repr(tensor.array(7, on="cpu")) == "tensor(7, i64, cpu)"
    assert repr(tensor.array([True, False], on="cpu")) == "tensor([ True, False], bool, cpu)"
    assert repr(tensor.array(np.empty((0, 3), "f4"), on="cpu")) == "tensor([], shape (0, 3), f32, cpu)"
    assert repr(tensor.parameter([1.0], name="w", on="cpu")) == "tensor([1.], f32, cpu, name='w')"
    large = np.arange(6000).reshape(60, 100)
    with np.printoptions(threshold=1000):
        wanted = np.array2string(large, separator=", ", prefix="tensor(")
    assert repr(tensor.array(large, on="cpu")) == f"tensor({wanted}, shape (60, 100), i64, cpu)"
    assert repr(tensor.input("x", (2,)) * 2) == "<tensor f32, 2, mul>"
    assert x._repr_html_().startswith("<table><tr><td>1.0</td><td>2.5</td></tr>")
    assert x._repr_html_().endswith("<small>f32, 2 x 2, cpu</small>")
    assert "&hellip;" in tensor.array(large)._repr_html_()
    assert tensor.input("<b>", (1,))._repr_html_() == "<pre>&lt;tensor &#x27;&lt;b&gt;&#x27; f32, 1, input&gt;</pre>"


@pytest.mark.parametrize("dtype", ["bool", "i8", "u64", "f16", "bf16", "f32", "f64", "c64", "c128"])
def test_pickles(dtype: str) -> None:
    for shape in ((), (0, 2), (2, 3)):
        x = tensor.array(np.arange(6)[: int(np.prod(shape))].reshape(shape) % 2, dtype, on="interp") + 0
        found = pickle.loads(pickle.dumps(x))
        assert (found.dtype, found.shape, found.home.name, found.tolist()) == (x.dtype, shape, "interp", x.tolist())


def test_pickles_of_parameters_and_inputs_and_in_another_process(tmp_path: Path) -> None:
    p = pickle.loads(pickle.dumps(tensor.parameter([1.0], name="w")))
    p.assign([2.0])
    assert (p.name, p.tolist()) == ("w", [2.0])
    x = pickle.loads(pickle.dumps(tensor.input("x", (2,), "i8")))
    assert (x.name, x.shape, x.dtype, x.is_fed) == ("x", (2,), loom.i8, True)
    path = tmp_path / "x.pickle"
    path.write_bytes(pickle.dumps(tensor.array([1.5, 2.5]) * 2))
    code = f"import pickle; print(pickle.load(open({str(path)!r}, 'rb')).tolist())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "[3.0, 5.0]"


def test_gradients_go_through_assignment() -> None:
    w = tensor.array([1.0, 2.0, 3.0])
    y = w * 2
    y[1] = w[0] * 10
    y += w
    y[y > 12] = 0.0
    (g,) = tensor.grad((y * y).sum(), [w])
    assert g.tolist() == [2 * 3 * 3 + 2 * 12 * 10, 2 * 12 * 1, 2 * 9 * 3]
