"""Finds a kernel in a Python file, named ``FILE:KERNEL``, or all of them.

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
from loom.ir.frontend.base.annotations import BufferType
from loom.ir.frontend.decorator import KernelFunction
from loom.ir.kernel import Kernel
from loom.ir.verified import VerifiedKernel
from loom.ir.verify import verify

__all__ = ["list_kernels", "load_kernel", "load_object"]

_WHERE = "loom ir"
_MODULE_NAME = "__loom_kernel_file__"


def load_kernel(spec: str) -> VerifiedKernel:
    """Return the kernel that ``FILE:KERNEL`` names, verified; ``FILE:KERNEL[f32]`` is an instance of one over types."""
    file, separator, name = spec.rpartition(":")
    if not separator or not file or not name:
        raise ArgumentError(
            _WHERE,
            "no kernel is named",
            expected="FILE:KERNEL",
            got=repr(spec),
            remedy="Write kernels.py:scale",
        )
    name, bracket, types = name.partition("[")
    found = _find(_import_file(_path(file), name), name, file)
    if bracket:
        chosen = [each.strip() for each in types.rstrip("]").split(",") if each.strip()]
        if not isinstance(found, KernelFunction):
            raise ArgumentError(_WHERE, f"{name!r} is not a kernel over types", expected=name, got=f"{name}[{types}",
                                remedy="Leave the types out")  # fmt: skip
        found = found.specialize(*chosen)
    return _verify(found)


def load_object(spec: str) -> Any:
    """Return what ``FILE:NAME`` names in a Python file, whatever it is; None for what is not there."""
    file, _, name = spec.rpartition(":")
    return vars(_import_file(_path(file), name)).get(name)


def list_kernels(file: str) -> list[str]:
    """Return a line for each kernel of a file: its name, its workgroup and its parameters."""
    kernels = _kernels(_import_file(_path(file)))
    if not kernels:
        raise ArgumentError(_WHERE, f"{file!r} has no kernel", expected="functions decorated with @loom.kernel",
                            remedy="Decorate a function with @loom.kernel")  # fmt: skip
    return [f"{name}  workgroup {'x'.join(map(str, k.workgroup))}  ({_signature(k)})" for name, k in kernels.items()]


def _signature(kernel: Any) -> str:
    if isinstance(kernel, KernelFunction):
        names = {n: _annotation_text(kernel.annotations.get(n)) for n in kernel.parameters}
    else:
        names = {m.name: str(m.dtype) for m in (*kernel.buffers, *kernel.params)}
    return ", ".join(f"{name}: {kind}" for name, kind in names.items())


def _annotation_text(annotation: Any) -> str:
    """Return an annotation as it is written."""
    if isinstance(annotation, BufferType):
        name = {"read": "In", "write": "Out", "read_write": "InOut"}[annotation.access.value]
        return f"{name}[{_annotation_text(annotation.dtype)}{f', {annotation.ndim}' if annotation.ndim else ''}]"
    return str(getattr(annotation, "__name__", annotation))


def _path(file: str) -> Path:
    path = Path(file)
    if not path.is_file():
        raise ArgumentError(_WHERE, f"there is no file {file!r}", remedy="Give the path of a Python file")
    return path


def _import_file(path: Path, wanted: str = "") -> ModuleType:
    """Return the file as a module; it may import its neighbours, which do not hide installed modules.

    A file that leaves when it is imported, as one does that reads a command line, is taken as far as it came, if it has
    made the kernel ``wanted`` by then (any, if none is named).
    """
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
        if isinstance(error, SystemExit) and (wanted in _kernels(module) if wanted else _kernels(module)):
            return module
        remedy = "Correct the file"
        if isinstance(error, SystemExit):
            remedy = 'Put what it does when it is run under if __name__ == "__main__", behind its kernels'
        raise ArgumentError(
            _WHERE, f"{str(path)!r} cannot be imported", got=_describe(error, path), remedy=remedy
        ) from error
    finally:
        sys.path.remove(folder)
        sys.argv = told
    return module


def _describe(error: BaseException, path: Path) -> str:
    """Return an error in one line, with the line of the file it came from."""
    text = f"{type(error).__name__}: {error}"
    lines = [f.lineno for f in traceback.extract_tb(error.__traceback__) if Path(f.filename) == path.resolve()]
    return f"{text} (line {lines[-1]})" if lines else text


def _kernels(module: ModuleType) -> dict[str, Any]:
    return {n: v for n, v in vars(module).items() if isinstance(v, (KernelFunction, Kernel, VerifiedKernel))}


def _find(module: ModuleType, name: str, file: str) -> Any:
    kernels = _kernels(module)
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


def _verify(found: Any) -> VerifiedKernel:
    if isinstance(found, KernelFunction):
        return found.verified
    return found if isinstance(found, VerifiedKernel) else verify(found)
