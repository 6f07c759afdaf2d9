"""A single kernel frozen: whoever calls it brings the memory, the parameters and the number of groups.

Layer: export. Invariant: the kernel is the one that devices run, with the same checks of its indices.
"""

from __future__ import annotations

from typing import Any

from loom.core.caps import Caps
from loom.core.errors import ArgumentError
from loom.export.frozen import Image
from loom.export.words import require_identifier
from loom.runtime.chain.arguments import as_verified
from loom.runtime.plans.foreign import ForeignKernel
from loom.runtime.plans.library import refuse_library

__all__ = ["FrozenKernel", "freeze_kernel"]


class FrozenKernel:
    """What every export of a kernel is made of; ``image`` lays it out for one machine."""

    def __init__(self, kernel: Any, name: str) -> None:
        self.kernel, self.name = kernel, name

    def image(self, caps: Caps) -> Image:
        """Return the kernel and its tables of constants; it has no memory of its own."""
        found = Image(caps)
        found.number_of(self.kernel)
        return found

    def tables(self, image: Image) -> list[int | None]:
        """Return where the table of each buffer lies among the constants, None for those that are bound."""
        return [None if m.data is None else image.constant(m.data) for m in self.kernel.buffers]


def freeze_kernel(kernel: Any, *, name: str | None = None) -> FrozenKernel:
    """Return a kernel written down for exports.

    Args:
        kernel: Function with ``@loom.kernel``, or a built kernel; of one over types an instance, ``k[f32]``.
        name: Prefix of its C functions; None: the kernel's own.

    Raises:
        ArgumentError: SPIR-V of others; a name that C cannot have.
        DTypeError: Not a kernel.
        KernelError: The kernel cannot be accepted.

    >>> import loom
    >>> @loom.kernel
    ... def scale(x: loom.InOut[loom.f32], a: loom.f32):
    ...     i = loom.global_id()
    ...     if i < len(x):
    ...         x[i] = x[i] * a
    >>> freeze_kernel(scale).name
    'scale'
    """
    where = "loom.export.freeze_kernel"
    verified = as_verified(kernel, where)
    refuse_library(verified, where)
    if isinstance(verified, ForeignKernel):
        raise ArgumentError(where, "SPIR-V cannot be exported", expected="a kernel of Loom's", got="a module",
                            remedy="Write it with @loom.kernel")  # fmt: skip
    chosen = name or "".join(c if c.isalnum() else "_" for c in verified.name).strip("_")
    require_identifier(chosen, is_type=False)
    return FrozenKernel(verified, chosen)
