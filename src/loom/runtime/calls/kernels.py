"""``loom.kernel`` as users have it: kernels of the front end that can be called.

Layer: runtime. The front end knows no device; what a call does is told to it here, and loaded at the first call.
Invariant: whoever has ``loom.kernel`` has kernels that can be called.
"""

from __future__ import annotations

from typing import Any

from loom.ir.frontend.decorator import KernelFunction, kernel
from loom.kernels import functions as _functions  # noqa: F401  # pyright: ignore[reportUnusedImport] - tells the front end where math.exp is

__all__ = ["kernel"]


def _launch(function: KernelFunction, args: tuple[Any, ...], named: dict[str, Any], groups: Any = None) -> Any:
    try:
        from loom.runtime.calls.launch import launch
    except ImportError:
        from loom.core.process.inner_imports import refuse_half_loaded

        refuse_half_loaded("loom.runtime.calls.launch", f"kernel {function.name!r}")
        raise

    from loom.runtime.calls.interface import tell_conditions

    KernelFunction.launch, KernelFunction.tell = staticmethod(launch), staticmethod(tell_conditions)
    return launch(function, args, named, groups)


KernelFunction.launch = staticmethod(_launch)
