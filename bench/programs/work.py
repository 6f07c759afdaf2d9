"""What a program of this folder is: sides that do the same work, results to compare, and where peers come from.

Invariant: a peer that is not installed is absent from ``sides``, and said.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

import loom

__all__ = ["FLAGS", "Work", "compile_c", "has_numba", "recorded"]

Array = np.ndarray[Any, Any]
FLAGS = ("-O3", "-march=native", "-ffp-contract=off", "-fno-math-errno", "-fopenmp")


@dataclass(slots=True)
class Work:
    """One program: what each side calls, and what it gives; ``tolerance`` is relative, 0 for equal bits."""

    name: str
    tolerance: float = 0.0
    sides: dict[str, Callable[[], Any]] = field(default_factory=dict[str, Callable[[], Any]])
    results: dict[str, Callable[[], Array]] = field(default_factory=dict[str, Callable[[], Array]])
    kernels: dict[str, Sequence[Any]] = field(default_factory=dict[str, Sequence[Any]])

    def add(self, name: str, call: Callable[[], Any], result: Array | Callable[[], Array]) -> None:
        """Add a side."""
        self.sides[name] = call
        self.results[name] = (lambda: result) if isinstance(result, np.ndarray) else result

    def loom(
        self, name: str, result: Array | Callable[[], Array], *dispatches: tuple[Any, ...], on: str = "cpu"
    ) -> None:
        """Add a side of Loom: dispatches are (kernel, buffers, params, groups)."""
        self.kernels[name] = [d[0] for d in dispatches]
        self.add(name, recorded(dispatches, on).run, result)

    def c(self, source: str, arguments: Sequence[Any], result: Array) -> None:
        """Add gcc, if there is one: the function ``run`` of ``source``."""
        library = compile_c(source)
        if library is not None:
            given = [_argument(a) for a in arguments]
            library.run.restype = None
            self.add("gcc", lambda: library.run(*given), result)

    def numba(self, compiled: Callable[[], Callable[..., Any]], arguments: Sequence[Any], result: Array) -> None:
        """Add numba, if it is installed."""
        if has_numba():
            function = compiled()
            self.add("numba", lambda: function(*arguments), result)

    def check(self) -> None:
        """Run every side once and compare what they give with the first; AssertionError if one differs."""
        expected: Array | None = None
        for name, call in self.sides.items():
            call()
            found = np.array(self.results[name]())
            if expected is None:
                expected = found
            elif self.tolerance == 0:
                assert np.array_equal(found, expected), f"{self.name}: {name} differs"
            else:
                np.testing.assert_allclose(
                    found, expected, rtol=self.tolerance, atol=self.tolerance, err_msg=f"{self.name}: {name}"
                )


def recorded(dispatches: Sequence[tuple[Any, ...]], on: str = "cpu") -> Any:
    """Return the program of some dispatches."""
    chain = loom.Chain(on)
    for kernel, buffers, params, groups in dispatches:
        chain.dispatch(kernel, list(buffers), list(params), groups=groups)
    return chain.build()


def has_numba() -> bool:
    """Tell whether numba is installed."""
    try:
        import numba
    except ImportError:
        return False
    numba.set_num_threads(int(os.environ.get("LOOM_BENCH_THREADS", "2")))
    return True


@cache
def compile_c(source: str) -> Any:
    """Compile C with gcc and load it; None if there is no gcc."""
    gcc = shutil.which("gcc")
    if gcc is None:
        return None
    folder = Path(tempfile.gettempdir()) / "loom-bench-programs"
    folder.mkdir(exist_ok=True)
    name = hashlib.sha256(source.encode()).hexdigest()[:16]
    path, made = folder / f"{name}.c", folder / f"{name}.so"
    path.write_text(source)
    subprocess.run([gcc, *FLAGS, "-shared", "-fPIC", "-o", str(made), str(path), "-lm"], check=True)
    return ctypes.CDLL(str(made))


def _argument(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return value.ctypes.data_as(ctypes.c_void_p)
    return ctypes.c_float(value) if isinstance(value, float) else ctypes.c_int64(value)
