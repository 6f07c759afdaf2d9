"""What a training went through, epoch by epoch, as data and as a picture.

Layer: nn. Invariant: the numbers are doubles that JSON keeps exactly, so that a resumed history goes on as it was.
"""

from __future__ import annotations

import os
from dataclasses import asdict, field, fields
from typing import Any

from loom.core.late.dataclass import dataclass
from loom.formats.file_writes import path_to_write, write_file
from loom.nn.train.loop.curves import draw_curves

__all__ = ["History"]


@dataclass(slots=True)
class History:
    """One number for each epoch in each list; those of validation are empty without it.

    ``loss`` is the mean over the epoch's samples as they were met, ``rate`` that of the epoch's last update.
    ``validation_accuracy`` is of classes. ``stopped``: why training ended before its last epoch, or "".
    ``evaluations``, if ``evaluate_every`` asks for them: what ``Evaluation.brief`` gives of the validation samples, and
    after which ``epoch``, from 1; samples and a loss of None alone where outputs are NaN; of several outputs the loss
    is that of all, and each has None. ``skipped``: of a training in f16, the updates of each epoch that changed
    nothing because a gradient was too large.
    """

    loss: list[float] = field(default_factory=list[float])
    validation_loss: list[float] = field(default_factory=list[float])
    validation_accuracy: list[float] = field(default_factory=list[float])
    rate: list[float] = field(default_factory=list[float])
    stopped: str = ""
    evaluations: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    skipped: list[int] = field(default_factory=list[int])

    @property
    def epochs(self) -> int:
        """Epochs that are whole."""
        return len(self.loss)

    def to_dict(self) -> dict[str, Any]:
        """Return all of it as JSON takes it."""
        return asdict(self)

    @classmethod
    def from_dict(cls, found: dict[str, Any]) -> History:
        """Return a history of what ``to_dict`` gave.

        Args:
            found: Mapping of its lists.
        """
        told: dict[str, Any] = {"evaluations": [], "skipped": [], **found}  # kept before there were any
        return cls(**{f.name: told[f.name] for f in fields(cls)})

    def png(self) -> bytes:
        """Return the losses of the epochs as a picture: training blue, validation red, from 0 to the largest."""
        return draw_curves([self.loss, self.validation_loss], ["loss", "validation"])

    def save_png(self, path: str | os.PathLike[str]) -> None:
        """Write the picture to a file.

        Args:
            path: File to write, in place of one there.

        Raises:
            DTypeError: Not a path.
            FileError: The file cannot be written.
        """
        where = "loom.nn.train.History.save_png"
        write_file(path_to_write(path, where), self.png(), where, durable=False)
