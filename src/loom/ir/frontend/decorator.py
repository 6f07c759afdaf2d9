"""``@loom.kernel``: marks a typed Python function as a kernel and compiles it when first needed.

Layer: ir. Invariant: the kernel a function gives is fixed by its source and the outer values it names.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Mapping
from functools import cached_property, update_wrapper
from types import FunctionType
from typing import Any, ClassVar, overload

import numpy as np

from loom.core.dtype import DType
from loom.core.errors import ArgumentError, KernelTypeError, StateError, end_of_process
from loom.core.given import flag, is_int, is_list, is_tuple
from loom.core.numerics import Guarantee
from loom.core.tracebacks import brief
from loom.ir.frontend.base.annotations import resolve_annotations
from loom.ir.frontend.generic import choose_by_name, choose_types, is_choice, substitute, unchosen, variables_of
from loom.ir.frontend.source import keep_source
from loom.ir.kernel import Kernel, LaneOrder
from loom.ir.verified import VerifiedKernel

__all__ = ["KernelFunction", "kernel"]


class KernelFunction:
    """A Python function that is a kernel. ``verified`` compiles and checks it, once."""

    def __init__(
        self,
        fn: Callable[..., Any],
        workgroup: tuple[int, int, int],
        names: dict[str, Any],
        *,
        trusted: bool = False,
        guarantee: Guarantee = Guarantee.BIT_EXACT,
        order: LaneOrder = LaneOrder.PROVED,
        vjp: KernelFunction | None = None,
        types: dict[Any, Any] | None = None,
        annotations: dict[str, Any] | None = None,
    ) -> None:
        update_wrapper(self, fn)
        self.fn = fn
        self.text = keep_source(fn)
        self.types = types or {}
        self.name = fn.__name__.strip("<>") + (f"[{','.join(map(_type_name, types.values()))}]" if types else "")
        self.workgroup = workgroup
        self.vjp = vjp
        """The kernel that gives gradients of recorded calls."""
        self._written = resolve_annotations(fn, names) if annotations is None else annotations
        self.annotations = substitute(self._written, self.types)
        self.variables = variables_of(self.annotations)
        """The type variables that are still to be chosen."""
        self._instances: dict[tuple[Any, ...], KernelFunction] = {}
        self._trusted = trusted
        self._guarantee = guarantee
        self._order = order

    def __reduce__(self) -> str:
        return self.fn.__qualname__  # a pickle names it, as that of a function does

    @property
    def options(self) -> tuple[bool, Guarantee, LaneOrder]:
        """What the decorator was told beside the workgroup: whether it is trusted, what it asks, what of order."""
        return self._trusted, self._guarantee, self._order

    @property
    def is_own(self) -> bool:
        """Whether it is of Loom's own library."""
        return _is_own(self.fn)

    @property
    def conditions(self) -> tuple[str, ...]:
        """What must be so for calls made so far to give the same bits on every device, a sentence for each place.

        Empty while all that were made are proved: no two lanes come to one element that one of them writes. What a call
        cannot prove it tries, of large ones a part; data and numbers of later calls decide anew, and are not looked at.
        """
        tell = KernelFunction.tell
        found = () if tell is None else tell(self)
        return tuple(dict.fromkeys([*found, *(text for made in self._instances.values() for text in made.conditions)]))

    def specialize(self, *types: Any, **named: Any) -> KernelFunction:
        """Return the kernel for a choice of its type variables, in order or by name; ``k[f32]`` is the same.

        DTypeError for types that the variables do not allow.
        """
        where = f"kernel {self.name!r}"
        found = choose_types(self.variables, types, named, where)
        key = tuple(found.values())
        made = self._instances.get(key)
        if made is None:
            vjp = self.vjp
            if vjp is not None and vjp.variables:
                own = {v.__name__ for v in vjp.variables}
                vjp = vjp.specialize(**{v.__name__: kind for v, kind in found.items() if v.__name__ in own})
            made = KernelFunction(
                self.fn, self.workgroup, {}, trusted=self._trusted, guarantee=self._guarantee, order=self._order,
                vjp=vjp, types=found, annotations=self._written,
            )  # fmt: skip
            made.text = self.text
            made = self._instances.setdefault(key, made)
        return made

    def fitting(self, dtypes: Mapping[str, DType], where: str) -> KernelFunction:
        """Return the kernel for the types of what is bound to its parameters, by name."""
        found = choose_by_name(self.annotations, dtypes, where)
        if len(found) < len(self.variables):
            raise unchosen(where, self.variables, found)
        return self.specialize(**found)

    @cached_property
    @brief
    def ir(self) -> Kernel:
        """The kernel as translated, not yet verified."""
        if self.variables:
            raise unchosen(f"kernel {self.name!r}", self.variables)
        from loom.ir.frontend.translation import translate_kernel  # a kernel that is recalled is not translated

        return translate_kernel(self)

    @cached_property
    @brief
    def verified(self) -> VerifiedKernel:
        """The kernel, verified; raises KernelError with the line and the remedy."""
        from loom.ir.verify import verify  # nor verified

        return verify(self.ir)

    launch: ClassVar[Callable[..., Any] | None] = None
    """What a call does: ``runtime.calls`` tells."""
    tell: ClassVar[Callable[[KernelFunction], tuple[str, ...]] | None] = None
    """The conditions of its calls: ``runtime.calls`` tells, once there were some."""
    known_calls: Any = None
    """The calls that the native door knows (``runtime.calls.native``)."""

    @property
    def parameters(self) -> tuple[str, ...]:
        """The names of the parameters, in order."""
        return tuple(inspect.signature(self.fn, follow_wrapped=False).parameters)

    def __call__(self, *args: Any, **named: Any) -> Any:
        """Run it over arrays of numpy, of Loom or of others: ``saxpy(x, y, a=2.0)``.

        ``args`` and ``named`` are the kernel's parameters, in order or by name. Besides them: ``on`` is the device, by
        default that of the arrays; ``lanes`` (a number, or a shape whose last axis lies along dimension 0; a kernel
        with barriers runs whole groups) or ``groups`` the size, by default as many as have something to do (see
        ``Chain.dispatch``); ``out`` the shape of outputs that are left out, or shapes by name. Returns these, new
        arrays of zeros before the kernel writes them, None if there are none. Arrays of the host are written when it
        returns; arrays of a device are put in order.
        """
        if KernelFunction.launch is None:
            raise StateError(f"kernel {self.name!r}", "nothing that runs kernels is loaded", expected="loom.kernel",
                             remedy="Import loom.runtime.calls.kernels")  # fmt: skip
        try:
            return KernelFunction.launch(self, args, named)
        except ImportError:
            if (found := end_of_process(f"kernel {self.name!r}")) is None:
                raise
        raise found

    def __getitem__(self, size: Any) -> Any:
        """Return it with a number of groups, as in ``k[groups](x, y)``; ``k[groups, workgroup]`` checks the workgroup.

        ``k[f32]`` chooses the types of a kernel over type variables (see ``specialize``).
        ArgumentError for another workgroup than the kernel's, which ``@loom.kernel(workgroup=...)`` sets.
        """
        if is_choice(size, self.variables):
            return self.specialize(*(size if is_tuple(size) else (size,)))
        groups, *rest = size if is_tuple(size) and size else (size,)
        if rest and (len(rest) > 1 or _extents(rest[0]) != self.workgroup):
            raise ArgumentError(
                f"kernel {self.name!r}", "another workgroup than the kernel's",
                expected=f"k[groups] or k[groups, {self.workgroup}]",
                got=f"k[{', '.join(map(str, size))}]",
                remedy="Set it with @loom.kernel(workgroup=...); several dimensions of groups are k[(x, y),](...)",
            )  # fmt: skip
        if _extents(groups) is None:
            raise ArgumentError(
                f"kernel {self.name!r}", "not a number of groups", expected="an int or up to three",
                got=repr(groups)[:200], remedy="Write k[groups](x, y), or k(x, y, lanes=n)",
            )  # fmt: skip
        return _Sized(self, groups)

    def __repr__(self) -> str:
        return f"<loom kernel {self.name!r}, workgroup {self.workgroup}>"


