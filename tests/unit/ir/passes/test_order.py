"""Atomics of which a result shows the order of lanes are refused; those that cannot show it are not."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import loom
from loom import In, InOut, Out, f32, tensor, u32
from loom.core.errors import ArgumentError, KernelTypeError, VerifyError
from loom.ir.passes.spacing import Spacing
from loom.ir.text import parse_kernel, print_kernel
from loom.ir.verify import verify
from loom.runtime.plans.library import calls_begun

# kernels that show the order


def two_kinds(x: In[u32], y: InOut[u32], n: u32) -> None:
    i = loom.global_id()
    loom.atomic_add(y, 0, x[i])
    loom.atomic_xor(y, 0, x[i])  # here


def in_two_branches(x: In[u32], y: InOut[u32], n: u32) -> None:
    i = loom.global_id()
    if x[i] > 3:
        loom.atomic_min(y, 0, x[i])
    else:
        loom.atomic_max(y, 0, x[i])  # here


def under_conditions_that_may_both_hold(x: In[u32], y: InOut[u32], n: u32) -> None:
    if n > 3:
        loom.atomic_min(y, 0, x[0])
    if n != 7:
        loom.atomic_max(y, 0, x[0])  # here


def at_an_element_of_data(x: In[u32], y: InOut[u32], n: u32) -> None:
    i = loom.global_id()
    loom.atomic_or(y, x[i], 1)
    loom.atomic_and(y, 7, x[i])  # here


def through_helpers(x: In[u32], y: InOut[u32], n: u32) -> None:
    added(y, x[loom.global_id()])
    flipped(y, x[loom.global_id()])


def added(memory: Any, value: Any) -> None:
    loom.atomic_add(memory, 0, value)


def flipped(memory: Any, value: Any) -> None:
    loom.atomic_xor(memory, 0, value)  # here


def through_an_alias(x: In[u32], y: InOut[u32], n: u32) -> None:
    z = y
    loom.atomic_add(y, 0, x[loom.global_id()])
    loom.atomic_or(z, 0, 1)  # here


def an_exchange(x: In[u32], y: InOut[u32], n: u32) -> None:
    loom.atomic_exchange(y, 0, x[loom.global_id()])  # here


def an_exchange_of_literals(x: In[u32], y: InOut[u32], n: u32) -> None:
    for k in loom.static_range(2):
        loom.atomic_exchange(y, 0, k)  # here


def a_compare_exchange(x: In[u32], y: InOut[u32], n: u32) -> None:
    loom.atomic_compare_exchange(y, 0, 0, x[loom.global_id()])  # here


def a_ticket(x: In[u32], y: InOut[u32], n: u32) -> None:
    y[loom.atomic_add(y, 0, 1)] = 5  # here


def a_ticket_that_decides(x: In[u32], y: InOut[u32], n: u32) -> None:
    if loom.atomic_add(y, 0, 1) == 5:  # here
        loom.atomic_add(y, 1, 1)


def a_ticket_in_a_variable(x: In[u32], y: InOut[u32], n: u32) -> None:
    last = u32(0)
    for k in range(n):
        last = loom.atomic_add(y, 0, k) + last  # here
    y[8 + loom.global_id()] = last


def a_read_beside(x: In[u32], y: InOut[u32], n: u32) -> None:
    i = loom.global_id()
    loom.atomic_add(y, x[i] % 4, 1)  # here
    y[4 + i] = y[3]


def a_write_beside(x: In[u32], y: InOut[u32], n: u32) -> None:
    i = loom.global_id()
    y[i] = 0
    loom.atomic_add(y, x[i], 1)  # here


def in_a_shared_array(x: In[u32], y: InOut[u32], n: u32) -> None:
    s = loom.shared(u32, 2)
    loom.atomic_add(s, 0, 1)
    loom.atomic_max(s, 0, x[loom.local_id()])  # here
    loom.barrier()
    y[loom.global_id()] = s[0]


def before_a_barrier(x: In[u32], y: InOut[u32], n: u32) -> None:
    s = loom.shared(u32, 2)
    loom.atomic_add(s, 0, 1)  # here
    if loom.local_id() == 0:
        y[loom.group_id()] = s[0]
    loom.barrier()


def between_turns(x: In[u32], y: InOut[u32], n: u32) -> None:
    s = loom.shared(u32, 2)
    for _k in range(n):
        loom.atomic_add(s, 0, 1)  # here
        loom.barrier()
        loom.atomic_xor(s, 0, x[loom.local_id()])
    y[loom.group_id()] = 1


def between_turns_of_a_while(x: In[u32], y: InOut[u32], n: u32) -> None:
    s, k = loom.shared(u32, 2), u32(0)
    while k < n:
        loom.barrier()
        loom.atomic_add(s, 0, 1)
        k += 1
        if k == 3:
            continue
        loom.atomic_xor(s, 0, x[loom.local_id()])  # here


def after_a_break(x: In[u32], y: InOut[u32], n: u32) -> None:
    s = loom.shared(u32, 2)
    for k in range(n):
        loom.barrier()
        loom.atomic_add(s, 0, 1)
        if k == 3:
            break
        loom.barrier()
    loom.atomic_xor(s, 0, x[loom.local_id()])  # here


def after_a_loop_that_may_not_turn(x: In[u32], y: InOut[u32], n: u32) -> None:
    s = loom.shared(u32, 2)
    loom.atomic_add(s, 0, 1)
    for _k in range(n):
        loom.barrier()
    loom.atomic_xor(s, 0, x[loom.local_id()])  # here


def of_returned_lanes(x: In[u32], y: InOut[u32], n: u32) -> None:
    s = loom.shared(u32, 2)
    for k in range(n):
        if x[loom.local_id()] == k:
            loom.atomic_add(s, 0, 1)
            return
    loom.atomic_xor(s, 0, 1)  # here


def where_the_index_wraps(x: In[u32], y: InOut[u32], n: u32) -> None:
    i = loom.global_id() * 65536 * 65536  # 0 in every lane
    loom.atomic_exchange(y, i, x[loom.global_id()])  # here


def what_a_cell_gave(x: In[u32], y: InOut[u32], cells: InOut[loom.fixed(2**-8)], n: u32) -> None:
    i = loom.global_id()
    y[i] = u32(loom.atomic_add(cells, 0, f32(x[i])))  # here


SHOWN: list[Callable[..., None]] = [
    two_kinds, in_two_branches, under_conditions_that_may_both_hold, at_an_element_of_data, through_helpers,
    through_an_alias, an_exchange, an_exchange_of_literals, a_compare_exchange, a_ticket, a_ticket_that_decides,
    a_ticket_in_a_variable, a_read_beside, a_write_beside, in_a_shared_array, before_a_barrier, between_turns,
    between_turns_of_a_while, after_a_break, after_a_loop_that_may_not_turn, of_returned_lanes, where_the_index_wraps,
    what_a_cell_gave,
]  # fmt: skip


@pytest.mark.parametrize("function", SHOWN, ids=lambda f: f.__name__)
def test_what_shows_the_order_is_refused_at_its_line(function: Callable[..., None]) -> None:
    import inspect

    with pytest.raises(VerifyError, match="depends on the order of lanes") as caught:
        _ = loom.kernel(function).verified
    lines, first = inspect.getsourcelines(flipped if function is through_helpers else function)
    (line,) = [first + n for n, text in enumerate(lines) if text.rstrip().endswith("# here")]
    assert f"test_order.py:{line}]" in str(caught.value)


@pytest.mark.parametrize("function", SHOWN, ids=lambda f: f.__name__)
def test_the_remedy_is_taken(function: Callable[..., None]) -> None:
    verified = loom.kernel(order="any")(function).verified
    assert verified.is_loose
    assert verified.guarantee is loom.Guarantee.FAST


# kernels that do not


def one_kind_anywhere(x: In[u32], y: InOut[u32], n: u32) -> None:
    i = loom.global_id()
    for k in range(n):
        loom.atomic_add(y, x[i] % (k + 1), x[i])
    if x[i] == 3:
        loom.atomic_add(y, 0, 7)


def elements_of_constants(x: In[u32], y: InOut[u32], n: u32) -> None:
    i = loom.global_id()
    loom.atomic_add(y, 0, x[i])
    loom.atomic_xor(y, 1, x[i])
    loom.atomic_min(y, 2 + x[i] % 4, x[i])
    loom.atomic_max(y, 6 + (x[i] & 1), x[i])


def phases(x: In[u32], y: InOut[u32], n: u32) -> None:
    s, lane = loom.shared(u32, 64), loom.local_id()
    for k in range(n):
        s[lane] = 0
        loom.barrier()
        loom.atomic_add(s, x[lane] % 64, k)
        loom.barrier()
        loom.atomic_xor(s, 3, lane)
        loom.barrier()
        loom.atomic_add(y, 0, s[lane])
        loom.barrier()


def a_loop_that_is_left_at_once(x: In[u32], y: InOut[u32], n: u32) -> None:
    s, lane = loom.shared(u32, 64), loom.local_id()
    while n > 0:
        loom.atomic_add(s, x[lane] % 64, 1)
        loom.barrier()
        loom.atomic_add(y, 0, s[lane])
        break  # so that no further turn adds to what is read here


def a_value_that_nobody_uses(x: In[u32], y: InOut[u32], n: u32) -> None:
    last = loom.atomic_add(y, 0, 1)
    last = last * 2 + 1


def modes(x: In[u32], y: InOut[u32], n: u32) -> None:
    i = loom.global_id()
    if n == 0:
        loom.atomic_add(y, 0, x[i])
    elif n == 1:
        loom.atomic_xor(y, 0, x[i])
    if n == 2:
        loom.atomic_min(y, 0, x[i])


def cells(x: In[u32], y: InOut[u32], c: InOut[loom.fixed(2**-8)], n: u32) -> None:
    loom.atomic_add(c, 0, f32(x[loom.global_id()]))
    loom.atomic_add(c, x[loom.global_id()], 0.5)


def lanes_of_a_group(x: In[u32], y: InOut[u32], n: u32) -> None:
    s, lane = loom.shared(u32, 128), loom.local_id()
    if lane == 5:
        loom.atomic_exchange(s, 7, x[lane])
    elif lane == 6:
        s[8] = loom.atomic_add(s, 9, 1)
    loom.barrier()
    s[lane + 64] = loom.atomic_add(s, lane, lane) + loom.atomic_exchange(s, lane, 3)


def remainders(x: In[u32], y: InOut[u32], n: u32) -> None:
    lane = loom.local_id()
    if lane < 16:
        loom.atomic_add(y, lane, x[lane])
    if lane == 0:
        loom.atomic_max(y, 16, x[lane])
    loom.atomic_xor(y, 17 + lane % 2, 1)


def even_and_odd(x: InOut[u32], y: InOut[u32], n: u32) -> None:
    pair = loom.global_id() * 2
    loom.atomic_add(x, pair, 1)
    loom.atomic_xor(x, pair + 1, pair)


FREE: list[Callable[..., None]] = [
    remainders, even_and_odd, one_kind_anywhere, elements_of_constants, phases, a_value_that_nobody_uses, modes, cells,
    lanes_of_a_group, a_loop_that_is_left_at_once,
]  # fmt: skip


@pytest.mark.parametrize("function", FREE, ids=lambda f: f.__name__)
def test_what_cannot_show_it_is_taken_for_any_groups(function: Callable[..., None]) -> None:
    verified = loom.kernel(function).verified
    assert not verified.is_loose
    assert verified.aparts == ()


# kernels of which it depends on the groups


def own_elements(y: InOut[u32], n: u32) -> None:
    i = loom.global_id()
    y[i] = loom.atomic_exchange(y, i, i) + 1


def the_first_lane(y: InOut[u32], n: u32) -> None:
    if loom.global_id() == 0:
        y[1] = loom.atomic_add(y, 0, 1)


def the_first_group(y: InOut[u32], n: u32) -> None:
    if loom.group_id() < 1 and loom.local_id() == 3:
        y[1] = loom.atomic_add(y, 0, 1)


def behind_a_barrier(y: InOut[u32], n: u32) -> None:
    loom.atomic_add(y, 0, 1)
    loom.barrier()
    loom.atomic_xor(y, 0, loom.local_id())


def an_element_for_each_group(y: InOut[u32], n: u32) -> None:
    loom.atomic_add(y, loom.group_id(), loom.local_id())
    loom.barrier()
    if loom.local_id() == 0:
        y[loom.group_id()] = y[loom.group_id()] * 2


def two_dimensions(y: InOut[u32], n: u32) -> None:
    i = loom.global_id(1) * 128 + loom.global_id(0)
    y[i] = loom.atomic_add(y, i, 3) + 1


@pytest.mark.parametrize(("function", "kept", "refused"), [
    (own_elements, [1, 5, (3, 1)], [(1, 2), (3, 1, 4)]),
    (the_first_lane, [1, 5], [(1, 2), (4, 4)]),
    (the_first_group, [1, 5], [(1, 2)]),
    (behind_a_barrier, [1], [2, (1, 2), (1, 1, 2)]),
    (an_element_for_each_group, [1, 5], [(1, 2)]),
    (two_dimensions, [1, 2, (1, 9), (2, 9)], [(3, 2), (1, 1, 2)]),
], ids=lambda x: getattr(x, "__name__", ""))  # fmt: skip
def test_a_dispatch_is_asked(function: Callable[..., None], kept: list[Any], refused: list[Any]) -> None:
    kernel, y = loom.kernel(function), np.zeros(4096, np.uint32)
    for groups in kept:
        loom.Chain("interp").dispatch(kernel, [y], [1], groups)
    for groups in refused:
        with pytest.raises(ArgumentError, match="these groups do not keep apart: expected groups of which no two come"):
            loom.Chain("interp").dispatch(kernel, [y], [1], groups)
    with pytest.raises(ArgumentError, match="these groups do not keep apart"):
        kernel(y, 1, groups=refused[0])


def test_groups_told_on_the_device_are_asked_too() -> None:
    kernel, y, counts = loom.kernel(own_elements), np.zeros(4096, np.uint32), np.array([3, 2, 1], np.uint32)
    chain = loom.Chain("interp")
    chain.dispatch_indirect(kernel, [y], [1], counts)
    with pytest.raises(loom.LoomError, match="unusable number of workgroups in an indirect dispatch"):
        chain.build().run()


# what is said of it


def test_an_array_passed_twice_is_refused() -> None:
    @loom.kernel
    def both(x: InOut[u32], y: InOut[u32]) -> None:
        loom.atomic_add(x, 0, 1)
        loom.atomic_xor(y, 0, 1)

    y = np.zeros(8, np.uint32)
    for views in ((y, y), (y, y[:4]), (y[:5], y[4:])):
        with pytest.raises(ArgumentError, match="share memory and one is written"):
            both(*views)


def test_the_text_keeps_it() -> None:
    ir = loom.kernel(order="any")(a_ticket).ir
    text = print_kernel(ir)
    assert " guarantee fast order any {" in text
    assert print_kernel(parse_kernel(text)) == text
    assert verify(parse_kernel(text)).is_loose


def test_what_is_said_of_order_is_any_or_nothing() -> None:
    """The library's mark, a proof in the docstring, is not for others."""

    def proved(y: InOut[u32]) -> None:
        """Order: it is all the same."""
        loom.atomic_exchange(y, 0, 1)

    for given in ("free", "all", 1, True, ""):
        with pytest.raises(KernelTypeError, match=r"\[loom.kernel, order\] unknown: expected None or 'any', got "):
            loom.kernel(order=given)(proved)  # type: ignore[arg-type]
    for guarantee in (loom.Guarantee.BIT_EXACT, loom.Guarantee.RUN_TO_RUN):
        with pytest.raises(KernelTypeError, match="nothing is promised of a kernel whose order is any"):
            loom.kernel(order="any", guarantee=guarantee)(proved)


