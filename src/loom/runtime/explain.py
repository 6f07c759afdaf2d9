"""Says in words what a kernel becomes on the CPU: which lines read neighbours, which gather, where lanes part.

Layer: runtime. Invariant: every remark is a decision the compiler took while it wrote the code, none is found by
looking at the kernel a second time.
"""

from __future__ import annotations

import html
import linecache
from collections.abc import Sequence

from loom.core.errors import ArgumentError
from loom.core.late.dataclass import dataclass
from loom.ir.frontend.decorator import KernelFunction
from loom.ir.verified import VerifiedKernel
from loom.runtime.drivers.loading import bounds_of
from loom.targets.base import Decision
from loom.targets.llvm.target import LlvmTarget

__all__ = ["ExplainedLine", "Explanation", "Remark", "explain"]

_WORDS: dict[str, tuple[bool, str, str]] = {
    "uniform": (False, "{about}: one element for all lanes, read once", ""),
    "row": (False, "{about}: lanes side by side, one access", ""),
    "mostly row": (False, "{about}: lanes side by side but at edges; looked at once a vector", ""),
    "record": (False, "{about}: whole records of {number}, moved as they lie and taken apart in registers", ""),
    "steps": (
        True,
        "{about}: every {number}th element, one access a lane",
        "Lay the data out so that neighbours in lanes are neighbours in memory: one array a field, words of all items "
        "side by side.",
    ),
    "gather": (
        True,
        "{about}: elements here and there (gather)",
        "Let the index count up with global_id() where the data allows it, or sort the work by this index.",
    ),
    "scatter": (True, "{about}: elements written here and there (scatter)", "Write to global_id() and read from afar."),
    "private register": (False, "{about}: private, index known: in registers", ""),
    "private row": (False, "{about}: private, one index for all lanes: on the stack, side by side", ""),
    "private gather": (
        True,
        "{about}: private, each lane an index of its own: on the stack, gathered",
        "Indexes known when the kernel is compiled (static_range) keep the array in registers.",
    ),
    "atomic once": (False, "{about}: lanes combined in a register, one atomic a vector", ""),
    "atomic own": (False, "{about}: no lock, the memory is the group's own; lanes one after the other", ""),
    "atomic table": (
        False, "{about}: a table of the thread's own if the buffer is small beside the work, else a lock a lane", "",
    ),
    "atomic locked": (
        True,
        "{about}: a locked operation a lane, one after the other",
        "Count in loom.shared() first and add each group's counts once; do not keep the old value.",
    ),
    "branch together": (False, "branch: all lanes go one way", ""),
    "choice": (False, "branch: both sides computed, lanes choose; no jump", ""),
    "branch apart": (False, "branch: lanes may part; both sides run under masks unless all lanes agree", ""),
    "loop together": (False, "loop: all lanes turn together", ""),
    "loop lane by lane": (
        False, "loop: of little but gathers, lanes leave it one by one; run for one lane after the other", "",
    ),
    "one by one": (False, "{about}: read by one lane after the other", ""),
    "loop apart": (
        True, "loop: lanes leave it one by one and wait for the last",
        "Give neighbouring lanes work of about the same length.",
    ),
    "division": (True, "64-bit division, lane by lane", "Divide 32-bit integers, which goes as vectors."),
}  # fmt: skip
"""What a decision is called: whether it costs, the words, the advice."""


@dataclass(frozen=True, slots=True)
class Remark:
    """One decision: ``kind`` for tools, ``text`` in words, ``advice`` where a tuned form would do otherwise."""

    kind: str
    about: str
    text: str
    costs: bool
    advice: str


@dataclass(frozen=True, slots=True)
class ExplainedLine:
    """A line of source and what was decided there."""

    file: str
    line: int
    source: str
    remarks: tuple[Remark, ...]


