"""Operations of tensors as ONNX: each comes back to the bits, onnxruntime's answers are near."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from loom import tensor
from loom.core.errors import LoomError
from loom.core.numerics import canonical_bits
from loom.export import to_onnx
from loom.kernels.functions import EXACT, FUNCTIONS, function
from loom.tensor.ops.elementwise import MAPS, apply
from unit.export.onnx.there_and_back import TOLERANCES, floats, near, same_bits, session

_NUMPY: dict[str, Any] = {
    "f32": np.float32, "f64": np.float64, "f16": np.float16, "bf16": ml_dtypes.bfloat16, "bool": np.bool_,
    **{f"{sign}{n}": np.dtype(f"{'u' if sign == 'u' else ''}int{n}") for sign in "iu" for n in (8, 16, 32, 64)},
}  # fmt: skip
_LACKING = frozenset(("mulhi", "popcount", "clz", "dot4_i8", "dot4_u8i8", "dot2_i16", "nextafter", "gamma", "lgamma",
                      "j0", "j1", "y0", "y1"))  # fmt: skip
_N = 40


def _values(dtype: str, seed: int) -> Any:
    """Return numbers where operations go wrong, and others."""
    rng = np.random.default_rng(seed)
    kind = _NUMPY[dtype]
    if dtype == "bool":
        return rng.integers(0, 2, _N).astype(bool)
    if dtype in ("f32", "f64", "f16", "bf16"):
        hard = [0.0, -0.0, 1, -1, np.inf, -np.inf, np.nan, 0.5, -0.5, 2, 3, 1e-6, 1e4, -1e4, 0.999]
        found = np.concatenate([hard, rng.standard_normal(_N - len(hard))])
    else:
        info = np.iinfo(kind)
        found = np.array([0, 1, 2, 3, info.max, info.min, info.max - 1, *rng.integers(0, 20, _N - 7).tolist()], object)
    rng.shuffle(found)
    return found.astype(kind)


@cache
def _arity(name: str) -> int:
    if name in FUNCTIONS or name in EXACT:
        return function(name).arity
    return {"select": 3, "relu": 2}.get(name) or tensor_arity(name)


def tensor_arity(name: str) -> int:
    from loom.ir.ops import OPS

    return OPS[name].arity


def _outputs(dtype: str, wanted: Callable[[str], bool]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return every operation that takes a dtype, over inputs a, b and c, and arrays for these."""
    fed = {name: _values(dtype, seed) for seed, name in enumerate("abc")}
    inputs = {name: tensor.input(name, (_N,), dtype) for name in fed}
    found: dict[str, Any] = {}
    for name in MAPS:
        if name in ("select", "relu") or not wanted(name):
            continue
        try:
            found[name] = apply(name, *list(inputs.values())[: _arity(name)])
        except LoomError:  # not an operation of this dtype
            continue
    is_bool = dtype == "bool"
    found["select"] = tensor.where(inputs["a"] if is_bool else inputs["a"] > inputs["b"], inputs["b"], inputs["c"])
    return found, fed


def _made(outputs: dict[str, Any], fed: dict[str, Any]) -> dict[str, Any]:
    program = tensor.compile(list(outputs.values()), on="cpu")
    used = {n: a for n, a in fed.items() if n in program.inputs}
    program.run(**used)
    found = dict(zip(outputs, program.read(), strict=True))
    program.free()
    return found


def _same(dtype: str) -> tuple[dict[str, Any], Any, dict[str, Any]]:
    outputs, fed = _outputs(dtype, lambda n: n not in _LACKING and (n, dtype) != ("ipow", "u64"))
    model = to_onnx(outputs)
    fed = {i.name: fed[i.name] for i in model.graph.input}
    wanted = _made(outputs, fed)
    import loom.onnx

    found = loom.onnx.load(model, on="cpu").run(fed)
    for name, a in wanted.items():
        b = found[name].astype(a.dtype) if found[name].dtype == ml_dtypes.bfloat16 else found[name]
        np.testing.assert_array_equal(canonical_bits(a), canonical_bits(b), err_msg=f"{name} of {dtype}")
    return wanted, model, fed


@pytest.mark.parametrize("dtype", ["f32", pytest.param("u8", marks=pytest.mark.slow)])
def test_operations(dtype: str) -> None:
    _same(dtype)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", sorted(set(_NUMPY) - {"f32", "u8"}))
def test_operations_of_other_dtypes(dtype: str) -> None:
    _same(dtype)


def test_onnxruntime_is_near() -> None:
    """But for Gelu of -inf, of which it makes NaN."""
    outputs, fed = _outputs("f32", lambda n: n not in _LACKING)
    assert {"log1p", "expm1", "erfc", "atan2", "hypot", "cbrt", "copysign", "fmod"} <= set(outputs)
    model = to_onnx(outputs)
    fed = {i.name: fed[i.name] for i in model.graph.input}
    wanted = _made(outputs, fed)
    found = dict(zip(wanted, session(model).run(list(wanted), fed), strict=True))
    for name, a in wanted.items():
        there = np.isfinite(fed["a"]) | (not name.startswith("gelu"))
        np.testing.assert_allclose(found[name][there], a[there], rtol=TOLERANCES["f32"], atol=2e-7, err_msg=name)


