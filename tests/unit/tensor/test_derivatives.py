"""Operations that have a derivative have one in a process that has loaded nothing else of ``loom.tensor``."""

from __future__ import annotations

import subprocess
import sys

import pytest

GRADIENT = """
import numpy as np
from loom import tensor
x = tensor.parameter(np.array([[2.0, 3.0, 5.0]], np.float32))
(found,) = tensor.grad({}.sum(), [x])
print(found.tolist())
"""
ALL = """
import importlib, pkgutil
import loom.tensor.arrays.autodiff
from loom.tensor.arrays.derivatives import VJPS, vjp_of
from loom.tensor import ops
from loom.tensor.record.graph import TensorOp
modules = [importlib.import_module(m.name) for m in pkgutil.iter_modules(ops.__path__, "loom.tensor.ops.")]
known = {op for m in modules for op in vars(m).values() if isinstance(op, TensorOp)}
before = {op for op in known if vjp_of(op) is not None}
for m in pkgutil.walk_packages(loom.tensor.__path__, "loom.tensor."):
    importlib.import_module(m.name)
print(sorted(op.name for op in known & set(VJPS) - before), len(before) > 20)
"""


def _run(program: str) -> str:
    return subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stdout.strip()


@pytest.mark.parametrize(
    ("term", "gradient"),
    [
        ("tensor.prod(x, axis=1)", [[15.0, 10.0, 6.0]]),
        ("x.cumsum(axis=1)", [[3.0, 2.0, 1.0]]),
        ("tensor.sort(x)", [[1.0, 1.0, 1.0]]),
    ],
)
def test_the_first_gradient_of_a_process(term: str, gradient: list[list[float]]) -> None:
    assert _run(GRADIENT.format(term)) == str(gradient)


def test_no_derivative_waits_for_a_module() -> None:
    assert _run(ALL) == "[] True"