def _type_name(kind: Any) -> str:
    return kind.__name__ if isinstance(kind, type) else str(kind)


class _Sized:
    """A kernel with its number of groups, to be called."""

    __slots__ = ("_function", "_groups")

    def __init__(self, function: KernelFunction, groups: Any) -> None:
        self._function = function
        self._groups = groups

    def __call__(self, *args: Any, **named: Any) -> Any:
        assert KernelFunction.launch is not None
        return KernelFunction.launch(self._function, args, named, self._groups)

    def __getitem__(self, size: Any) -> Any:
        """Choose types, as ``k[f32]`` does; ArgumentError for a second number of groups."""
        if is_choice(size, self._function.variables):
            return _Sized(self._function[size], self._groups)
        raise ArgumentError(
            f"kernel {self._function.name!r}", "a number of groups is given already", expected="a call",
            got=f"[{size!r}]"[:200], remedy="Write k[groups](x, y); several dimensions of groups are k[(x, y),](...)",
        )  # fmt: skip


def _extents(size: Any) -> tuple[int, int, int] | None:
    """Return one number or up to three as three, None for anything else."""
    found = tuple(size) if is_list(size) else (size,)
    if not 1 <= len(found) <= 3 or not all(is_int(n) for n in found):
        return None
    x, y, z = (*(int(n) for n in found), 1, 1)[:3]
    return x, y, z


@overload
def kernel(fn: Callable[..., Any], /) -> KernelFunction: ...


@overload
def kernel(
    *,
    workgroup: int | tuple[int, ...] = ...,
    trusted: bool = ...,
    guarantee: Guarantee | None = ...,
    order: str | None = ...,
    vjp: KernelFunction | None = ...,
) -> Callable[[Callable[..., Any]], KernelFunction]: ...


