"""Finds a kernel in a Python file, named ``FILE:KERNEL``.

Layer: cli. Invariant: whatever is wrong with the name, the file or what it does when imported is an
ArgumentError that says so; a KernelError of the kernel itself passes through.
"""

from __future__ import annotations

import importlib.util
import sys
import traceback
from pathlib import Path
from types import ModuleType
from typing import Any

from loom.core.errors import ArgumentError, LoomError, near_matches
from loom.ir.frontend.decorator import KernelFunction
from loom.ir.kernel import Kernel
from loom.ir.verify import VerifiedKernel, verify

__all__ = ["load_kernel"]

_WHERE = "loom ir"
_MODULE_NAME = "__loom_kernel_file__"


def load_kernel(spec: str) -> VerifiedKernel:
    """Return the kernel that ``FILE:KERNEL`` names, verified."""
    file, separator, name = spec.rpartition(":")
    if not separator or not file or not name:
        raise ArgumentError(
            _WHERE,
            "no kernel is named",
            expected="FILE:KERNEL",
            got=repr(spec),
            remedy="Write kernels.py:scale",
        )
    path = Path(file)
    if not path.is_file():
        raise ArgumentError(_WHERE, f"there is no file {file!r}", remedy="Give the path of a Python file")
    return _verified(_find(_imported(path), name, file))


def _imported(path: Path) -> ModuleType:
    """Return the file as a module; it may import its neighbours, which do not hide installed modules."""
    spec = importlib.util.spec_from_file_location(_MODULE_NAME, path.resolve())
    if spec is None or spec.loader is None:
        raise ArgumentError(_WHERE, f"{str(path)!r} is not a Python file", remedy="Give a file that ends in .py")
    module = importlib.util.module_from_spec(spec)
    folder = str(path.resolve().parent)
    sys.path.append(folder)
    told, sys.argv = sys.argv, [str(path)]  # a file that reads its arguments has none
    sys.modules[_MODULE_NAME] = module
    try:
        spec.loader.exec_module(module)
    except LoomError:
        raise
    except (Exception, SystemExit) as error:
        raise ArgumentError(
            _WHERE,
            f"{str(path)!r} cannot be imported",
            got=_described(error, path),
            remedy="Correct the file",
        ) from error
    finally:
        sys.path.remove(folder)
        sys.argv = told
    return module


def _described(error: BaseException, path: Path) -> str:
    """Return an error in one line, with the line of the file it came from."""
    text = f"{type(error).__name__}: {error}"
    lines = [f.lineno for f in traceback.extract_tb(error.__traceback__) if Path(f.filename) == path.resolve()]
    return f"{text} (line {lines[-1]})" if lines else text


def _find(module: ModuleType, name: str, file: str) -> Any:
    kernels = {n: v for n, v in vars(module).items() if isinstance(v, (KernelFunction, Kernel, VerifiedKernel))}
    if name in kernels:
        return kernels[name]
    what = f"{file!r} has no kernel {name!r}"
    if name in vars(module):
        what = f"{name!r} in {file!r} is not a kernel"
    remedy = near_matches(name, list(kernels)) if kernels else "Decorate a function with @loom.kernel"
    raise ArgumentError(
        _WHERE, what, expected="a function decorated with @loom.kernel, or a built kernel",
        got=type(vars(module)[name]).__name__ if name in vars(module) else None, remedy=remedy,
    )  # fmt: skip


def _verified(found: Any) -> VerifiedKernel:
    if isinstance(found, KernelFunction):
        return found.verified
    return found if isinstance(found, VerifiedKernel) else verify(found)
