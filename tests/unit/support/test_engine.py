"""The engine: three forms, Mains without I/O, the double-buffer cycle."""

from __future__ import annotations

import gc
import threading
import time
from collections import Counter
from typing import Any

import pytest

import loom
from loom.core.errors import ArgumentError, AssertionFailed, DeviceError, DTypeError, LoomError
from loom.support.main_loom import MainLoom, MainProgram
from loom.support.parking import POOL
from unit.support.support_kernels import grow, paint, refuse, sum_up

WIDTH, HEIGHT = 16, 8


def public(kind: type) -> set[str]:
    return {name for name in dir(kind) if not name.startswith("_")}


def test_a_main_receives_dispatches_and_nothing_else() -> None:
    assert public(MainLoom) == {"name", "dispatch", "dispatch_indirect", "repeat", "build", "launch"}
    assert public(MainProgram) == {"dispatches", "launch"}
    for kind in (MainLoom, MainProgram):
        for verb in ("read", "write", "present", "wait", "poll", "fill", "copy_from", "set_heap", "open", "shutdown"):
            assert not hasattr(kind, verb)


def test_implicit_form_many_mains(on: str) -> None:
    """The sieve of the first documents: units that compute, this process that boots, launches and reads."""
    sizes = {"registers": 64, "globals": 64}
    with loom.Engine(mains={f"vm {n}": sizes for n in range(16)}, device=on) as engine:
        assert (engine.form, engine.state) == ("implicit", None)
        for n, main in enumerate(engine.mains.values()):
            engine.support.upload(main.name, [n] * 64)
            main.dispatch(sum_up, [64])
            with main.repeat(2):
                main.dispatch(grow, [0, 64, 100])
        engine.launch()
        engine.wait()
        found = [engine.support.download(name, 0, 1) for name in engine.mains]
        assert [int(f.result(20)[0]) for f in found] == [200 + n for n in range(16)]


def test_conflated_form_one_unit_for_both(on: str) -> None:
    with loom.Engine(mains={"app": {"registers": 64}}, support="app", device=on) as engine:
        assert engine.form == "conflated"
        assert engine.state is not None
        engine["app"].dispatch(grow, [0, 64, 5])
        engine.launch()
        assert engine.state.read(0, 1)[0] == 5
        assert engine.state is engine.support.units["app"]


@pytest.mark.parametrize("own", [True, False], ids=["booted", "given"])
def test_explicit_form_keeps_state_apart(on: str, own: bool) -> None:
    given = None if own else loom.boot(0, 256, device=on)
    spec: Any = {"registers": 0, "globals": 256} if given is None else given
    with loom.Engine(mains={"render": {"registers": 64}}, support=spec, device=on) as engine:
        assert engine.form == "explicit"
        assert engine.state is engine.support.units["support"]
        assert engine.state is not engine.support.units["render"]
        for turn in range(3):
            engine.state.write([turn], offset=turn)
            engine.support.snapshot(f"turn {turn}", units=["support"])
            engine["render"].dispatch(grow, [0, 64, 1])
            engine.launch()
        engine.support.undo().result(20)
        assert engine.state.read(0, 3, binding="globals").tolist() == [0, 1, 0]
        assert engine.support.download("render", 0, 1).result(20).tolist() == [3]
    if given is not None:
        assert given.is_open  # the caller's
        given.shutdown()


def test_frames_come_out_whole_and_in_order(on: str) -> None:
    seen: list[loom.Frame] = []

    class Keep(loom.Latest):
        def show(self, frame: loom.Frame) -> None:
            seen.append(frame)

    with loom.Engine(mains={"render": {"registers": 1, "globals": WIDTH * HEIGHT}}, device=on) as engine:
        steps: list[int] = []

        def step(number: int) -> None:
            steps.append(number)
            engine["render"].dispatch(paint, [WIDTH, number], groups=2)

        count = engine.frames(step, count=12, present={"render": loom.View((HEIGHT, WIDTH), Keep())})
    assert count == 12
    assert steps == list(range(12))
    assert len(seen) == 12
    for number, frame in enumerate(seen):
        assert frame.shape == (HEIGHT, WIDTH)
        assert frame.pixels[3, 5].tolist() == [5, 3, number, 255]
        assert (frame.pixels[:, :, 2] == number).all()


def test_a_step_ends_the_cycle_and_may_record_nothing() -> None:
    latest = loom.Latest()
    with loom.Engine(mains={"render": {"registers": 1, "globals": 4}}) as engine:

        def step(number: int) -> bool:
            if number % 2 == 0:
                engine["render"].dispatch(paint, [2, number])
            return number < 5

        assert engine.frames(step, present={"render": loom.View((2, 2), latest)}) == 5
        assert latest.count == 5
        assert latest.frame is not None
        assert latest.frame.pixels[0, 0].tolist() == [0, 0, 4, 255]
        assert engine.frames(lambda n: None, count=0) == 0


def test_recording_goes_on_while_a_picture_is_shown() -> None:
    """A presenter that takes its time holds up neither ``step`` nor the launch after it."""
    showing, recorded = threading.Event(), threading.Event()

    class Slow(loom.Latest):
        def show(self, frame: loom.Frame) -> None:
            showing.set()
            assert recorded.wait(20), "the next frame is not recorded while this one is shown"
            super().show(frame)

    with loom.Engine(mains={"render": {"registers": 1, "globals": 4}}) as engine:

        def step(number: int) -> None:
            engine["render"].dispatch(paint, [2, number])
            if number == 1:
                assert showing.wait(20)
                engine.launch()  # the picture was taken before: the unit is free
                recorded.set()

        assert engine.frames(step, count=2, present={"render": loom.View((2, 2), Slow())}) == 2


