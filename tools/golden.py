"""Writes ``src/loom/proof/golden.json``, the digests every device is held against, and their root into the guide.

``python tools/golden.py`` computes all, ``--layer 4`` one layer, ``--case "sum f32*"`` (a name or a glob, as often as
wanted) these cases alone, each by the reference interpreter; ``--on cpu`` compares another device with what is there,
and writes nothing. What is not computed is kept. Invariant: a change of any digest is a change of the numeric contract;
keys are sorted, so that the diff of one digest is that digest's line, its layer's and the guide's.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import time
from collections.abc import Collection, Iterable
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, NamedTuple

import loom
from loom.core.errors import ArgumentError, near_matches
from loom.proof.cases import LAYERS, Case, cases_of
from loom.proof.golden import SPEC
from loom.proof.running import digest_of, digest_of_texts
from loom.runtime.port.device import Device

FILE = Path(__file__).parents[1] / "src" / "loom" / "proof" / "golden.json"
GUIDE = Path(__file__).parents[1] / "docs" / "guide" / "verify.md"

Cases = dict[int, list[Case]]
"""All cases by layer, in the order of their definition, which is that of the layers' digests."""


def matching(patterns: Iterable[str], names: Collection[str]) -> set[str]:
    """Return the names that the patterns mean, each a name or a glob; ArgumentError for one that means none."""
    found: set[str] = set()
    for pattern in patterns:
        hits = {pattern} if pattern in names else {name for name in names if fnmatchcase(name, pattern)}
        if not hits:
            remedy = near_matches(pattern, names)
            raise ArgumentError("tools/golden.py, --case", "no such case", got=repr(pattern), remedy=remedy)
        found |= hits
    return found


class Digests(NamedTuple):
    """Digests of a case: of its results, and of its inputs."""

    results: str
    inputs: str


def read() -> dict[str, Any]:
    """Return what the file says; ArgumentError if it is damaged."""
    try:
        kept = json.loads(FILE.read_text())
        if all(isinstance(kept[part], dict) for part in ("cases", "layers", "vectors")):
            return kept
        fault = "other parts"
    except (OSError, ValueError, TypeError, KeyError) as error:
        fault = repr(error)
    raise ArgumentError(
        "tools/golden.py", f"{FILE.name} is damaged", expected="an object with cases, layers and vectors", got=fault,
        remedy=f"Run git checkout {FILE}, or compute everything: python tools/golden.py",
    )  # fmt: skip


def differences(kept: dict[str, Any], computed: dict[str, Digests]) -> list[str]:
    """Return the cases whose digest is another than the one that was kept."""
    return [name for name, each in computed.items() if kept["cases"].get(name) != each.results]


def guide_with(root: str) -> str:
    """Return the guide with that root; ArgumentError if its sentence is not there."""
    text, count = re.subn("(?<=The root of all four is `)[0-9a-f]+", root, GUIDE.read_text())
    if not count:
        raise ArgumentError(
            "tools/golden.py", f"{GUIDE.name} says no root", expected="'The root of all four is `..`'",
            remedy=f"Write that sentence into {GUIDE}",
        )  # fmt: skip
    return text


def compute(cases: Iterable[Case], device: Device, slow: float) -> dict[str, Digests]:
    """Return the digests of the cases by name, telling those that take longer than ``slow`` seconds."""
    computed: dict[str, Digests] = {}
    for case in cases:
        begun = time.perf_counter()
        inputs = case.inputs()
        computed[case.name] = Digests(digest_of(case.compute(device, *inputs)), digest_of(inputs))
        if time.perf_counter() - begun > slow:
            print(f"{time.perf_counter() - begun:6.1f} s  {case.name}", flush=True)
    return computed


def document(kept: dict[str, Any], cases: Cases, computed: dict[str, Digests]) -> dict[str, Any]:
    """Return what the file says: ``kept`` but for what was computed, and for the layers that have any of it.

    ArgumentError where a case of such a layer has neither a digest that was kept nor one that was computed. The file
    keeps no digests of single inputs, so those of the layer's other cases are drawn again, which takes no device.
    """
    digests = {**kept["cases"], **{name: each.results for name, each in computed.items()}}
    layers, vectors = dict(kept["layers"]), dict(kept["vectors"])
    for layer, rows in cases.items():
        if computed.keys().isdisjoint(case.name for case in rows):
            continue
        if missing := [case.name for case in rows if case.name not in digests]:
            raise ArgumentError(
                "tools/golden.py", "cases without a digest", expected=f"one for each of layer {layer}",
                got=missing[:12], remedy=f"Name them by --case too, or pass --layer {layer}",
            )  # fmt: skip
        layers[str(layer)] = digest_of_texts(f"{case.name} {digests[case.name]}" for case in rows)
        vectors[str(layer)] = digest_of_texts(
            computed[case.name].inputs if case.name in computed else digest_of(case.inputs()) for case in rows
        )
    names = {case.name for rows in cases.values() for case in rows}
    return {
        "spec": SPEC,
        "vectors": vectors,
        "cases": {name: digest for name, digest in digests.items() if name in names},
        "layers": layers,
    }


def root_of(layers: dict[str, str]) -> str:
    """Return the digest of the digests of all layers."""
    return digest_of_texts([SPEC, *(f"{layer} {layers[layer]}" for layer in sorted(layers))])


def main() -> None:
    """Compute what the command line asks for and write the file."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument(
        "--on", default="interp", help="the device that computes; of others than interp nothing is written"
    )
    parser.add_argument("--slow", type=float, default=2.0, help="tell cases that take longer than this")
    part = parser.add_mutually_exclusive_group()
    part.add_argument("--layer", type=int, choices=list(LAYERS), help="compute this one alone")
    part.add_argument("--case", action="append", metavar="NAME", help="compute these alone: a name or a glob")
    asked = parser.parse_args()
    cases = {layer: list(cases_of(layer)) for layer in LAYERS}
    rows = [case for layer, group in cases.items() for case in group if asked.layer in (None, layer)]
    if asked.case:
        chosen = matching(asked.case, [case.name for case in rows])
        rows = [case for case in rows if case.name in chosen]
    whole = len(rows) == sum(map(len, cases.values()))
    is_reference = asked.on == "interp"
    kept = {"cases": {}, "layers": {}, "vectors": {}} if whole and is_reference else read()
    computed = compute(rows, loom.device(asked.on), asked.slow)
    if not is_reference:
        others = differences(kept, computed)
        print(f"{len(rows) - len(others)} of {len(rows)} cases as in {FILE.name} on {asked.on}", *others, sep="\n  ")
        sys.exit(1 if others else 0)
    written = document(kept, cases, computed)
    root = root_of(written["layers"])
    guide = guide_with(root)
    FILE.write_text(json.dumps(written, indent=1, sort_keys=True) + "\n")
    GUIDE.write_text(guide)
    print(f"{len(rows)} of {len(written['cases'])} cases computed; root {root}")


if __name__ == "__main__":
    main()
