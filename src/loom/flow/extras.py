"""Tier 2 beyond units and chains: repeats, indirect dispatches, copies, mailboxes, pace and profiles.

Layer: flow. Each function is a line over ``Unit``, ``loom.mailbox`` and ``loom.profile``; whole floats count, as
in ``units``. Invariant: nothing is computed here.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from loom.core.dtype import u32
from loom.core.errors import ArgumentError, StateError
from loom.flow.counts import whole
from loom.flow.draft import binding_name
from loom.flow.unit_bindings import bind_by_number, further_bindings, kernel_of, push_constants, require_unit
from loom.flow.words import words_of
from loom.runtime.plans.dispatch import Segment
from loom.runtime.port.device import Device
from loom.runtime.port.profile import Profile
from loom.runtime.units.unit import Unit
from loom.support.mailbox import Mailbox, mailbox

__all__ = [
    "loom_copy",
    "loom_dispatch_indirect",
    "loom_mailbox",
    "loom_pace",
    "loom_profile",
    "loom_profile_end",
    "loom_profile_start",
    "loom_repeat",
]

_profiles: list[Profile] = []
"""Those started and not ended."""


@contextmanager
def loom_repeat(unit: Unit, count: float, params: Any = None) -> Generator[Segment, None, None]:
    """Record the dispatches made inside the ``with`` as done ``count`` times (see ``Chain.repeat``).

    Args:
        unit: Unit, of ``loom_boot``.
        count: Number of turns.
        params: Array of shape (count, columns), or a structured array of ``count``; None: none.

    Returns:
        Context manager of the segment, whose ``params`` are the columns.

    Raises:
        ArgumentError: A number is out of range, or no whole one; too many turns for one recording.
        DTypeError: Not a unit; not numbers of 32 bits.
        ShapeError: Not one row of parameters for each turn.

    >>> from loom.flow import loom_boot, loom_build, loom_dispatch, loom_read, loom_run, loom_write
    >>> unit = loom_boot(1.0, 4, 0)
    >>> loom_write(unit, 0.0, [1, 2, 3, 4], bind=0)
    >>> with loom_repeat(unit, 3.0):
    ...     loom_dispatch(unit, "stdlib/loom/kernels/math/double.spv", [], 1.0)
    >>> loom_run(loom_build(unit))
    >>> loom_read(unit, 0.0, 0.0, 4).tolist()
    [8.0, 16.0, 24.0, 32.0]
    """
    target = require_unit(unit, "loom_repeat")
    with target.repeat(whole(count, "loom_repeat", "count"), params) as segment:
        yield segment


def loom_dispatch_indirect(
    unit: Unit,
    kernel: Any,
    params: Sequence[Any],
    bind: float | str,
    off: float,
    *,
    buffers: Mapping[str, str] | None = None,
) -> None:
    """Record a kernel over the three workgroup counts that stand at word ``off`` of a binding when it starts.

    A count of zero skips it. ``buffers`` names bindings for the kernel's, as ``bind`` of ``loom_dispatch``.

    Args:
        unit: Unit, of ``loom_boot``.
        kernel: Function with ``@loom.kernel``, kernel of ``ir_finalize``, or a path: those below
            ``stdlib/loom/kernels`` are Loom's own kernels, others SPIR-V files, which only Vulkan devices run.
        params: Push constants, in order or by name; whole floats are taken as ints for integers.
        bind: Number or name of the binding that holds the counts.
        off: Number of its words before them.
        buffers: Names of bindings by names of the kernel's buffers; None: those of the same name, else in order.

    Raises:
        ArgumentError: A number is out of range, or no whole one; there is no such binding; a parameter is missing, or
            does not fit its type.
        DTypeError: The names of bindings are no mapping; not a unit; not a kernel; the parameters are neither a list
            nor a mapping.
        ShapeError: Not one row of parameters for each turn.
    """
    where = "loom_dispatch_indirect"
    target = require_unit(unit, where)
    counts = binding_name(bind, where, further_bindings(target))
    verified = kernel_of(kernel, where, target)
    ours = buffers if buffers is not None else bind_by_number(target, verified, where)
    target.dispatch_indirect(
        verified, push_constants(verified, params), counts, whole(off, where, "off"), bind=ours
    )  # fmt: skip
    words_of(target).record(verified, target.bound(verified, ours))
    words_of(target).record_type(counts, u32, "loom_dispatch_indirect")


def loom_copy(
    unit: Unit,
    source: Unit,
    *,
    bind: float | str = 0,
    off: float = 0,
    len: float | None = None,  # noqa: A002 - a word of loom.flow
    to: float | str | None = None,
    at: float = 0,
) -> None:
    """Copy ``len`` numbers from word ``off`` of a binding of ``source`` to word ``at`` of binding ``to`` of ``unit``.

    ``to`` is ``bind`` by default, and ``len`` all from ``off`` on. Runs launched before on either come first.

    Args:
        unit: Unit, of ``loom_boot``.
        source: Unit to copy from.
        bind: Number or name of its binding.
        off: Number of words before the first.
        len: Number of words; None: all from ``off`` on.
        to: Number or name of the binding of ``unit``; None: that of ``bind``.
        at: Number of words before the first there.

    Raises:
        ArgumentError: There is no such binding; a number is out of range, or no whole one.
        DTypeError: Not a unit.
    """
    where = "loom_copy"
    target, origin = require_unit(unit, where), require_unit(source, where)
    name = binding_name(bind, where, further_bindings(origin))
    into = binding_name(bind if to is None else to, where, further_bindings(target))
    start = whole(off, where, "off")
    if name not in origin.memory():
        raise ArgumentError(where, f"the source has no {name}", remedy="Call loom_set_heap(source, data) first")
    held = origin.memory()[name][0].nbytes // 4
    count = max(0, held - start) if len is None else whole(len, where, "len")
    words_of(target).take(target, into, whole(at, where, "at"), words_of(origin), origin, (name, start, count), where)


def loom_mailbox(slot_words: float, slots: float, *, device: str | Device | None = None) -> Mailbox:
    """Return a ring of ``slots`` slots of up to ``slot_words`` words between units (see ``loom.mailbox``).

    Args:
        slot_words: Most 32-bit words of a message.
        slots: Number of messages that it holds.
        device: Device, or its name; None: the default device.

    Raises:
        ArgumentError: A number is out of range, or no whole one.
        DTypeError: Not a device.
        DeviceError: The device or the budget has no room.
    """
    where = "loom_mailbox"
    return mailbox(whole(slot_words, where, "slot_words"), whole(slots, where, "slots"), device=device)


def loom_pace(unit: Unit, microseconds: float | None) -> None:
    """Set the delay before each submission of a unit; 0 for none, None for an automatic one.

    Args:
        unit: Unit, of ``loom_boot``.
        microseconds: Delay; 0: none; None: automatic.

    Raises:
        ArgumentError: A number is out of range, or no whole one.
        DTypeError: Not a unit.
    """
    require_unit(unit, "loom_pace").pace(microseconds)


def loom_profile() -> Profile:
    """Return a profile for a ``with``: what runs inside is timed (see ``loom.profile``)."""
    return Profile()


def loom_profile_start() -> None:
    """Time all that runs from now on, until ``loom_profile_end``."""
    _profiles.append(Profile().__enter__())


def loom_profile_end() -> Profile:
    """End what ``loom_profile_start`` began last; the profile returned has ``rows`` and ``table()``.

    Returns:
        Profile: ``rows`` and ``table()``.

    Raises:
        StateError: No profile was started.

    >>> import loom
    >>> loom_profile_start()
    >>> _ = loom.gpu_sum([1.0, 2.0])
    >>> loom_profile_end().rows[0].device
    'cpu'
    """
    if not _profiles:
        raise StateError("loom_profile_end", "no profile was started", remedy="Call loom_profile_start() first")
    ended = _profiles.pop()
    ended.__exit__(None, None, None)
    return ended
