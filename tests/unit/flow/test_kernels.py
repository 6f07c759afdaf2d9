"""The kernels that have paths: numpy, torch and the patterns on the same numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch

import loom
from loom.flow import loom_boot, loom_build, loom_dispatch, loom_read, loom_run, loom_set_heap, loom_write

RNG = np.random.default_rng(5)
A, B = (RNG.normal(size=600).astype(np.float32) * 3 for _ in range(2))


def run(
    path: str, registers: Any, params: Sequence[Any] = (), wg: float = 3.0, *, given: Any = (), heap: Any = None
) -> Any:
    """Return the registers after one dispatch of a kernel of the library."""
    unit = loom_boot(1.0, len(registers), max(1, len(given)))
    loom_write(unit, 0, registers, bind=0)
    loom_write(unit, 0, given)
    if heap is not None:
        loom_set_heap(unit, heap)
    loom_dispatch(unit, f"stdlib/loom/kernels/{path}.spv", params, wg)
    loom_run(loom_build(unit))
    return loom_read(unit, 0, 0, len(registers))


@pytest.mark.parametrize("name", ["abs", "neg", "floor", "square"])
def test_exact_maps(name: str) -> None:
    numpys = {"neg": np.negative}.get(name, getattr(np, name, None))
    assert np.array_equal(run(f"math/{name}", A), numpys(A))


@pytest.mark.parametrize("name", ["sqrt", "exp", "log", "sin", "cos", "tanh"])
def test_functions(name: str) -> None:
    data = np.abs(A) + np.float32(0.1)
    assert np.array_equal(run(f"math/{name}", data), loom.gpu_map(data, name))
    assert np.allclose(run(f"math/{name}", data), getattr(np, name)(data), rtol=1e-5)


def test_two_operands() -> None:
    for name, numpys in {"add": np.add, "sub": np.subtract, "mul": np.multiply, "div": np.divide}.items():
        for path in (f"math/{name}", f"vm/vm_{name}"):
            assert np.array_equal(run(path, A, given=B), numpys(A, B))
    assert np.array_equal(run("math/min", A, given=B), np.minimum(A, B))
    assert np.array_equal(run("math/max", A, given=B), np.maximum(A, B))
    assert np.array_equal(run("vm/vm_scale", A, [2.5]), A * np.float32(2.5))
    assert np.array_equal(run("vm/vm_relu", A), np.maximum(A, 0))
    assert np.allclose(run("nn/silu", A), torch.nn.functional.silu(torch.from_numpy(A)).numpy(), rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("size", [1, 63, 64, 600, 4096, 4097, 20_000])
def test_folds_have_the_bits_of_the_patterns(size: int) -> None:
    data = (RNG.normal(size=size) * 100).astype(np.float32)
    held = np.append(data, np.float32(0))
    assert run("reduce/reduce_sum", held, [size], 1.0)[-1] == loom.gpu_sum(data)
    assert run("reduce/reduce_min", held, [float(size)], 1.0)[-1] == data.min()
    assert run("reduce/reduce_max", held, [float(size)], 1.0)[-1] == data.max()


def test_rows() -> None:
    x = A.reshape(6, 100)
    found = run("nn/softmax", A, [100], 6.0).reshape(6, 100)
    assert np.array_equal(found, loom.gpu_softmax(x))
    weight = B[:100]
    found = run("nn/rmsnorm", A, [100, 1e-5], 6.0, given=weight).reshape(6, 100)
    wanted = torch.nn.functional.rms_norm(torch.from_numpy(x), (100,), torch.from_numpy(weight), 1e-5)
    assert np.allclose(found, wanted.numpy(), rtol=1e-5, atol=1e-6)


def test_rope_and_matvec() -> None:
    x = A[:48].reshape(6, 8)
    angles = np.array([[t * 10000.0 ** (-d / 4) for d in range(4)] for t in range(6)], np.float32)
    found = run("nn/rope", A[:48], [4], given=angles.reshape(-1)).reshape(6, 8)
    assert np.allclose(found, loom.gpu_rope(x), rtol=1e-5, atol=1e-5)
    matrix, vector = RNG.normal(size=(5, 300)).astype(np.float32), B[:300]
    found = run("nn/matvec", np.zeros(5), [5, 300], 1.0, given=matrix.reshape(-1), heap=vector)
    assert np.array_equal(found, loom.gpu_matmul(matrix, vector.reshape(300, 1)).reshape(-1))


def test_the_sieve_lies_in_its_folder_too() -> None:
    assert run("sieve/sieve_init", np.zeros(9), [0, 8, 100, 0], 1.0).dtype == np.uint32
