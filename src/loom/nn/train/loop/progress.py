"""Progress on a terminal: one bar for all epochs, with the losses; in a notebook a line that is written anew.

Layer: nn. Invariant: what is neither a terminal nor a notebook gets nothing.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from importlib import import_module
from typing import Any

from loom.nn.train.loop.trainer import Progress

__all__ = ["show_progress"]

_LEAST_SECONDS = 0.1
"""Between two lines in a notebook."""


@contextmanager
def show_progress(wanted: bool | None) -> Generator[Callable[[Progress], None] | None, None, None]:
    """Give what draws progress, None if it is not wanted (``wanted`` None: only on a terminal or in a notebook)."""
    notebook = wanted is not False and _in_notebook()
    if notebook:
        yield _line_in_notebook()
        return
    if not (sys.stderr.isatty() if wanted is None else wanted):
        yield None
        return
    from rich import progress as rich
    from rich.console import Console

    columns = rich.TextColumn("{task.description}"), rich.BarColumn(), rich.TimeRemainingColumn()
    with rich.Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("training", total=None)

        def report(at: Progress) -> None:
            done = at.epoch * at.batches + at.batch
            bar.update(task, total=at.epochs * at.batches, completed=done, description=_text(at))

        yield report


def _text(at: Progress) -> str:
    text = f"epoch {at.epoch + 1}/{at.epochs}  loss {at.loss:.4g}"
    return text + ("" if at.validation_loss is None else f"  validation {at.validation_loss:.4g}")


def _in_notebook() -> bool:
    """Tell whether this process is the kernel of a notebook."""
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return type(shell).__name__ == "ZMQInteractiveShell"


def _line_in_notebook() -> Callable[[Progress], None]:
    display: Any = import_module("IPython.display")
    handle = display.display({"text/plain": "training"}, raw=True, display_id=True)
    drawn = 0.0

    def report(at: Progress) -> None:
        nonlocal drawn
        share = (at.epoch * at.batches + at.batch) / (at.epochs * at.batches)
        if share == 1 or time.monotonic() - drawn > _LEAST_SECONDS:
            drawn = time.monotonic()
            handle.update({"text/plain": f"{_text(at)}  {share:4.0%}"}, raw=True)

    return report
