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

    Args:
        title: Text of its title bar.
        width: Pixels of a row.
        height: Rows.

    Returns:
        The window.

    Raises:
        ArgumentError: A number is out of range, or no whole one.
        DeviceError: There is no screen, or the extra ``window`` is missing.
        StateError: A window is open.
    """
    wide, high = (whole(n, "ui_open", name, least=1) for n, name in ((width, "width"), (height, "height")))
    return Window(title, shape=(high, wide))


def ui_poll_events() -> list[Event]:
    """Return what happened in the window since the last call, and draw what is new.

    Once the list has held an event of kind ``close``, the window is gone.

    Raises:
        StateError: No window is open.
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
