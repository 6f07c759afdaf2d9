"""Workers of one node that meet: they see each other's memory, and notice who is late, leaves or dies."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from loom.workers import neighbours
from loom.workers.neighbours import MEETS, LostNeighbourError, Neighbours, SharedRoom, Threshold

pytestmark = pytest.mark.skipif(not MEETS, reason="this system has no sockets by which processes meet")


def together(count: int, work: Callable[[Neighbours, SharedRoom, int], Any], seconds: float = 20.0) -> list[Any]:
    """Have so many threads meet and work; return what each gives, or its error."""
    thresholds, rooms = [Threshold() for _ in range(count)], [SharedRoom(1 << 16) for _ in range(count)]
    paths, found = [t.path for t in thresholds], [None] * count

    def run(rank: int) -> None:
        try:
            met = Neighbours(thresholds[rank], rank, paths, rooms[rank], seconds)
            try:
                found[rank] = work(met, rooms[rank], rank)
            finally:
                met.close()
        except LostNeighbourError as error:
            found[rank] = error  # type: ignore[call-overload]
        finally:
            thresholds[rank].close()
            rooms[rank].close()

    threads = [threading.Thread(target=run, args=(rank,)) for rank in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()
    assert not any(os.path.exists(path) for path in paths if not path.startswith("\0"))
    return found


@pytest.mark.parametrize("count", [1, 2, 5])
def test_each_sees_what_others_wrote(count: int) -> None:
    def work(met: Neighbours, room: SharedRoom, rank: int) -> list[list[int]]:
        seen = []
        for turn in range(20):
            room.bytes[:4] = [rank, turn, 7, 7]
            met.tell()
            met.hear(20)
            seen.append([int(r[0]) + 100 * int(r[1]) for r in met.rooms])
            met.tell()  # all have read before anybody writes again
            met.hear(20)
        return seen

    wanted = [[rank + 100 * turn for rank in range(count)] for turn in range(20)]
    assert together(count, work) == [wanted] * count


def test_who_leaves_is_noticed_at_once_but_what_it_told_is_heard() -> None:
    has_told, has_left = threading.Event(), threading.Event()

    def work(met: Neighbours, _room: SharedRoom, rank: int) -> str:
        if rank == 1:
            has_left.wait(20)
            time.sleep(0.2)  # neighbour 0 hears how neighbour 2 leaves before it has heard this one
        met.tell()
        if rank == 2:
            has_told.wait(20)
            met.close()  # what it was told lies unread: the system breaks its lines, and does not end them
            has_left.set()
            return "left"
        has_told.set()
        has_left.wait(20)
        met.hear(20)
        start = time.monotonic()
        try:
            met.tell()
            met.hear(20)
        except LostNeighbourError as error:
            assert time.monotonic() - start < 5
            return str(error)
        return "heard"

    told = together(3, work)
    assert told[2] == "left"
    assert all("has left" in each for each in told[:2])


def test_who_is_late_is_not_waited_for() -> None:
    go_on = threading.Event()

    def work(met: Neighbours, _room: SharedRoom, rank: int) -> str:
        if rank == 0:
            go_on.wait(20)
            return ""
        met.tell()
        with pytest.raises(LostNeighbourError, match=r"neighbour 0 was not heard for 0\.2 seconds"):
            met.hear(0.2)
        go_on.set()
        return ""

    together(2, work)


def test_who_does_not_come_is_not_waited_for() -> None:
    threshold, room = Threshold(), SharedRoom(100)
    gone = Threshold()
    gone.close()
    try:
        for rank, paths in ((0, [threshold.path, "x"]), (1, [gone.path, threshold.path])):
            with pytest.raises(LostNeighbourError, match="cannot meet"):
                Neighbours(threshold, rank, paths, room, 0.2)
    finally:
        threshold.close()
        room.close()


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded, use of fork:DeprecationWarning")
def test_a_process_that_is_killed_is_noticed_and_its_memory_stays_readable() -> None:
    thresholds, room = [Threshold(), Threshold()], SharedRoom(100)
    paths = [t.path for t in thresholds]
    child = os.fork()
    if not child:
        signal.alarm(20)
        met = Neighbours(thresholds[1], 1, paths, room, 20)
        room.bytes[0] = 9
        met.tell()
        met.hear(20)
        os.kill(os.getpid(), signal.SIGKILL)
    own = SharedRoom(100)
    met = Neighbours(thresholds[0], 0, paths, own, 20)
    met.tell()
    met.hear(20)
    met.tell()
    with pytest.raises(LostNeighbourError, match="has left"):
        met.hear(20)
    assert met.rooms[1][0] == 9
    assert os.waitpid(child, 0)[1] == signal.SIGKILL
    met.close()
    for each in (*thresholds, room, own):
        each.close()


def test_a_room_is_taken_in_turn() -> None:
    room = SharedRoom(1 << 16)
    first, second = room.take(5), room.take(64)
    assert first is not None
    assert second is not None
    assert (len(first), len(second)) == (5, 64)
    first[:], second[:] = 1, 2
    assert room.bytes[:5].tolist() == [1] * 5
    assert room.bytes[5:64].tolist() == [0] * 59
    assert np.all(room.bytes[64:128] == 2)
    assert room.take(1 << 16) is None
    room.close()
    room.close()


def test_nothing_is_left_of_a_process_killed_where_it_could_be_met(tmp_path: Path) -> None:
    script = "import sys; from loom.workers.neighbours import Threshold; t = Threshold(); print(1, flush=True); input()"
    process = subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                               env={**os.environ, "TMPDIR": str(tmp_path)})  # fmt: skip
    assert process.stdout is not None
    assert process.stdout.readline() == b"1\n"
    process.kill()
    process.communicate()
    assert sys.platform != "linux" or not list(tmp_path.iterdir())


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere others cannot come")
def test_processes_of_other_users_are_not_met(monkeypatch: pytest.MonkeyPatch) -> None:
    users = iter([os.geteuid() + 1, os.geteuid()])

    def user_of(_line: socket.socket) -> int:
        return next(users)

    monkeypatch.setattr(neighbours, "_user_of", user_of)
    threshold = Threshold()
    lines = [socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) for _ in range(2)]
    for line in lines:
        line.connect(threshold.path)
    met = threshold.meet(time.monotonic() + 5)
    met.sendall(b"x")
    assert (lines[0].recv(1), lines[1].recv(1)) == (b"", b"x")
    with pytest.raises(TimeoutError):
        threshold.meet(time.monotonic() + 0.05)
    for line in (*lines, met):
        line.close()
    threshold.close()
