"""A native window as a presenter, and its events, through SDL (package pygame-ce, extra ``window``).

Layer: support. SDL draws and hears in the thread that opened the window: ``show`` called there draws at once, called
by another (an engine's I/O thread) it leaves the frame for the next ``poll_events``. Invariant: places in events are
pixels of the picture, (0, 0) its upper left, whatever the size of the window.
"""

from __future__ import annotations

import os
import threading
from typing import Any

import numpy as np

from loom.core.errors import ArgumentError, DeviceError, StateError
from loom.core.given import able, flag, text
from loom.core.late.dataclass import dataclass
from loom.core.numbers import whole
from loom.core.optional import load
from loom.runtime.memory.frames import Frame, require_shape

__all__ = ["Event", "Window", "current_window"]

_MOST_PIXELS = 16384
_BUTTONS = {1: "left", 2: "middle", 3: "right"}


@dataclass(frozen=True, slots=True)
class Event:
    """What happened in a window.

    ``kind`` is key_down, key_up, text, mouse_down, mouse_up, mouse_move, wheel, resize or close. ``key`` names the key
    ("a", "space", "left", "escape") or, of ``text``, what was typed; ``button`` is left, middle or right; ``x`` and
    ``y`` are the place in pixels of the picture, of ``wheel`` the steps to the right and away from the user, of
    ``resize`` the new size in pixels of the screen.
    """

    kind: str
    key: str = ""
    button: str = ""
    x: int = 0
    y: int = 0


