"""The file of ceilings: read, compared with today's figures, lowered, and its packages' rows recorded anew.

``tests/architecture/ceilings.toml`` is text that people comment: numbers are replaced where they stand. Invariant:
nothing here raises a ceiling; that is an edit by hand, and ``raises_without_reason`` asks for its decision.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

try:
    import tomllib
except ImportError:  # Python 3.10
    import tomli as tomllib

from .figures import GATES, Size

FILE = "tests/architecture/ceilings.toml"
TOLERANCE_LINES, TOLERANCE_NAMES, TOLERANCE_SHARE = 50, 5, 0.01
"""What a package may grow by before its row asks for a sentence: so much, or one in a hundred if that is more."""


@dataclass(frozen=True)
class Ceiling:
    """The most that a figure may be; ``raised`` is the number of the decision that last raised it."""

    most: int
    raised: str = ""


@dataclass(frozen=True)
class Record:
    """A package's size when its row was last written, and why it had grown."""

    size: Size
    why: str = ""


@dataclass(frozen=True)
class Ceilings:
    """What the file holds."""

    ceilings: dict[str, Ceiling]
    packages: dict[str, Record]


def parse(text: str) -> Ceilings:
    """Return what the text of the file holds; ValueError if it is not that."""
    try:
        rows = tomllib.loads(text)
        packages = {
            name: Record(Size(row["code"], row["names"]), row.get("why", "")) for name, row in rows["packages"].items()
        }
        held = Ceilings({name: Ceiling(**row) for name, row in rows["ceilings"].items()}, packages)
        figures = [c.most for c in held.ceilings.values()] + [
            n for r in packages.values() for n in vars(r.size).values()
        ]
        if not all(type(figure) is int for figure in figures):
            raise TypeError("a figure that is no whole number")
        if unknown := held.ceilings.keys() - GATES.keys():
            raise KeyError(*sorted(unknown))
    except (AttributeError, KeyError, TypeError, tomllib.TOMLDecodeError) as error:
        raise ValueError(
            f"[ceilings] {FILE} is damaged: expected rows `name = {{ most = 1 }}` of {', '.join(GATES)} and "
            f"`package = {{ code = 1, names = 1 }}`, got {error!r}. Mend it, or run git checkout {FILE}"
        ) from error
    return held


def faults_of_figure(name: str, ceiling: Ceiling, figure: int, news: str = "") -> list[str]:
    """Return what is wrong with a figure: it may neither be above its ceiling nor below; ``news`` is shown if above."""
    gate = GATES[name]
    if figure > ceiling.most:
        return [
            f"[{name}] more {gate.meaning}: expected {ceiling.most} at most, got {figure}. {gate.remedy} "
            f"Else raise it in {FILE} and name the decision that says why (raised = ..).{news}"
        ]
    if figure < ceiling.most:
        return [
            f"[{name}] fewer {gate.meaning}: expected {ceiling.most}, got {figure}. "
            f"Lower the ceiling to {figure}, so that it stays: python tools/graph.py --lower"
        ]
    return []


def faults_of_sizes(packages: Mapping[str, Record], sizes: Mapping[str, Size]) -> list[str]:
    """Return the packages that have grown past their row and its tolerance, or have none, and rows of no package."""
    faults = [
        f"[packages] a row of no package: expected one of {', '.join(sizes)}, got {name}. Take it out of {FILE}"
        for name in packages
        if name not in sizes
    ]
    for name, size in sizes.items():
        record = packages.get(name)
        remedy = f'Say why in a sentence: python tools/graph.py --record {name} "why it grew"'
        if record is None:
            faults.append(f"[packages] no row for {name}: expected one, got {size.code} lines of code. {remedy}")
            continue
        for what, now, before, least in (
            ("lines of code", size.code, record.size.code, TOLERANCE_LINES),
            ("public names", size.names, record.size.names, TOLERANCE_NAMES),
        ):
            most = before + max(least, int(before * TOLERANCE_SHARE))
            if now > most:
                faults.append(f"[packages] {name} has grown: expected {most} {what} at most, got {now}. {remedy}")
    return faults


def raises_without_reason(before: Ceilings, now: Ceilings, decisions: Path) -> list[str]:
    """Return the ceilings that are higher than before without a decision of their own, and rows without a reason."""
    faults: list[str] = []
    for name, ceiling in now.ceilings.items():
        old = before.ceilings.get(name)
        if old is not None and ceiling.most > old.most:
            faults += _faults_of_raise(name, old, ceiling, decisions)
    for name, record in now.packages.items():
        old_record = before.packages.get(name)
        is_higher = old_record is None or _is_larger(record.size, old_record.size)
        if is_higher and (not record.why or (old_record is not None and record.why == old_record.why)):
            faults.append(
                f"[packages] {name} has grown and does not say why: expected a new `why`, got {record.why!r}. "
                f"Write one sentence into its row of {FILE}"
            )
    return faults


def _is_larger(now: Size, before: Size) -> bool:
    return now.code > before.code or now.names > before.names


def _faults_of_raise(name: str, old: Ceiling, now: Ceiling, decisions: Path) -> list[str]:
    files = sorted(decisions.glob(f"{now.raised}-*.md")) if re.fullmatch(r"\d{4}", now.raised) else []
    text = files[0].read_text() if files else ""
    is_about_all = all(f"`{each}`" in text for each in GATES)  # the decision that there are ceilings raises none
    if now.raised > old.raised and f"`{name}`" in text and not is_about_all:
        return []
    return [
        f"[{name}] raised from {old.most} to {now.most} without a decision: expected raised = the number of a new one "
        f"in docs/adr that names `{name}`, got {now.raised!r}. Lower the figure, or write the decision"
    ]


def lower(text: str, figures: Mapping[str, int], sizes: Mapping[str, Size]) -> str:
    """Return the file with all that has fallen brought down to today's figures; what has risen stays."""
    held = parse(text)
    for name, ceiling in held.ceilings.items():
        if figures[name] < ceiling.most:
            text = _replace(text, name, r"(most = )[\d_]+", rf"\g<1>{figures[name]}")
    for name, record in held.packages.items():
        if name in sizes and record.size != sizes[name]:
            code, names = min(record.size.code, sizes[name].code), min(record.size.names, sizes[name].names)
            text = _replace(text, name, r"(code = )\d+(, names = )\d+", rf"\g<1>{code}\g<2>{names}")
    return text


def record(text: str, package: str, size: Size, why: str) -> str:
    """Return the file with a package's row of today, and the sentence that says why it has grown."""
    row = f'{package} = {{ code = {size.code}, names = {size.names}, why = "{_escape(why)}" }}'
    if package in parse(text).packages:
        return re.sub(rf"^{package} = \{{.*$", lambda _: row, text, flags=re.MULTILINE)
    return text.rstrip("\n") + f"\n{row}\n"


def _replace(text: str, name: str, pattern: str, by: str) -> str:
    line = re.search(rf"^{name} = \{{.*$", text, re.MULTILINE)
    if line is None:
        raise ValueError(f"[ceilings] no row of one line: expected `{name} = {{ .. }}`. Write {FILE} in this form")
    return text[: line.start()] + re.sub(pattern, by, line[0]) + text[line.end() :]


def _escape(text: str) -> str:
    words = "".join(letter if letter.isprintable() else " " for letter in text)  # TOML takes no others in a line
    return words.replace("\\", "\\\\").replace('"', '\\"')
