"""A window on a screen of its own (Xvfb): what is on that screen is read from the X server's memory."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import loom
from loom.core.errors import DTypeError, ShapeError


@pytest.fixture(scope="module")
def screen(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """Start an X server without a monitor; give its name and the folder with its memory."""
    pytest.importorskip("pygame", reason="the extra `window` (pygame-ce) is not installed")
    if shutil.which("Xvfb") is None:
        pytest.skip("no Xvfb: install the Debian package xvfb")
    folder = tmp_path_factory.mktemp("screen")
    read, write = os.pipe()
    command = ["Xvfb", "-displayfd", str(write), "-screen", "0", "320x240x24", "-fbdir", str(folder), "-noreset"]
    server = subprocess.Popen(command, pass_fds=[write], stderr=subprocess.DEVNULL)
    os.close(write)
    with os.fdopen(read) as told:
        number = told.readline().strip()
    assert number, "Xvfb did not start"
    yield f":{number}", folder
    server.terminate()
    server.wait(10)


def run(screen: tuple[str, Path], program: str) -> str:
    """Run a program that has the screen; ``shot()`` there gives the screen's pixels, red, green, blue."""
    start = f"""
        import os, sys, numpy as np, loom, pygame
        def shot():
            data = open({str(screen[1] / "Xvfb_screen0")!r}, "rb").read()
            head = np.frombuffer(data[:100], ">u4")
            rows = np.frombuffer(data, "u1", count=head[5] * head[12], offset=head[0] + 12 * head[19])
            return rows.reshape(head[5], head[12])[:, : 4 * head[4]].reshape(head[5], head[4], 4)[..., 2::-1]
        def settled(expected):
            import time
            for _ in range(100):
                if (shot() == expected).all(-1).any():
                    break
                time.sleep(0.05)
            return shot()
    """
    whole = textwrap.dedent(start) + textwrap.dedent(program)
    environment = {**os.environ, "DISPLAY": screen[0], "SDL_VIDEODRIVER": "x11"}
    file = screen[1] / "program.py"  # kernels are read from files
    file.write_text(whole, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, str(file)], capture_output=True, text=True, timeout=120, env=environment, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_pictures_are_on_the_screen_pixel_by_pixel(screen: tuple[str, Path]) -> None:
    run(screen, """
        pixels = np.random.default_rng(0).integers(0, 256, (24, 32, 4), "u1")
        pixels[..., 3] = 255
        pixels[0, 0, :3] = 1, 2, 3
        with loom.Window("test", scale=2) as window:
            window.show(loom.Frame(pixels))
            seen = settled(pixels[0, 0, :3])
            rows, columns = np.nonzero((seen == pixels[0, 0, :3]).all(-1))
            top, left = rows.min(), columns.min()
            assert np.array_equal(seen[top : top + 48 : 2, left : left + 64 : 2], pixels[..., :3])
            assert np.array_equal(seen[top + 1 : top + 48 : 2, left + 1 : left + 64 : 2], pixels[..., :3])
            assert window.shape == (24, 32)
    """)  # fmt: skip


def test_events_are_told_in_pixels_of_the_picture(screen: tuple[str, Path]) -> None:
    run(screen, """
        with loom.Window("test", shape=(60, 80), scale=2) as window:
            window.show(loom.Frame(np.zeros((60, 80), "u1")))
            window.poll_events()
            post, E = pygame.event.post, pygame.event.Event
            post(E(pygame.KEYDOWN, key=pygame.K_a)); post(E(pygame.KEYUP, key=pygame.K_a))
            post(E(pygame.TEXTINPUT, text="å"))
            post(E(pygame.MOUSEBUTTONDOWN, pos=(21, 9), button=1))
            post(E(pygame.MOUSEBUTTONUP, pos=(159, 119), button=3))
            post(E(pygame.MOUSEBUTTONDOWN, pos=(0, 0), button=4))
            post(E(pygame.MOUSEWHEEL, x=0, y=1)); post(E(pygame.MOUSEMOTION, pos=(4, 2), rel=(0, 0), buttons=(0, 0, 0)))
            found = [e for e in window.poll_events() if e.kind not in ("resize",)]
            Ev = loom.Event
            expected = [
                Ev("key_down", key="a"), Ev("key_up", key="a"), Ev("text", key="å"),
                Ev("mouse_down", button="left", x=10, y=4),
                Ev("mouse_up", button="right", x=79, y=59), Ev("wheel", x=0, y=1), Ev("mouse_move", x=2, y=1)]
            assert [e for e in found if e in expected] == expected, found
            assert len([e for e in found if e.kind == "mouse_down"]) == 1
            post(E(pygame.QUIT))
            assert window.poll_events()[-1] == Ev("close") and not window.is_open
            window.show(loom.Frame(np.zeros((60, 80), "u1")))
            assert window.poll_events() == []
    """)  # fmt: skip


