"""Memory after faults is the same on every device: histories of dispatches, drawn, against the rule in a few lines.

The oracle runs on numpy: a dispatch waits if it touches what was written since the last wait, or writes what was
touched, or reads its groups from memory; the run ends at the first that waits after one that failed.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from typing import Any

import numpy as np
import pytest
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test

import loom
from loom.core.errors import AssertionFailed, KernelFault, OutOfBounds

LANES = 8
NAMES = ("a", "b", "c")
NEVER = 99
TOO_MANY = 2**32 - 1


@loom.kernel(workgroup=LANES)
def own(x: loom.InOut[loom.u32], k: loom.u32) -> None:
    i = loom.global_id()
    if i < len(x):
        x[i] = x[i] * 3 + i
        assert x[i] % 7 != k, f"{x[i]}"
        x[i] = x[i] + 1000


@loom.kernel(workgroup=LANES)
def other(x: loom.InOut[loom.u32], y: loom.In[loom.u32], k: loom.u32) -> None:
    i = loom.global_id()
    if i < len(x):
        x[i] = x[i] + y[i]
        assert x[i] % 7 != k, f"{x[i]}"
        x[i] = x[i] * 5


INTO, SOURCE = st.sampled_from(NAMES), st.sampled_from([None, *NAMES])
FAILING = st.sampled_from([NEVER, NEVER, 0, 1, 2, 3])
Memory = dict[str, np.ndarray[Any, Any]]


def run_own(x: np.ndarray[Any, Any], k: int) -> tuple[int, str] | None:
    x[:] = x * np.uint32(3) + np.arange(LANES, dtype=np.uint32)
    return end_lanes(x, k, lambda v: v + np.uint32(1000))


def run_other(x: np.ndarray[Any, Any], y: np.ndarray[Any, Any], k: int) -> tuple[int, str] | None:
    x[:] = x + y
    return end_lanes(x, k, lambda v: v * np.uint32(5))


def end_lanes(x: np.ndarray[Any, Any], k: int, rest: Callable[[Any], Any]) -> tuple[int, str] | None:
    failing = x % np.uint32(7) == k
    told = (int(np.flatnonzero(failing)[0]), str(x[failing][0])) if failing.any() else None
    x[:] = np.where(failing, x, rest(x))
    return told


class Rule:
    """What a run does to memory: ``recorded`` are (name, name of the source or None, k, indirect)."""

    def __init__(self, memory: Memory) -> None:
        self.memory = memory

    def run(self, recorded: list[tuple[str, str | None, int, bool]]) -> tuple[int, str] | str | None:
        """Return the lane and the message of the fault, "groups" for counts beyond the limits, None for no fault."""
        read: set[str] = set()
        written: set[str] = set()
        first: tuple[int, str] | None = None
        excess = False
        for target, source, k, indirect in recorded:
            reads = {target, *([source] if source else []), *(["counts"] if indirect else [])}
            if indirect or reads & written or target in read | written:
                if first is not None:
                    break
                read, written = set(), set()
            read |= reads
            written.add(target)
            count = int(self.memory["counts"][0]) if indirect else 1
            excess = excess or count == TOO_MANY
            if count != 1:
                continue
            x = self.memory[target]
            told = run_own(x, k) if source is None else run_other(x, self.memory[source], k)
            first = first or told
        return "groups" if excess else first


class Histories(RuleBasedStateMachine):
    """One unit, one chain over arrays of the host, and what they should hold."""

    on = "interp"

    @initialize()
    def begin(self) -> None:
        with np.errstate(all="ignore"):
            sizes = dict.fromkeys(NAMES, (loom.u32, LANES)) | {"counts": (loom.u32, 3)}
            self.unit = loom.boot(0, device=self.on, bindings=sizes)
            self.chain = loom.Chain(self.on)
            self.arrays: Memory = {name: np.zeros(LANES, np.uint32) for name in NAMES}
            self.arrays["counts"] = np.ones(3, np.uint32)
            self.of_unit = Rule({name: a.copy() for name, a in self.arrays.items()})
            self.of_chain = Rule({name: a.copy() for name, a in self.arrays.items()})
            self.unit.write([1, 1, 1], binding="counts")
            self.recorded: list[tuple[str, str | None, int, bool]] = []

    def record(self, into: str, source: str | None, k: int, indirect: bool) -> None:
        kernel, bound = (own, [into]) if source is None else (other, [into, source])
        names = dict(zip("xy", bound, strict=False))
        arrays = [self.arrays[name] for name in bound]
        if indirect:
            self.unit.dispatch_indirect(kernel, [k], "counts", bind=names)
            self.chain.dispatch_indirect(kernel, arrays, [k], self.arrays["counts"])
        else:
            self.unit.dispatch(kernel, [k], 1, bind=names)
            self.chain.dispatch(kernel, arrays, [k], 1)
        self.recorded.append((into, source, k, indirect))

    @rule(into=INTO, source=SOURCE, k=FAILING, indirect=st.sampled_from([False, False, False, True]))
    def dispatch(self, into: str, source: str | None, k: int, indirect: bool) -> None:
        self.record(into, source if source != into else None, k, indirect)

    @rule(into=INTO, source=SOURCE, k=FAILING, repeats=st.integers(1, 4))
    def repeat(self, into: str, source: str | None, k: int, repeats: int) -> None:
        source = source if source != into else None
        before = len(self.recorded)
        with self.unit.repeat(repeats), self.chain.repeat(repeats):
            self.record(into, source, k, False)
        self.recorded += self.recorded[before:] * (repeats - 1)

    @rule(first=st.sampled_from([0, 1, 1, TOO_MANY]))
    def count(self, first: int) -> None:
        counts = np.array([first, 1, 1], np.uint32)
        self.unit.write(counts, binding="counts")
        for memory in (self.arrays, self.of_unit.memory, self.of_chain.memory):
            memory["counts"][:] = counts

    @precondition(lambda self: self.recorded)
    @rule(runs=st.integers(1, 3), launched=st.booleans())
    def run(self, runs: int, launched: bool) -> None:
        recorded, self.recorded = self.recorded, []
        unit, chain = self.unit.build(), self.chain.build()
        for program, oracle in ((unit, self.of_unit), (chain, self.of_chain)):
            for _ in range(runs):
                with np.errstate(all="ignore"):
                    expected = oracle.run(recorded)
                with fault(expected):
                    program.launch().wait(60) if launched else program.run()
        self.compare()

    @precondition(lambda self: self.recorded)
    @rule()
    def launch_twice_and_read(self) -> None:
        recorded, self.recorded = self.recorded, []
        self.chain.build()
        program = self.unit.build()
        with np.errstate(all="ignore"):
            expected = [self.of_unit.run(recorded) for _ in range(2)]
        for _ in range(2):
            program.launch()
        for each in expected:
            if each is not None:
                with fault(each):
                    self.unit.read(0, 1, binding="a")
        self.compare()

    @precondition(lambda self: self.recorded)
    @rule()
    def cancel(self) -> None:
        self.recorded = []
        for program in (self.unit.build(), self.chain.build()):
            submission = program.launch()
            submission.cancel()
            with suppress(KernelFault):  # it may have come so far
                submission.wait(60)
        for name in NAMES:  # how far it came is not said
            self.unit.fill(5, binding=name)
            for memory in (self.arrays, self.of_unit.memory, self.of_chain.memory):
                memory[name][:] = 5

    def compare(self) -> None:
        for name in NAMES:
            assert self.unit.read(0, LANES, binding=name).tolist() == self.of_unit.memory[name].tolist()
            assert self.arrays[name].tolist() == self.of_chain.memory[name].tolist()

    def teardown(self) -> None:
        if hasattr(self, "unit"):
            self.unit.shutdown()


@contextmanager
def fault(expected: tuple[int, str] | str | None) -> Generator[None]:
    """Expect a fault, or none."""
    if expected is None:
        yield
        return
    with pytest.raises(KernelFault) as caught:
        yield
    if expected == "groups":
        assert "unusable number of workgroups in an indirect dispatch" in str(caught.value)
    else:
        assert isinstance(caught.value, AssertionFailed)
        assert (caught.value.lane, caught.value.message) == expected


def test_memory_after_faults_is_what_the_rule_says(on: str) -> None:
    class Here(Histories):
        pass

    Here.on = on
    run_state_machine_as_test(
        Here,
        settings=settings(
            max_examples=30, stateful_step_count=20, deadline=None, derandomize=True, phases=[Phase.generate],
        ),
    )  # fmt: skip


@loom.kernel(workgroup=LANES)
def outside(x: loom.In[loom.u32], y: loom.InOut[loom.u32]) -> None:
    i = loom.global_id()
    y[i + 1] = x[i + 3] + 7


@loom.kernel(workgroup=LANES)
def ones(x: loom.InOut[loom.u32]) -> None:
    x[loom.global_id()] = 1


def test_an_index_outside_is_told_when_all_lanes_are_done(on: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOOM_CHECK", "1")
    x = np.arange(LANES, dtype=np.uint32)
    y, free, after = (np.zeros(LANES, np.uint32) for _ in range(3))
    chain = loom.Chain(on)
    chain.dispatch(outside, [x, y], [], 1)
    chain.dispatch(ones, [free], [], 1)
    chain.dispatch(other, [after, free], [NEVER], 1)
    with pytest.raises(OutOfBounds) as caught:
        chain.build().run()
    assert (caught.value.lane, caught.value.index) == (5, 8)
    assert free.tolist() == [1] * LANES
    assert after.tolist() == [0] * LANES
    assert y.tolist() == [0, 10, 11, 12, 13, 14, 7, 7]


def test_independent_dispatches_run_after_a_fault(on: str) -> None:
    with loom.boot(LANES, LANES, device=on) as unit:
        unit.dispatch(own, [0], 1, bind={"x": "registers"})
        unit.dispatch(ones, groups=1, bind={"x": "globals"})
        with pytest.raises(AssertionFailed):
            unit.build().run()
        assert unit.read(0, LANES, binding="globals").tolist() == [1] * LANES


def test_a_profile_changes_nothing_on_the_cpu() -> None:
    a, b, c = (np.zeros(LANES, np.uint32) for _ in range(3))
    chain = loom.Chain("cpu")
    chain.dispatch(own, [a], [0], 1)
    chain.dispatch(ones, [b], [], 1)
    chain.dispatch(other, [c, b], [NEVER], 1)
    program = chain.build()
    with loom.profile(), pytest.raises(AssertionFailed):
        program.run()
    assert (b.tolist(), c.tolist()) == ([1] * LANES, [0] * LANES)