def kernel(
    fn: Callable[..., Any] | None = None,
    /,
    *,
    workgroup: int | tuple[int, ...] = 64,
    trusted: bool = False,
    guarantee: Guarantee | None = None,
    order: str | None = None,
    vjp: KernelFunction | None = None,
) -> Any:
    """Make a kernel of a typed Python function.

    Parameters annotated ``In``, ``Out`` or ``InOut`` are buffers, the others push constants. With ``order="any"``
    atomics that show the order of lanes are taken, and nothing is promised of the result, which programs and arrays
    tell (``guarantee``). The parameters of ``vjp`` are the kernel's, ``grad_y`` for the gradient of an output y, and
    ``grad_x``, an Out or an InOut, for that of an input x.

    Errors of compiling name the source line.

    Args:
        fn: Function to be a kernel; None: a decorator is returned.
        workgroup: Lanes of a group, up to three extents, at most 1024 in all.
        trusted: Whether bounds checks and the zeroing of arrays are left out; for kernels that are tested with them,
            and whose innermost ``for`` loops end soon: on the CPU Ctrl-C does not end these. Nor does anybody try
            whether its lanes meet: where no proof tells, that they do not is a condition (``Program.conditions``).
        guarantee: ``loom.Guarantee`` that it asks of a device; None: BIT_EXACT.
        order: "any": the order of lanes may show in its results; None: it may not.
        vjp: Kernel of the gradients of calls over tensors; None: such calls have none.

    Returns:
        Kernel, compiled when it is first used; without ``fn`` a decorator.

    Raises:
        ArgumentError: ``trusted`` is no truth.
        KernelTypeError: An unusable workgroup; not a guarantee, an order or a kernel; a guarantee with order="any"; not
            a Python function.

    >>> import loom
    >>> @loom.kernel(workgroup=64)
    ... def scale(y: loom.InOut[loom.f32], a: loom.f32):
    ...     i = loom.global_id()
    ...     if i < len(y):
    ...         y[i] = y[i] * a
    """
    names = dict(sys._getframe(1).f_locals)  # pyright: ignore[reportPrivateUsage] - there is no public way to a caller's frame
    shape = _workgroup(workgroup)
    trusted = flag(trusted, "loom.kernel, trusted")
    if guarantee is not None and not isinstance(guarantee, Guarantee):
        raise KernelTypeError("loom.kernel, guarantee", "not a guarantee", expected="a loom.Guarantee",
                              got=repr(guarantee)[:200], remedy="Leave it out")  # fmt: skip
    if order is not None and (not isinstance(order, str) or order not in ("any", "free")):
        raise _unknown_order(order)
    if vjp is not None and not isinstance(vjp, KernelFunction):
        raise KernelTypeError("loom.kernel, vjp", "not a kernel", expected="a function decorated with @loom.kernel",
                              got=repr(vjp)[:200], remedy="Decorate it")  # fmt: skip

    def decorate(function: Callable[..., Any]) -> KernelFunction:
        if not isinstance(function, FunctionType):
            raise KernelTypeError(
                "loom.kernel", "only a Python function can be a kernel", expected="def or lambda",
                got=type(function).__name__, remedy="Decorate a function",
            )  # fmt: skip
        kind = _order(order, function, guarantee)
        asked = (Guarantee.FAST if kind is LaneOrder.ANY else Guarantee.BIT_EXACT) if guarantee is None else guarantee
        return KernelFunction(function, shape, names, trusted=trusted, guarantee=asked, order=kind, vjp=vjp)

    return decorate if fn is None else decorate(fn)


def _order(given: object, function: FunctionType, guarantee: Guarantee | None) -> LaneOrder:
    """Return what a kernel says of order: of Loom's own library also "free", whose docstring has the proof."""
    own = _is_own(function) and "Order:" in (function.__doc__ or "")
    if given == "free" and not own:
        raise _unknown_order(given)
    if given == "any" and guarantee not in (None, Guarantee.FAST):
        raise KernelTypeError(
            "loom.kernel, guarantee",
            "nothing is promised of a kernel whose order is any",
            expected="one of guarantee and order='any'",
            got=guarantee.name,
            remedy="Leave one out",
        )
    return LaneOrder(given or "proved")


def _is_own(function: Callable[..., object]) -> bool:
    """Tell whether a function is of Loom's own library."""
    return (function.__module__ or "").startswith("loom.")


def _unknown_order(given: object) -> KernelTypeError:
    return KernelTypeError(
        "loom.kernel, order",
        "unknown",
        expected="None or 'any'",
        got=repr(given)[:200],
        remedy="Leave it out, or write order='any' where the order of lanes may show",
    )


def _workgroup(given: Any) -> tuple[int, int, int]:
    """Return the three extents of a workgroup given as one number or up to three."""
    extents = tuple(given) if is_list(given) else (given,)
    whole = all(isinstance(e, (int, np.integer)) and not isinstance(e, bool) for e in extents)
    if not whole or not 1 <= len(extents) <= 3:
        raise KernelTypeError(
            "loom.kernel", "unusable workgroup", expected="an int or up to three", got=repr(given),
            remedy="Write workgroup=64 or workgroup=(8, 8)",
        )  # fmt: skip
    x, y, z = (*(int(e) for e in extents), 1, 1)[:3]
    return x, y, z
