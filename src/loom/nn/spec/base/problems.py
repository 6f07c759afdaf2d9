"""Problems of a document: where each is, what was expected, what was found; collected, then raised as one.

Layer: nn. Invariant: a path always reads as in ``$.layers[3].branches[1].filters`` and names a place of the
document that was given.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import field

from loom.core.errors import ArgumentError, SpecError, near_matches
from loom.core.late.dataclass import dataclass
from loom.formats.json_text import JsonObject, JsonValue, brief
from loom.nn.spec.base.limits import MOST_LAYERS

__all__ = ["Place", "Problem", "Reading", "path_below"]

_PLAIN = re.compile(r"[A-Za-z_$][A-Za-z0-9_]*")


@dataclass(frozen=True, slots=True)
class Problem:
    """One fault of a document.

    ``path`` is its place (``$.layers[3].filters``), ``what`` the fault, ``expected`` and ``got`` texts that may be
    empty, ``remedy`` what to do or the nearest known names; ``line`` and ``column`` (from 1) of malformed JSON.
    """

    path: str
    what: str
    expected: str = ""
    got: str = ""
    remedy: str = ""
    line: int | None = None
    column: int | None = None

    def __str__(self) -> str:
        text = f"{self.path}: {self.what}"
        parts = [f"expected {self.expected}"] if self.expected else []
        parts += [f"got {self.got}"] if self.got else []
        text += ": " + ", ".join(parts) if parts else ""
        return f"{text}. {self.remedy}" if self.remedy else f"{text}."


@dataclass(slots=True)
class Reading:
    """What is gathered while one document is read: its problems, and what its places refer to."""

    problems: list[Problem] = field(default_factory=list[Problem])
    inputs: dict[str, tuple[int, ...]] | None = None
    """Shapes of the network's inputs; None where a layer is looked at by itself."""
    raw_layers: dict[str, tuple[JsonObject, str]] = field(default_factory=dict[str, "tuple[JsonObject, str]"])
    """Layer key -> (what the document says, its path), for ``$ref``."""
    layers: int = 0
    misfit: tuple[tuple[int, ...], tuple[int, ...]] | None = None
    """The last pair of shapes, met and wanted, that differ in their number of elements."""
    told_input: tuple[int, ...] | None = None
    """The shape of a sample that the caller tells, of a document that does not."""
    uses_input: bool = False
    """Whether a network took it."""
    _noted: set[Problem] = field(default_factory=set[Problem])

    def note(self, problem: Problem) -> None:
        """Add a problem, unless it is noted already."""
        if problem not in self._noted:
            self._noted.add(problem)
            self.problems.append(problem)

    def take_back(self, count: int) -> list[Problem]:
        """Forget all problems after the first ``count``, and return them."""
        dropped = self.problems[count:]
        del self.problems[count:]
        self._noted.difference_update(dropped)
        return dropped

    def require_use(self, where: str) -> None:
        """Raise ArgumentError if an input is told that no network took."""
        if self.told_input is not None and not self.uses_input:
            raise ArgumentError(
                f"{where}, input",
                "has no effect: the document tells the size of its input",
                expected="input left out",
                got=self.told_input,
                remedy="Leave it out",
            )

    def check(self, where: str, what: str = "network document") -> None:
        """Raise SpecError with every problem found, in the order they were found; nothing if there is none."""
        if not self.problems:
            return
        if len(self.problems) == 1:
            only = self.problems[0]
            error = SpecError(
                f"{where} {only.path}",
                only.what,
                expected=only.expected or None,
                got=only.got or None,
                remedy=only.remedy,
            )
        else:
            error = SpecError(where, f"{len(self.problems)} problems in the {what}")
        error.problems = tuple(self.problems)
        raise error


@dataclass(frozen=True, slots=True)
class Place:
    """A place in a document, where a problem may be found."""

    reading: Reading
    path: str = "$"

    def at(self, *steps: str | int) -> Place:
        """Return the place below this one, by keys and indexes."""
        return Place(self.reading, path_below(self.path, *steps))

    def fault(self, what: str, *, expected: object = "", got: object = "", remedy: str = "") -> None:
        """Note a problem at this place."""
        self.reading.note(Problem(self.path, what, str(expected), str(got), remedy))

    def note(self, steps: Sequence[str], what: str, expected: object, got: object, remedy: str) -> None:
        """Note a problem below this place: a ``Note`` of tensors."""
        self.at(*steps).fault(what, expected=expected, got=got, remedy=remedy)

    def wrong(self, expected: object, value: JsonValue) -> None:
        """Note that ``value`` is not what is expected here."""
        self.fault("unusable value", expected=expected, got=brief(value))

    def unknown(self, what: str, name: str, known: Iterable[str]) -> None:
        """Note a name that nothing has, with near matches."""
        self.fault(f"unknown {what} {brief(name)}", remedy=near_matches(name[:100], known))

    def count_layer(self) -> bool:
        """Count a layer of the network; False, and noted once, if there are too many."""
        self.reading.layers += 1
        if self.reading.layers == MOST_LAYERS + 1:
            self.fault("the network has too many layers", expected=f"at most {MOST_LAYERS}")
        return self.reading.layers <= MOST_LAYERS

    @property
    def count(self) -> int:
        """How many problems are known by now, to see whether a part added any."""
        return len(self.reading.problems)


def path_below(path: str, *steps: str | int) -> str:
    """Return the path of what is below another, by keys and indexes."""
    for step in steps:
        if isinstance(step, int):
            path += f"[{step}]"
        else:
            path += f".{step}" if _PLAIN.fullmatch(step) else f"[{brief(step)}]"
    return path
