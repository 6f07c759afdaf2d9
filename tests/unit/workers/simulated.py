"""Ray without processes: actors that a seed steps, kills and delays, with a clock of its own.

What is asked of Ray by ``loom.workers`` is here, and nothing else: a name that is missing fails a test.
"""

from __future__ import annotations

import random
import threading
from collections import deque
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from loom.workers import computing, gathering, members, pool
from loom.workers.joining import JoinedRay
from loom.workers.worker import DeviceWorker

acting = threading.local()
"""``acting.number``: of the worker whose call this thread is in; there is none elsewhere."""


class RayTaskError(Exception):
    cause: Any = None


class Died(Exception):
    actor_id = "told by Ray"
    actor_init_failed = False


class Lost(RayTaskError): ...


class ObjectStoreFullError(Exception): ...


class OutOfDiskError(Exception): ...


class GetTimeoutError(Exception): ...


class SimulatedRay:
    """``kills(ray, actor)`` is asked before each step of an actor; a true answer ends it. ``slowness``: by number."""

    def __init__(self, seed: int = 0, kills: Callable[[Any, Any], bool] | None = None, resources: Any = None) -> None:
        self.random, self.kills = random.Random(seed), kills or (lambda ray, actor: False)
        self.resources = {"CPU": 64.0} if resources is None else resources
        self.now, self.steps = 0.0, 0
        self.actors: list[Any] = []
        self.slowness: dict[int, float] = {}
        self._courses: list[threading.Thread] = []
        self.exceptions = SimpleNamespace(
            RayTaskError=RayTaskError, ObjectStoreFullError=ObjectStoreFullError, OutOfDiskError=OutOfDiskError,
            GetTimeoutError=GetTimeoutError, RayError=Died,
        )  # fmt: skip

    def joined(self) -> JoinedRay:
        return SimulatedJoin(self, "simulated:0", is_own=True, is_started=False)

    def remote(self, **options: Any) -> Callable[[type], Any]:
        return lambda cls: _Class(self, cls)

    def is_initialized(self) -> bool:
        return True

    def shutdown(self) -> None:
        assert all(actor.dead for actor in self.actors)

    def cluster_resources(self) -> dict[str, float]:
        return self.resources

    available_resources = cluster_resources

    def put(self, value: Any) -> Ref:
        ref = Ref()
        ref.value, ref.is_value = value, True
        return ref

    def kill(self, handle: Any) -> None:
        handle.dead = True
        for key in list(handle.inner._held):  # lines of a process that is no more are closed by the system
            handle.inner.drop(key)
        for _, refs, _, _ in handle.queue:
            for ref in refs:
                ref.error = Died("killed")
        handle.queue.clear()

    def get(self, refs: Any, timeout: float | None = None) -> Any:
        if isinstance(refs, list):
            return [self.get(ref) for ref in refs]
        while not refs.is_done:
            self._step()
        if refs.error is not None:
            raise refs.error
        return refs.value

    def wait(self, refs: list[Any], num_returns: int, timeout: float) -> tuple[list[Any], list[Any]]:
        assert len(set(map(id, refs))) == len(refs)
        if not any(ref.is_done for ref in refs):
            end = self.now + timeout
            while self.now < end and not any(ref.is_done for ref in refs):
                self._step()
        done = [ref for ref in refs if ref.is_done][:num_returns]
        return done, [ref for ref in refs if ref not in done]

    def settle(self) -> None:
        """Let all actors do what they were given."""
        while any(actor.queue for actor in self.actors):
            self._step()

    def _step(self) -> None:
        """Let some actor answer its next call, or nobody, while time goes by."""
        self.steps += 1
        self.now += 0.05
        able = [a for a in self.actors if not a.dead and a.queue and a.queue[0][3] <= self.now]
        if not able:
            return
        actor = self.random.choice(able)
        method, refs, arguments, _ = actor.queue[0]
        if self.kills(self, actor):
            self.kill(actor)
            self._end_courses()
            return
        actor.queue.popleft()
        given = [a for a in arguments if isinstance(a, Ref)]
        if any(not a.is_value for a in given):  # what it was to be given is lost, or is not there yet
            if any(not a.is_done for a in given):
                actor.queue.appendleft((method, refs, arguments, self.now + 0.1))
                return
            for ref in refs:
                ref.error = Lost("an argument is lost")
            return
        given = [a.value if isinstance(a, Ref) else a for a in arguments]
        if _is_course(method, arguments):
            self._begin(actor, method, refs, given)
        else:
            _work(actor, method, refs, given)
        if actor.queue:
            actor.queue[0] = (*actor.queue[0][:3], self.now + self.slowness.get(actor.inner.number, 0.0))

    def _begin(self, actor: Any, method: str, refs: list[Ref], given: list[Any]) -> None:
        """Begin a course, whose workers wait for each other: time stands still from the last one's begin to their end.

        One that is killed before never comes.
        """
        thread = threading.Thread(target=_work, args=(actor, method, refs, given), daemon=True)
        thread.start()
        self._courses.append(thread)
        self._end_courses()

    def _end_courses(self) -> None:
        """Wait for the courses that were begun, unless somebody is yet to come."""
        if any(_is_course(call[0], call[2]) for other in self.actors if not other.dead for call in other.queue):
            return
        for each in self._courses:
            each.join(100)
            assert not each.is_alive()
        self._courses.clear()