def test_an_engine_shows_frames_from_its_own_thread(screen: tuple[str, Path]) -> None:
    run(screen, """
        from loom import InOut, u32
        @loom.kernel(workgroup=64)
        def paint(globals: InOut[u32], n: u32):
            i = loom.global_id()
            if i < len(globals):
                globals[i] = u32(0xFF000000) | (n << 4)
        with loom.Window("engine", shape=(40, 40)) as window:
            with loom.Engine(mains={"render": {"registers": 1, "globals": 1600}}) as engine:
                def step(number):
                    window.poll_events()
                    engine["render"].dispatch(paint, [number + 1], groups=25)
                engine.frames(step, count=3, present={"render": loom.View((40, 40), window)})
            window.poll_events()
            assert (settled([0x30, 0, 0]) == [0x30, 0, 0]).all(-1).sum() == 1600
    """)  # fmt: skip


def test_the_older_names(screen: tuple[str, Path]) -> None:
    run(screen, """
        from loom.flow import loom_boot, loom_present, loom_write, ui_close, ui_open, ui_poll_events
        window = ui_open("flow", 30.0, 20.0)
        unit = loom_boot(1.0, 1.0, 600.0)
        loom_write(unit, 0.0, np.full(600, 0xFF0A141E, "u4"))
        loom_present(unit, 600.0, width=30.0)
        ui_poll_events()
        assert (settled([0x1E, 0x14, 0x0A]) == [0x1E, 0x14, 0x0A]).all(-1).sum() == 600
        try:
            ui_open("second", 3.0, 3.0)
        except loom.LoomError as error:
            assert "one at a time" in str(error) and "Close it first" in str(error)
        ui_close(); ui_close()
        try:
            ui_poll_events()
        except loom.LoomError as error:
            assert "no window is open" in str(error)
        else:
            raise SystemExit("it was not refused")
        ui_open("again", 3.0, 3.0); ui_close()
    """)  # fmt: skip


def test_without_a_screen_it_is_said() -> None:
    pytest.importorskip("pygame", reason="the extra `window` (pygame-ce) is not installed")
    program = "import loom\ntry:\n loom.Window(shape=(3, 3))\nexcept loom.LoomError as e:\n print(e)"
    environment = {k: v for k, v in os.environ.items() if k not in ("DISPLAY", "WAYLAND_DISPLAY")}
    environment["SDL_VIDEODRIVER"] = "x11"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=environment, check=True)
    assert "no window can be opened" in done.stdout
    assert "Set DISPLAY to a screen, or show frames on a loom.Page" in done.stdout


def test_frames_of_grey_and_of_floats() -> None:
    grey = loom.Frame(np.array([[0.0, 0.5], [1.0, np.nan]]))
    assert grey.pixels.tolist() == [[[0, 0, 0, 255], [128, 128, 128, 255]], [[255, 255, 255, 255], [0, 0, 0, 255]]]
    assert loom.Frame(np.array([[[1, 2, 3]]], "u1")).pixels.tolist() == [[[1, 2, 3, 255]]]
    pixels = np.zeros((2, 3, 4), "u1")
    assert loom.Frame(pixels).pixels is pixels
    assert loom.Frame(np.array([[True, False]])).pixels[0, :, 0].tolist() == [255, 0]
    with pytest.raises(ShapeError, match=r"expected \(height, width\)"):
        loom.Frame(np.zeros(5, "u1"))
    with pytest.raises(DTypeError, match="pixels are bytes or floats"):
        loom.Frame(np.zeros((2, 2), "i4"))


def test_a_window_is_let_go_by_the_thread_that_opened_it(screen: tuple[str, Path]) -> None:
    run(screen, """
        import threading
        window = loom.Window("one", shape=(20, 30))
        other = threading.Thread(target=window.close)
        other.start(); other.join()
        assert not window.is_open
        again = loom.Window("two", shape=(20, 30))
        again.show(loom.Frame(np.ones((20, 30))))
        child = os.fork()
        if child == 0:
            try:
                again.show(loom.Frame(np.zeros((20, 30))))
            except loom.LoomError as error:
                os._exit(7 if "another process opened the window" in str(error) else 1)
            os._exit(1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
        again.poll_events(); again.close()
    """)  # fmt: skip
