"""The gate of a server: first come, first served, and nobody waits behind who has gone."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest

from loom.serve.gate import ServerGate
from loom.serve.limits import ServerLimits
from loom.serve.refusals import Refusal


def _run(doing: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(doing, 10))


async def _soon() -> None:
    """Let all that can go on go on."""
    for _ in range(5):
        await asyncio.sleep(0)


def test_those_behind_one_who_leaves_get_the_places_that_are_free() -> None:
    async def doing() -> None:
        gate = ServerGate(ServerLimits(sequences=2, queue=8))
        first = await gate.enter()
        large = asyncio.ensure_future(gate.enter(2))
        small = asyncio.ensure_future(gate.enter())
        await _soon()
        assert (gate.running, gate.waiting, small.done()) == (1, 3, False)
        large.cancel()
        await _soon()
        assert (gate.running, gate.waiting, small.done()) == (2, 0, True)
        for ticket in (first, small.result(), first):  # one twice, which counts once
            ticket.give_back()
        assert gate.running == 0

    _run(doing())


def test_one_whose_turn_came_as_it_left_gives_the_place_on() -> None:
    async def doing() -> None:
        gate = ServerGate(ServerLimits(sequences=1, queue=8))
        first = await gate.enter()
        second, third = (asyncio.ensure_future(gate.enter()) for _ in range(2))
        await _soon()
        first.give_back()
        second.cancel()
        await _soon()
        assert (gate.running, third.done()) == (1, True)

    _run(doing())


def test_a_full_queue_and_the_end_are_told() -> None:
    async def doing() -> None:
        gate = ServerGate(ServerLimits(sequences=1, queue=1))
        first = await gate.enter()
        waiting = asyncio.ensure_future(gate.enter())
        await _soon()
        with pytest.raises(Refusal, match="1 texts wait already"):
            await gate.enter()
        patient = asyncio.ensure_future(gate.enter(patient=True))
        await _soon()
        gate.close()
        with pytest.raises(Refusal, match="stopping"):
            await waiting
        with pytest.raises(Refusal, match="stopping"):
            await gate.enter()
        assert not patient.done()  # of a request that was let in: it may end
        first.give_back()
        (await patient).give_back()
        (await gate.enter(patient=True)).give_back()
        assert (gate.running, gate.waiting) == (0, 0)

    _run(doing())