def _is_course(method: str, arguments: Any) -> bool:
    return method == "call" and arguments[1] == "course"


def _work(actor: Any, method: str, refs: list[Ref], given: list[Any]) -> None:
    acting.number = actor.inner.number
    try:
        made = getattr(actor.inner, method)(*given)
    finally:
        del acting.number
    for ref, value in zip(refs, made if len(refs) > 1 else [made], strict=True):
        ref.value, ref.is_value = value, True


class SimulatedJoin(JoinedRay):
    def answers(self) -> bool:
        return True


class Ref:
    def __init__(self) -> None:
        self.value, self.error, self.is_value = None, None, False

    @property
    def is_done(self) -> bool:
        return self.is_value or self.error is not None


class _Class:
    def __init__(self, ray: SimulatedRay, cls: type) -> None:
        self.ray, self.cls = ray, cls

    def options(self, **_: Any) -> _Class:
        return self

    def remote(self, *arguments: Any) -> Any:
        actor = _Actor(self.ray, self.cls(*arguments))
        self.ray.actors.append(actor)
        return actor


class _Actor:
    def __init__(self, ray: SimulatedRay, inner: Any) -> None:
        self.ray, self.inner, self.dead = ray, inner, False
        self.queue: deque[Any] = deque()

    def __getattr__(self, name: str) -> Any:
        return _Method(self, name, 1)


class _Method:
    def __init__(self, actor: _Actor, name: str, returns: int) -> None:
        self.actor, self.name, self.returns = actor, name, returns

    def options(self, num_returns: int) -> _Method:
        return _Method(self.actor, self.name, num_returns)

    def remote(self, *arguments: Any) -> Any:
        refs = [Ref() for _ in range(self.returns)]
        ray, actor = self.actor.ray, self.actor
        if any(type(argument).__name__ == "_Refusing" for argument in arguments):
            raise TypeError(f"Could not serialize the argument {self.name} for a task or actor")
        if actor.dead:
            for ref in refs:
                ref.error = Died("it is dead")
        else:
            actor.queue.append((self.name, refs, arguments, ray.now + ray.slowness.get(actor.inner.number, 0.0)))
        return refs[0] if self.returns == 1 else refs


def simulate(monkeypatch: pytest.MonkeyPatch, ray: SimulatedRay) -> None:
    """Have pools open on a simulated Ray, and read its clock."""
    clock = SimpleNamespace(monotonic=lambda: ray.now)
    monkeypatch.setattr(computing, "time", clock)
    monkeypatch.setattr(members, "time", clock)
    monkeypatch.setattr(gathering, "time", clock)
    monkeypatch.setattr(pool, "join_ray", lambda *_: ray.joined())


class SimulatedWorker(DeviceWorker):
    """A worker whose process is this one: its settings are not those of the environment."""

    def __init__(self, number: int, device: str, threads: int) -> None:
        self.number, self.name, self.threads = number, device, threads
        self._calls, self._seconds, self._begun = 0, 0.0, 0.0
        self._held, self._unbuilt = {}, {}

    def _node(self) -> str:
        return f"node{self.number}"


class Neighbour(SimulatedWorker):
    """A worker on the same node as all others, with whom it makes courses."""

    def _node(self) -> str:
        return "node"
