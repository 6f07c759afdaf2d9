"""Windows and their events under the older names.

Layer: flow. Invariant: there is at most one window, and ``loom_present`` shows there when it is open.
"""

from __future__ import annotations

from loom.core.errors import StateError
from loom.flow.counts import whole
from loom.support.window import Event, Window, current_window

__all__ = ["ui_close", "ui_open", "ui_poll_events"]


def ui_open(title: str, width: float, height: float) -> Window:
    """Open the window, for pictures of so many pixels; ``loom_present`` shows there from now on.

    DeviceError without a screen or without the extra ``window``, StateError if one is open.
    """
    wide, high = (whole(n, "ui_open", name, least=1) for n, name in ((width, "width"), (height, "height")))
    return Window(title, shape=(high, wide))


def ui_poll_events() -> list[Event]:
    """Return what happened in the window since the last call, and draw what is new; StateError if none is open.

    Once the list has held an event of kind ``close``, the window is gone.
    """
    return _window("ui_poll_events").poll_events()


def ui_close() -> None:
    """Close the window; without one nothing happens."""
    window = current_window()
    if window is not None:
        window.close()


def _window(where: str) -> Window:
    window = current_window()
    if window is None:
        raise StateError(where, "no window is open", remedy="Call ui_open(title, width, height)")
    return window