@dataclass(frozen=True, slots=True)
class Explanation:
    """What ``explain`` gives: the kernel's name, how many lanes run as one vector, its lines in order."""

    kernel: str
    width: int
    lines: tuple[ExplainedLine, ...]

    @property
    def remarks(self) -> tuple[Remark, ...]:
        """All remarks, in the order of the lines."""
        return tuple(r for line in self.lines for r in line.remarks)

    @property
    def costly(self) -> tuple[tuple[int, Remark], ...]:
        """The remarks about what costs, with their lines."""
        return tuple((line.line, r) for line in self.lines for r in line.remarks if r.costs)

    def __str__(self) -> str:
        """Return the text ``loom explain`` prints; ``!`` marks what costs."""
        found = [self.title]
        for line in self.lines:
            found.append(f"{line.line:5}  {line.source}")
            for remark in line.remarks:
                found.append(f"     {'!' if remark.costs else ' '}   {remark.text}")
        return "\n".join([*found, *self.advice])

    @property
    def advice(self) -> tuple[str, ...]:
        """What a tuned form would do otherwise, each with its lines."""
        lines: dict[str, list[int]] = {}
        for number, remark in self.costly:
            at = lines.setdefault(remark.advice, [])
            at += [number] * (number not in at)
        return tuple(f"line {', '.join(map(str, numbers))}: {text}" for text, numbers in lines.items())

    @property
    def title(self) -> str:
        """One line about the whole kernel."""
        how = "lanes run one by one" if self.width == 1 else f"{self.width} lanes run as one vector"
        return f"{self.kernel}: {how} on this CPU"

    def _repr_html_(self) -> str:
        rows: list[str] = []
        for line in self.lines:
            notes = "<br>".join(_html_of(r) for r in line.remarks)
            code = f"<pre style='margin:0;text-align:left'>{html.escape(line.source)}</pre>"
            rows.append(f"<tr><td>{line.line}</td><td>{code}</td><td style='text-align:left'>{notes}</td></tr>")
        return f"<table><caption>{html.escape(self.title)}</caption>{''.join(rows)}</table>"


def _html_of(remark: Remark) -> str:
    text = html.escape(remark.text)
    return f"<b title='{html.escape(remark.advice, quote=True)}'>{text}</b>" if remark.costs else text


def explain(kernel: KernelFunction | VerifiedKernel) -> Explanation:
    """Say line by line what the CPU's compiler makes of a kernel: print it, or read ``lines`` and ``costly``.

    Args:
        kernel: Function with ``@loom.kernel``, or a built kernel.

    Returns:
        Explanation: ``lines`` with their remarks, ``costly`` those that cost time; ``print`` it for a text.

    Raises:
        ArgumentError: Not a kernel.
        KernelError: The kernel cannot be accepted.

    >>> @loom.kernel
    ... def every_other(x: loom.In[loom.f32], y: loom.Out[loom.f32]):
    ...     i = loom.global_id()
    ...     y[i] = x[i * 2]
    >>> [(remark.kind, remark.about) for remark in loom.explain(every_other).remarks]
    [('steps', 'x'), ('row', 'y')]
    """
    verified = kernel.verified if isinstance(kernel, KernelFunction) else kernel
    if not isinstance(verified, VerifiedKernel):  # pyright: ignore[reportUnnecessaryIsInstance] (a caller's mistake)
        raise ArgumentError(
            "loom.explain", "only kernels can be explained", expected="a function with @loom.kernel",
            got=repr(verified)[:80], remedy="Pass the kernel itself, not what it gives",
        )  # fmt: skip
    width, decisions = LlvmTarget().decide(verified, bounds_of(verified))
    return Explanation(verified.name, width, _lines(decisions))


def _lines(decisions: Sequence[Decision]) -> tuple[ExplainedLine, ...]:
    at: dict[tuple[str, int], list[Remark]] = {}
    for decision in decisions:
        if decision.loc is None:
            continue
        remarks = at.setdefault((decision.loc.file, decision.loc.line), [])
        remark = _remark(decision)
        if remark not in remarks:
            remarks.append(remark)
    return tuple(
        ExplainedLine(file, line, linecache.getline(file, line).rstrip(), tuple(remarks))
        for (file, line), remarks in sorted(at.items())
    )


def _remark(decision: Decision) -> Remark:
    costs, words, advice = _WORDS[decision.kind]
    text = words.format(about=decision.about, number=decision.number)
    return Remark(decision.kind, decision.about, text, costs, advice)
