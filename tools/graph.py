"""Print the shape of ``src/loom``: files, lines, layers, circles, folders, and the figures that have a ceiling.

``python tools/graph.py [--root DIR] [--flag threads] [--short]`` prints; ``--lower`` brings the ceilings of
``tests/architecture/ceilings.toml`` down to today's figures, and ``--record PACKAGE WHY`` writes a package's row there.
The sources are read, never imported (but for the one figure that counts imports), so that ``--root`` may be any
checkout; its layers come from its own ``pyproject.toml``. Invariant: every figure comes from ``tools/house``, where the
tests of ``tests/architecture`` take it from as well.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

from house import ceilings, circles, names
from house.facts import CALLING, LOADING, TYPING
from house.figures import GATES, Member, package_sizes
from house.parameters import count_defaults
from house.sources import ROOT, Source, read_sources


def _print_sizes(root: Path, sources: dict[str, Source]) -> None:
    print(f"files  {len(sources)} python, {sum(s.facts.lines for s in sources.values()):,} lines")
    walkers = [len(p.read_text().splitlines()) for p in (root / "src/loom").rglob("*.ll")]
    print(f"files  {len(walkers)} ll, {sum(walkers):,} lines")
    for count, folder in names.count_folders(root)[:5]:
        print(f"folder {count:3} files  {folder}")


def _print_packages(root: Path) -> None:
    sizes = package_sizes(root)
    print(f"lines of code  {sum(size.code for size in sizes.values()):,}")
    for name, size in sizes.items():
        print(f"  {name:10} {size.code:7,} lines {size.names:5,} public names")


def _print_layers(root: Path, sources: dict[str, Source]) -> None:
    layers = circles.read_layers(root)
    rows: dict[int, list[str]] = defaultdict(list)
    present = {name.split(".")[1] for name in sources}
    for name, at in layers.items():
        rows[at] += [name] * (name in present)
    for at in sorted(rows, reverse=True):
        print(f"layer  {at}  {' | '.join(rows[at])}")
    _print_list("arrows up", (f"{a} -> {b}" for a, b in circles.arrows_up(sources, layers)))


def _print_circles(sources: dict[str, Source], show: bool) -> None:
    kinds = {LOADING: "at top level", CALLING: "and in functions", TYPING: "of any kind"}
    rows = [(f"of files {text}", circles.file_circles(sources, when)) for when, text in kinds.items()]
    for text, found in [*rows, ("of folders", circles.folder_circles(sources))]:
        print(f"circles {text}: {len(found)}, of {' '.join(str(len(c)) for c in found) or 'no'}")
        for circle in found if show and "top" not in text and "functions" not in text else ():
            print("  " + " ".join(name.removeprefix("loom.") for name in circle))


def _print_list(title: str, rows: Iterable[object], show: bool = True) -> None:
    rows = list(rows)
    print(f"{title}  {len(rows)}")
    for row in rows if show else ():
        print(f"  {row}")


def _print_gate(name: str, members: list[Member], show: bool) -> None:
    """Print a figure, and its members by folder where they have places."""
    print(f"{name}  {len(members)} {GATES[name].meaning}")
    folders: dict[str, list[Member]] = defaultdict(list)
    for member in members:
        folders[str(Path(member.path).parent) if member.path else ""].append(member)
    for folder, inside in sorted(folders.items(), key=lambda item: -len(item[1])) if show else ():
        print(f"  {len(inside):4}  {folder}" + "".join(f"\n        {m}" for m in inside))


def _print_report(root: Path, flag: str, show: bool) -> None:
    sources = read_sources(root)
    _print_sizes(root, sources)
    _print_packages(root)
    _print_layers(root, sources)
    _print_circles(sources, show)
    reads = names.reads_of(sources, flag)
    _print_list(f"reads of caps.{flag} in {len({r.split(':')[0] for r in reads})} files", reads, show)
    _print_list("classes of one name", (f"{n}: {' '.join(p)}" for n, p in names.shared_classes(sources).items()), show)
    print(f"file names that stand more than once  {len(names.shared_files(sources))}")
    print(f"parameters with a default  {count_defaults(sources)}")
    for name, gate in GATES.items():
        _print_gate(name, gate.members(root), show)


def _lower(root: Path) -> None:
    """Bring the file down to today's figures, and say what stands above it."""
    path = root / ceilings.FILE
    text, figures = path.read_text(), {name: len(gate.members(root)) for name, gate in GATES.items()}
    path.write_text(ceilings.lower(text, figures, package_sizes(root)))
    held = ceilings.parse(path.read_text())
    for name, ceiling in ceilings.parse(text).ceilings.items():
        print(f"{name}  {ceiling.most} -> {held.ceilings[name].most}, today {figures[name]}")
        for fault in ceilings.faults_of_figure(name, held.ceilings[name], figures[name]):
            print(f"  {fault}")


def _record(root: Path, package: str, why: str) -> None:
    path, sizes = root / ceilings.FILE, package_sizes(root)
    if package not in sizes or not why.strip():
        raise SystemExit(
            f"[--record] not a package and a reason: expected one of {', '.join(sizes)} and a sentence, got "
            f"{package!r} and {why!r}. Write python tools/graph.py --record nn 'entmax and its gradient'"
        )
    path.write_text(ceilings.record(path.read_text(), package, sizes[package], why))


def main() -> None:
    """Print the report of one checkout, or write its ceilings."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, default=ROOT, help="the checkout to look at")
    parser.add_argument("--flag", default="threads", help="the field of Caps that tells vectors from threads")
    parser.add_argument("--short", action="store_true", help="counts only")
    parser.add_argument("--lower", action="store_true", help="bring ceilings down to today's figures")
    parser.add_argument("--record", nargs=2, metavar=("PACKAGE", "WHY"), help="write a package's figures and a reason")
    options = parser.parse_args()
    root = options.root.resolve()
    if options.record:
        _record(root, *options.record)
    if options.lower:
        _lower(root)
    if not (options.record or options.lower):
        _print_report(root, options.flag, not options.short)


if __name__ == "__main__":
    main()