@pytest.mark.parametrize("name", sorted(_LACKING))
def test_what_onnx_lacks_is_refused_by_name(name: str) -> None:
    dtype = "f32" if name in FUNCTIONS or name == "nextafter" else "i32"
    inputs = [tensor.input(n, (4,), dtype) for n in "abc"[: _arity(name)]]
    with pytest.raises(LoomError, match=rf"loom\.export\.onnx, {name}\] ONNX has nothing for it.*loom export --to c"):
        to_onnx(apply(name, *inputs))


# what moves, folds and orders

_X = tensor.input("x", (3, 4, 6))
_AT = tensor.input("at", (5,), "i32")
_PROGRAMS: dict[str, Any] = {
    "reversed": _X[:, ::-1, 1:5:2], "permuted": tensor.permute(_X, (2, 0, 1)), "spread": _X[:, :, :1] + _X[:1],
    "padded": tensor.pad(_X, [(1, 0), (0, 2), (0, 0)], 1.5),
    "placed": tensor.place(_X, (3, 9, 6), (0, 1, 0), (1, 2, 1), -1),
    "joined": tensor.concat([_X, _X[:, :2]], 1), "stacked": tensor.stack([_X, -_X], 1),
    "windows": tensor.windows(_X, [1, 2], [2, 3], [1, 2], [2, 1]), "sum": _X.sum((0, 2)), "mean": _X.mean(1),
    "all": _X.sum(), "largest": _X.max(2), "least": _X.min((0, 1)), "place": tensor.argmax(_X, 1),
    "flat": tensor.argmin(_X), "product": tensor.prod(_X, axis=2), "softmax": tensor.softmax(_X, 1),
    "variance": tensor.var(_X, axis=1), "matmul": _X @ tensor.permute(_X, (0, 2, 1)), "vector": _X @ _X[0, 0],
    "einsum": tensor.einsum("bij,bkj->bik", _X, _X), "rows": tensor.gather(_X, _AT), "picked": tensor.take(_X, _AT, 1),
    "along": tensor.take_along_axis(_X, tensor.argsort(_X, axis=1), 1), "sorted": tensor.sort(_X, axis=2),
    "first": tensor.topk(_X, 2)[0], "where": tensor.topk(_X, 2)[1], "running": tensor.cumulative_sum(_X, axis=1),
    "triangle": tensor.tril(_X), "cast": _X.astype("i32"), "bools": _X > 0, "any": tensor.any(_X > 1, axis=0),
    "counted": (_X > 0).sum(0), "normed": tensor.layer_norm(_X), "scores": tensor.logsumexp(_X, 1),
    "convolved": tensor.convolve(_X, tensor.array(floats((3, 6, 2), 3)), padding=1),
    "pooled": tensor.max_pool(_X, 2, 1, 1), "averaged": tensor.average_pool(_X, 2, 1),
    "attended": tensor.scaled_dot_product_attention(_X, _X, _X, is_causal=True), "coordinate": tensor.arange(6) * _X,
    "near": tensor.round(_X / 0.3) * 0.3, "clipped": tensor.clip(_X, -0.5, 0.5), "floor": _X // 0.7, "rest": _X % 0.7,
}  # fmt: skip


_FEW = ("reversed", "placed", "windows", "all", "place", "rows", "along", "running", "convolved", "cast")


@pytest.mark.parametrize("names", [_FEW, pytest.param(tuple(_PROGRAMS), marks=pytest.mark.slow)], ids=["few", "all"])
def test_programs_come_back(names: tuple[str, ...]) -> None:
    programs = {name: _PROGRAMS[name] for name in names}
    fed = {"x": floats((3, 4, 6), 8), "at": np.array([2, 0, -1, 7, 1], np.int32)}
    model = to_onnx(programs)
    wanted = _made(programs, fed)
    assert not wanted["rows"][[2, 3]].any()
    same_bits(wanted, model, fed)
    near(wanted, model, fed, TOLERANCES["f32"])


def test_means_of_windows_with_padding_are_pools_that_count_it() -> None:
    """Zeros around an image are elements of its windows here, and ONNX has to be told so."""
    x = tensor.input("x", (2, 3, 5, 4))
    padded = tensor.pad(x, [(0, 0), (0, 0), (1, 1), (1, 1)])
    program = {"y": tensor.windows(padded, [2, 3], [2, 3], [2, 1]).mean((4, 5))}
    model = to_onnx(program)
    assert [n.op_type for n in model.graph.node].count("AveragePool") == 1
    fed = {"x": floats((2, 3, 5, 4), 4)}
    wanted = _made(program, fed)
    around = np.pad(fed["x"], [(0, 0), (0, 0), (1, 1), (1, 1)])
    assert wanted["y"][0, 0, 0, 0] == pytest.approx(around[0, 0, :2, :3].mean())
    same_bits(wanted, model, fed)
    near(wanted, model, fed, TOLERANCES["f32"])


def test_a_function_with_another_body_is_run_by_that_body() -> None:
    """Of the domain ``loom`` too: Loom takes its own for the bodies that it wrote alone."""
    import onnx

    import loom.onnx

    model = to_onnx(tensor.input("x", (3,)).map("log1p"))
    x = np.array([0.5, 1.0, 2.0], np.float32)
    del model.functions[0].node[:]
    model.functions[0].node.append(onnx.helper.make_node("Neg", ["x"], ["y"]))
    assert loom.onnx.load(model, on="cpu").run({"x": x})["y"].tolist() == [-0.5, -1.0, -2.0]