def test_the_text_of_an_error() -> None:
    line = two_kinds.__code__.co_firstlineno + 2
    with pytest.raises(VerifyError) as caught:
        _ = loom.kernel(two_kinds).verified
    assert str(caught.value).partition("] ")[2] == (
        f"atomic_xor on 'y' depends on the order of lanes: others come by atomic_add (line {line}): expected elements "
        "apart, or one kind of atomic (add, and, or, xor, min, max) whose old value is not used. Give each its own "
        "buffer, or leave one to a second kernel (a barrier orders the lanes of one group, never the groups); or write "
        '@loom.kernel(order="any"), and nothing is promised of the result.'
    )
    with pytest.raises(
        VerifyError, match=r"what it gives is used: .* To keep some elements use loom.gpu_filter; for a"
    ):
        _ = loom.kernel(a_ticket_that_decides).verified


def doubled(y: InOut[u32], out: Out[u32]) -> None:
    i = loom.global_id()
    if i < len(out):
        out[i] = loom.atomic_add(y, 0, 2)


def test_all_tell_that_nothing_is_promised() -> None:
    loose, exact = loom.kernel(order="any")(doubled), loom.kernel(one_kind_anywhere)
    y, out = np.zeros(8, np.uint32), np.zeros(64, np.uint32)
    chain = loom.Chain("cpu")
    chain.dispatch(exact, [out, y], [1], 1)
    chain.dispatch(loose, [y, out], groups=1)
    with pytest.raises(loom.LoomError, match="expected BIT_EXACT, got FAST, for kernel 'doubled' has order='any'"):
        chain.build(loom.Guarantee.BIT_EXACT)
    program = chain.build()
    assert program.guarantee is loom.Guarantee.FAST
    chain.dispatch(exact, [out, y], [1], 1)
    assert chain.build(loom.Guarantee.BIT_EXACT).guarantee is loom.Guarantee.BIT_EXACT

    a, b, c = loom.array(y), loom.array(out), loom.array(out)
    begun = calls_begun()
    loose(a, b)
    assert calls_begun() == begun + 1, "which audits ask for"
    assert (a.guarantee, b.guarantee, (b + 1).guarantee) == (loom.Guarantee.FAST,) * 3
    assert loom.gpu_add(b, c).guarantee is loom.Guarantee.FAST
    assert (c.guarantee, (c + 1).guarantee) == (loom.Guarantee.BIT_EXACT,) * 2
    exact(b, c, 1, lanes=64)
    assert c.guarantee is loom.Guarantee.FAST, "computed of what nothing is promised of"

    bound = loom.array(out)
    chain.dispatch(loose, [y, bound], groups=1)
    chain.build().run()
    assert bound.guarantee is loom.Guarantee.FAST


