"""Who is computed next: turns have pages for their tokens, and whoever gives his up has no turn."""

from __future__ import annotations

from typing import Any

from loom.kernels.attention.cached import PAGE
from loom.models.inference.pages import PagePool
from loom.models.inference.schedule import Planner, Sequence

NOBODY: Any = None


def test_who_gives_up_his_pages_in_a_pass_is_not_computed_in_it() -> None:
    """One waits for his next token, whose turn comes first; the text of another, who came before him, takes all."""
    planner = Planner(PagePool(3), rows=4 * PAGE, mixed_rows=2 * PAGE + 1)
    reader = Sequence(NOBODY, NOBODY, list(range(2 * PAGE)))
    waiter = Sequence(NOBODY, NOBODY, list(range(PAGE + 1)), [planner.pool.take() or 0], done=PAGE)
    planner.running += [reader, waiter]
    turns = planner.plan()
    assert [(turn.sequence, turn.count) for turn in turns] == [(reader, 2 * PAGE)]
    assert all(len(t.sequence.pages) * PAGE >= t.sequence.done + t.count for t in turns)
    assert (waiter.pages, waiter.pending, planner.preempted) == ([], PAGE + 1, 1)