def test_a_presenter_that_fails_ends_the_cycle() -> None:
    class Broken(loom.Latest):
        def show(self, frame: loom.Frame) -> None:
            raise OSError("no screen")

    with loom.Engine(mains={"render": {"registers": 1, "globals": 4}}) as engine:
        with pytest.raises(OSError, match="no screen"):
            engine.frames(
                lambda n: engine["render"].dispatch(paint, [2, n]), present={"render": loom.View((2, 2), Broken())}
            )
        engine["render"].dispatch(paint, [2, 0])
        engine.launch()


def test_a_fault_of_one_main_leaves_the_others(on: str) -> None:
    mains = {"bad": {"registers": 1}, "good": {"registers": 64}}
    with loom.Engine(mains=mains, device=on) as engine:
        engine["bad"].dispatch(refuse)
        engine["good"].dispatch(grow, [0, 64, 1])
        engine.launch()
        with pytest.raises(AssertionFailed, match="not so"):
            engine.wait()
        assert engine.support.download("good", 0, 1).result(20).tolist() == [1]


def test_a_program_of_a_main_is_launched_again_and_again(on: str) -> None:
    with loom.Engine(mains={"work": {"registers": 64}}, device=on) as engine:
        engine["work"].dispatch(grow, [0, 64, 1])
        program = engine["work"].build()
        assert program.dispatches == 1
        engine.frames(lambda n: program.launch(), count=7)
        assert engine.support.download("work", 0, 1).result(20).tolist() == [7]


def test_native_objects_are_all_freed() -> None:
    """On Vulkan: a second use of frames, snapshots, mailboxes and pools adds nothing to what the device keeps."""
    try:
        device: Any = loom.device("vulkan")
    except DeviceError as error:
        pytest.skip(f"no Vulkan device: {error}")

    def use() -> None:
        mains = {"render": {"registers": 1, "globals": 64}}
        with loom.Engine(mains=mains, support={"registers": 1}, device=device) as engine:
            engine.support.snapshot("a")
            view = loom.View((8, 8), loom.Latest())
            engine.frames(lambda n: engine["render"].dispatch(paint, [8, n]), count=3, present={"render": view})
            engine.support.undo().exception(20)
        with loom.mailbox(4, 4, device=device) as box:
            box.post([1])
        loom.release(loom.spawn(8, device=device))
        POOL.clear()

    use()
    before = Counter(device.live)
    for _ in range(3):
        use()
    gc.collect()
    assert Counter(device.live) == before


def test_a_crashing_step_frees_everything() -> None:
    with pytest.raises(ZeroDivisionError), loom.Engine(mains={"work": {"registers": 64}}) as engine:
        engine.frames(lambda n: 1 // 0)
    with loom.Engine(mains={"work": {"registers": 64}}) as engine:
        assert repr(engine) == "<loom Engine, implicit Support: work>"
        assert repr(engine["work"]) == "<loom Main 'work' on cpu>"


CASES: dict[str, tuple[Any, type[LoomError], str]] = {
    "none": (
        lambda: loom.Engine(mains={}), ArgumentError,
        "[loom.Engine] no Mains: expected a mapping of names to units or their sizes, got {}. "
        'Write mains={"work": {"registers": 8, "globals": 1024}}.',
    ),
    "a list": (lambda: loom.Engine(mains=["a"]), ArgumentError, "[loom.Engine] no Mains"),
    "a number": (
        lambda: loom.Engine(mains={"a": 3}), DTypeError,
        "[loom.Engine, 'a'] not a unit: expected a unit, or its sizes with 'registers', got 3.",
    ),
    "misspelt": (
        lambda: loom.Engine(mains={"a": {"registers": 1, "global": 3}}), ArgumentError,
        "[loom.Engine, 'a'] a unit has no 'global': expected registers, globals, heap, bindings, device, got global. "
        "Did you mean 'globals'?",
    ),
    "support's name": (
        lambda: loom.Engine(mains={"render": {"registers": 1}}, support="rendr"), ArgumentError,
        "[loom.Engine, support] no Main is called 'rendr'. Did you mean 'render'?",
    ),
    "size": (lambda: loom.Engine(mains={"a": {"registers": -1}}), ArgumentError, "[a, registers] unusable size"),
    "name": (lambda: loom.Engine(mains={3: {"registers": 1}}), ArgumentError, "[support.boot] not a name"),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_misuse_says_what_to_do_and_leaves_no_support_open(case: tuple[Any, type[LoomError], str]) -> None:
    call, kind, text = case
    with pytest.raises(kind) as caught:
        call()
    assert text in str(caught.value)
    loom.Support().shutdown()


def test_unknown_mains() -> None:
    with loom.Engine(mains={"render": {"registers": 1}}) as engine:
        with pytest.raises(ArgumentError, match=r"\[loom.Engine\] no Main is called 'rendr'. Did you mean 'render'?"):
            engine["rendr"]
        with pytest.raises(ArgumentError, match="no Main is called 'x'"):
            engine.frames(lambda n: None, count=1, present={"x": loom.View((1, 1), loom.Latest())})


def test_waiting_too_long_says_so() -> None:
    with loom.Engine(mains={"work": {"registers": 64}}) as engine:
        with engine["work"].repeat(300_000):
            engine["work"].dispatch(grow, [0, 64, 1], 64)
        engine.launch()
        begun = time.monotonic()
        with pytest.raises(TimeoutError):
            engine.wait(timeout=0)
        assert time.monotonic() - begun < 5
