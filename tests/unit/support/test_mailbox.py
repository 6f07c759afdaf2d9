"""Mailboxes: what is taken is what was posted, in order, once, from host and units; full and empty say so."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest

import loom
from loom.core.errors import DTypeError, LoomError, ShapeError, StateError
from unit.support.support_kernels import grow


def test_slots_keep_their_own_lengths_around_the_ring(on: str) -> None:
    with loom.mailbox(slot_words=5, slots=3, device=on) as box:
        expected: list[list[int]] = []
        for n in range(20):
            words = list(range(n, n + n % 6))
            if box.is_full:
                assert box.take().tolist() == expected.pop(0)
            box.post(words)
            expected.append(words)
            assert len(box) == len(expected)
        while expected:
            assert box.take().tolist() == expected.pop(0)
        assert box.is_empty


def test_any_32_bit_type_keeps_its_bits(on: str) -> None:
    with loom.mailbox(4, 4, device=on) as box:
        box.post([1.5, -0.0])
        box.post([-1, 2])
        box.post(np.array([0x7FC0_0001], np.uint32))
        assert box.take(loom.f32).view(np.uint32).tolist() == [0x3FC0_0000, 0x8000_0000]
        assert box.take(np.int32).tolist() == [-1, 2]
        assert box.take(loom.f32).view(np.uint32).tolist() == [0x7FC0_0001]


def test_words_go_from_unit_to_unit_in_order_with_their_runs(on: str) -> None:
    with loom.boot(64, device=on) as a, loom.boot(8, 64, device=on) as b, loom.mailbox(64, 8, device=on) as box:
        a.dispatch(grow, [0, 64, 1])
        program = a.build()
        for turn in range(5):
            program.launch()
            box.post_from(a, turn, 10 + turn)
            program.launch()  # after the copy
        for turn in range(5):
            assert box.take_into(b, turn, binding="globals") == 10 + turn
            assert b.read(turn, 10 + turn, binding="globals").tolist() == [2 * turn + 1] * (10 + turn)


def test_a_full_and_an_empty_mailbox_say_so_and_change_nothing() -> None:
    with loom.mailbox(2, 1, name="box") as box:
        with pytest.raises(StateError) as empty:
            box.take()
        assert str(empty.value) == (
            "[box.take] the mailbox is empty: expected something posted, got 0 of 1 taken. "
            "Post first, or ask box.is_empty."
        )
        box.post([7])
        with pytest.raises(StateError) as full:
            box.post([8])
        assert str(full.value) == (
            "[box.post] the mailbox is full: expected a free slot, got 1 of 1 taken. "
            "Take one first, or ask box.is_full."
        )
        assert box.take().tolist() == [7]
        with pytest.raises(StateError, match="the mailbox is empty"), loom.boot(4) as unit:
            box.take_into(unit)
        with pytest.raises(DTypeError, match=r"\[box.take_into\] not a unit"):
            box.take_into(None)  # type: ignore[arg-type]
    with pytest.raises(StateError, match=r"\[box.post\] the mailbox is closed. Make a new one"):
        box.post([1])
    assert repr(box) == "<loom mailbox 'box' on cpu: 0 of 1 slots taken>"


CASES: dict[str, tuple[Any, type[LoomError], str]] = {
    "slot of nothing": (
        lambda u, b: loom.mailbox(0, 1, name="m"), ShapeError,
        "[m] unusable slot_words: expected at least 1 of words, got 0. Pass more.",
    ),
    "no slots": (lambda u, b: loom.mailbox(1, 0, name="m"), ShapeError, "[m] unusable slots: expected at least 1"),
    "a float": (lambda u, b: loom.mailbox(1.5, 1, name="m"), LoomError, "[m] unusable slot_words: expected"),
    "too long": (
        lambda u, b: b.post([1, 2, 3]), ShapeError,
        "[b.post] too long for a slot: expected at most 2 words, got 3. Post it in parts, or make the slots larger.",
    ),
    "wide": (lambda u, b: b.post(np.zeros(1)), DTypeError, "[b.post] data of the wrong type: expected a 32-bit dtype"),
    "range": (
        lambda u, b: b.post_from(u, 3, 2), ShapeError,
        "[b.post_from] range outside 'registers' of 'u': expected within its 4 words, got 3 + 2.",
    ),
    "no room": (
        lambda u, b: b.take_into(u, 3), ShapeError,
        "[b.take_into] range outside 'registers' of 'u': expected within its 4 words, got 3 + 2.",
    ),
    "bytes": (
        lambda u, b: b.post_from(u, 0, 1, binding="small"), DTypeError,
        "[b.post_from] binding 'small' cannot pass words on: expected writable 32-bit words, got u8.",
    ),
    "no unit": (lambda u, b: b.post_from(b, 0, 1), DTypeError, "[b.post_from] not a unit"),
    "no binding": (lambda u, b: b.post_from(u, 0, 1, binding="globls"), LoomError, "Did you mean 'globals'?"),
    "take bytes": (lambda u, b: b.take(loom.u8), DTypeError, "[b.take] slots hold 32-bit words: expected u32"),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_misuse_changes_nothing(case: tuple[Any, type[LoomError], str]) -> None:
    call, kind, text = case
    with loom.boot(4, bindings={"small": (loom.u8, 4)}, name="u") as unit, loom.mailbox(2, 3, name="b") as box:
        box.post([1, 2])
        with pytest.raises(kind) as caught:
            call(unit, box)
        assert text in str(caught.value)
        assert len(box) == 1
        assert box.take().tolist() == [1, 2]


def test_threads_lose_and_double_nothing() -> None:
    with loom.mailbox(1, 4) as box:
        taken: list[int] = []

        def produce(first: int) -> None:
            for n in range(first, first + 100):
                while True:
                    try:
                        box.post([n])
                        break
                    except StateError:
                        continue

        def consume() -> None:
            while len(taken) < 200:
                if not box.is_empty:
                    taken.append(int(box.take()[0]))

        threads = [threading.Thread(target=produce, args=(n,)) for n in (0, 1000)] + [threading.Thread(target=consume)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(20)
        assert [n for n in taken if n < 1000] == list(range(100))
        assert [n for n in taken if n >= 1000] == list(range(1000, 1100))
