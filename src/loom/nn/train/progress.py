"""Progress on a terminal: one bar for all epochs, with the losses.

Layer: nn. Invariant: what is not a terminal gets nothing.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager

from loom.nn.train.trainer import Progress

__all__ = ["show_progress"]


@contextmanager
def show_progress(wanted: bool | None) -> Generator[Callable[[Progress], None] | None, None, None]:
    """Give what draws progress on stderr, None if it is not wanted (``wanted`` None: only on a terminal)."""
    if not (sys.stderr.isatty() if wanted is None else wanted):
        yield None
        return
    from rich import progress as rich
    from rich.console import Console

    columns = rich.TextColumn("{task.description}"), rich.BarColumn(), rich.TimeRemainingColumn()
    with rich.Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("training", total=None)

        def report(at: Progress) -> None:
            text = f"epoch {at.epoch + 1}/{at.epochs}  loss {at.loss:.4g}"
            text += "" if at.validation_loss is None else f"  validation {at.validation_loss:.4g}"
            bar.update(task, total=at.epochs * at.batches, completed=at.epoch * at.batches + at.batch, description=text)

        yield report
