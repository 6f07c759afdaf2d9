"""The faults that the tests are measured by stay faults of these sources: ``tools/mutants.py`` can put each of them in.

A patch that no longer applies is to be written anew for what stands in its place, not to be dropped.
"""

from __future__ import annotations

import re
import subprocess
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).parents[2]
MUTANTS = ROOT / "tests/mutants"
PATCHES = sorted(MUTANTS.rglob("*.patch"))
LEAST, MOST_A_FOLDER = 60, 20


def test_every_patch_applies() -> None:
    """Several of one file would meet in it if all were applied at once: each is looked at by itself, in one process."""
    script = 'for patch; do git apply --check "$patch" || echo "$patch" >&2; done'
    command = ["sh", "-c", script, "sh", *map(str, PATCHES)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert not done.stderr


def test_each_package_has_a_fault_and_says_what_is_wrong_then() -> None:
    packages = Counter[str]()
    for patch in PATCHES:
        text = patch.read_text()
        head = re.match(r"package: (\w+)\nfault: \S.*\.\n\n--- a/src/loom/(\w+)/\S+\n", text)
        assert head is not None, f"{patch.name} does not begin with its package and its fault"
        assert head[1] == head[2] == patch.name.split("-")[0], patch.name
        packages[head[1]] += 1
    there = {p.name for p in (ROOT / "src/loom").iterdir() if (p / "__init__.py").exists()}
    assert not there - packages.keys(), "packages without a fault"
    assert packages.total() >= LEAST


def test_a_folder_of_patches_can_be_read_at_a_glance() -> None:
    assert max(Counter(p.parent for p in PATCHES).values()) <= MOST_A_FOLDER