def test_whatever_is_made_of_it_tells() -> None:
    def loose() -> tensor.Tensor:
        x = loom.array(np.zeros(64, np.uint32))
        loom.kernel(order="any")(doubled)(loom.array(np.zeros(8, np.uint32)), x)
        return x

    def parameter() -> tensor.Tensor:
        return tensor.parameter(np.zeros(64, np.uint32))

    part, at, where, added = (parameter() for _ in range(4))
    part[2:5] = loose()[2:5]
    at[loose() % 64] = 1
    where[loose() == 0] = 1
    added += loose()
    later = part + 1
    for x in (part, at, where, added, later, tensor.detach(loose()), copy.deepcopy(loose()), copy.copy(loose())):
        assert x.guarantee is loom.Guarantee.FAST
    assert pickle.loads(pickle.dumps(loose())).guarantee is loom.Guarantee.FAST
    part[:] = 1
    assert (part.guarantee, copy.deepcopy(part).guarantee) == (loom.Guarantee.BIT_EXACT,) * 2


def test_a_program_tells_what_it_was_fed() -> None:
    total, fed = tensor.parameter(np.zeros(8, np.uint32)), tensor.input("fed", (8,), u32)
    program = tensor.compile([], updates={total: total + fed})
    program.run(fed=np.ones(8, np.uint32))
    assert (program.guarantee, total.guarantee) == (loom.Guarantee.BIT_EXACT,) * 2
    x = loom.array(np.zeros(8, np.uint32))
    loom.kernel(order="any")(doubled)(loom.array(np.zeros(8, np.uint32)), x)
    program.run(fed=x)
    assert (program.guarantee, total.guarantee) == (loom.Guarantee.FAST,) * 2


def test_indexes_that_come_around_are_not_apart() -> None:
    """Elements three apart, of so many lanes that the index passes 2^32 and comes to elements that others have."""
    spacing = Spacing((3, None, None), (64, 1, 1), 0)
    assert spacing.holds((1 << 24, 1, 1))
    assert not spacing.holds((1 << 26, 1, 1))
