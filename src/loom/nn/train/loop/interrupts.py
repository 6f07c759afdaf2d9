"""Ctrl-C during training: asks for an end between two steps; a second one interrupts at once.

Layer: nn. Invariant: the handler that was there is back when the ``with`` ends; other threads' work is left alone.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any

__all__ = ["stop_on_interrupt"]


@contextmanager
def stop_on_interrupt(stop: Callable[[], None]) -> Generator[list[int], None, None]:
    """Call ``stop`` at the first Ctrl-C, noted in the list given; in the main thread alone, as Python has it."""
    interrupted: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield interrupted
        return
    before = signal.getsignal(signal.SIGINT)

    def handle(number: int, _frame: Any) -> None:
        interrupted.append(number)
        stop()
        signal.signal(signal.SIGINT, signal.default_int_handler)

    signal.signal(signal.SIGINT, handle)
    try:
        yield interrupted
    finally:
        signal.signal(signal.SIGINT, before)