class Window:
    """A window on the screen that shows frames. A context manager, and a presenter (see ``loom.View``).

    Args:
        title: Text of its title bar.
        shape: (height, width) of the pictures; None: that of the first.
        scale: Pixels of the screen for each of the picture's, at first.
        resizable: Whether the user may change its size.

    Raises:
        ArgumentError: The scale is below 1 or no whole number; ``resizable`` is no truth.
        DTypeError: The title is no text.
        ShapeError: Not the shape of a picture.
        DeviceError: There is no screen, or pygame-ce is missing.
        StateError: The process has a window open.
    """

    def __init__(self, title: str = "Loom", *, shape: tuple[int, int] | None = None, scale: int = 1,
                 resizable: bool = True) -> None:  # fmt: skip
        self.title = text(title, "loom.Window, title")
        self.shape = None if shape is None else require_shape(shape, "loom.Window, shape")
        self.scale = whole(scale, "loom.Window, scale", least=1)
        self._resizable = flag(resizable, "loom.Window, resizable")
        self._sdl = _sdl()
        self._thread = threading.get_ident()
        self._process = os.getpid()
        self._lock = threading.Lock()
        self._waiting: Frame | None = None
        self._shown: Frame | None = None
        self._surface: Any = None
        self._events: list[Event] = []
        self.is_open = True
        """False once the user or ``close`` has closed it."""
        self._take()
        if self.shape is not None:
            self._open(self.shape)

    def _take(self) -> None:
        """Be the window of the process."""
        global _current  # noqa: PLW0603 - SDL has one
        if _current is not None:
            _current._let_go()
        with _lock:
            if _current is not None:
                raise StateError("loom.Window", "a window is open", expected="one at a time", got=_current.title,
                                 remedy="Close it first")  # fmt: skip
            _current = self

    def _open(self, shape: tuple[int, int]) -> None:
        height, width = (n * self.scale for n in shape)
        if max(height, width) > _MOST_PIXELS:
            self.close()
            raise ArgumentError("loom.Window", "too large", expected=f"at most {_MOST_PIXELS} pixels a side",
                                got=(height, width), remedy="Show a smaller picture")  # fmt: skip
        sdl = self._sdl
        try:
            sdl.display.init()
            self._surface = sdl.display.set_mode((width, height), sdl.RESIZABLE if self._resizable else 0)
        except sdl.error as error:
            self.close()
            raise DeviceError(
                "loom.Window", f"no window can be opened ({error})",
                remedy="Set DISPLAY to a screen, or show frames on a loom.Page",
            ) from None  # fmt: skip
        sdl.display.set_caption(self.title)
        self.shape = shape

    def show(self, frame: Frame) -> None:
        """Show a frame: now, in the thread that opened the window, else with the next ``poll_events``.

        A window that was closed takes frames and shows nothing, so that a loop may end in its own time.

        Args:
            frame: ``loom.Frame``.

        Raises:
            DTypeError: Not a frame.
            StateError: The window is of a process that was forked.
        """
        able(frame, "loom.Window.show", "png", "a loom.Frame")
        self._require_home("loom.Window.show")
        with self._lock:
            if not self.is_open:
                return
            self._waiting = frame
        if threading.get_ident() == self._thread:
            self._hear()
            self._draw()

    def poll_events(self) -> list[Event]:
        """Return what happened since the last call, and draw what other threads showed; to be called by the opener.

        After ``close`` in the list the window is gone, and ``is_open`` false.

        Raises:
            StateError: Another thread opened the window; it is of a process that was forked.
        """
        self._require_home("loom.Window.poll_events")
        if threading.get_ident() != self._thread:
            raise StateError("loom.Window.poll_events", "another thread opened the window",
                             remedy="Call it in the thread that made the Window")  # fmt: skip
        self._let_go()
        self._hear()
        self._draw()
        found, self._events = self._events, []
        return found

    def close(self) -> None:
        """Close the window; calling it again does nothing.

        Closed by another thread than that which opened it, it is gone with the next call of the opener.
        """
        with self._lock:
            self.is_open = False
            self._waiting = None
        self._let_go()

    def _require_home(self, where: str) -> None:
        if os.getpid() != self._process:
            raise StateError(where, "another process opened the window, and was forked since",
                             remedy="Open a window of its own in a process that was spawned")  # fmt: skip

    def _let_go(self) -> None:
        """Give a closed window back to SDL, which crashes unless the thread that opened it does so."""
        global _current  # noqa: PLW0603
        if self.is_open or threading.get_ident() != self._thread or os.getpid() != self._process:
            return
        with _lock:
            if _current is not self:
                return
            _current = None
        self._shown = self._surface = None
        self._sdl.display.quit()

    def __enter__(self) -> Window:
        return self

    def __exit__(self, *_exc: Any) -> None:
        self.close()

    # drawing and hearing, in the thread of the window

    def _draw(self) -> None:
        with self._lock:
            frame, self._waiting = self._waiting, None
        if frame is None or not self.is_open:
            return
        if self._surface is None:
            self._open(frame.shape)
        self._shown, self.shape = frame, frame.shape
        self._paint()

    def _paint(self) -> None:
        frame, sdl = self._shown, self._sdl
        if frame is None or self._surface is None:
            return
        height, width = frame.shape
        picture = sdl.image.frombuffer(np.ascontiguousarray(frame.pixels).tobytes(), (width, height), "RGBA")
        left, top, wide, high = self._area()
        self._surface.fill((0, 0, 0))
        self._surface.blit(sdl.transform.scale(picture.convert(), (wide, high)), (left, top))
        sdl.display.flip()

    def _area(self) -> tuple[int, int, int, int]:
        """Return left, top, width and height of the picture in the window: the largest that fits."""
        assert self.shape is not None
        (wide, high), (height, width) = self._surface.get_size(), self.shape
        factor = min(wide / width, high / height)
        across, down = max(1, round(width * factor)), max(1, round(height * factor))
        return (wide - across) // 2, (high - down) // 2, across, down

    def _place(self, at: tuple[int, int]) -> tuple[int, int]:
        """Return the pixel of the picture at a place of the window."""
        assert self.shape is not None
        left, top, wide, high = self._area()
        return (at[0] - left) * self.shape[1] // wide, (at[1] - top) * self.shape[0] // high

    def _hear(self) -> None:
        if self._surface is None or not self.is_open:
            return
        for event in self._sdl.event.get():
            found = self._event(event)
            if found is not None:
                self._events.append(found)
            if event.type == self._sdl.QUIT:
                self.close()
                return

    def _event(self, event: Any) -> Event | None:
        sdl, kind = self._sdl, event.type
        if kind in (sdl.KEYDOWN, sdl.KEYUP):
            return Event("key_down" if kind == sdl.KEYDOWN else "key_up", key=sdl.key.name(event.key))
        if kind == sdl.TEXTINPUT:
            return Event("text", key=event.text)
        if kind in (sdl.MOUSEBUTTONDOWN, sdl.MOUSEBUTTONUP):
            if event.button not in _BUTTONS:  # SDL tells the wheel a second time as buttons
                return None
            x, y = self._place(event.pos)
            return Event("mouse_down" if kind == sdl.MOUSEBUTTONDOWN else "mouse_up", button=_BUTTONS[event.button],
                         x=x, y=y)  # fmt: skip
        if kind == sdl.MOUSEMOTION:
            x, y = self._place(event.pos)
            return Event("mouse_move", x=x, y=y)
        if kind == sdl.MOUSEWHEEL:
            return Event("wheel", x=event.x, y=event.y)
        if kind == sdl.VIDEORESIZE:
            self._paint()
            return Event("resize", x=event.w, y=event.h)
        if kind == sdl.VIDEOEXPOSE:
            self._paint()
        return Event("close") if kind == sdl.QUIT else None


_lock = threading.Lock()
_current: Window | None = None


def current_window() -> Window | None:
    """Return the window that is open, if one is."""
    return _current


def _sdl() -> Any:
    os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")
    return load("pygame", "loom.Window", DeviceError)
