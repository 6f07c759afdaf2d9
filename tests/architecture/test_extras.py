"""What is told to be installed can be: ``pip install`` names this distribution and extras it has, in every document."""

from __future__ import annotations

import re
from itertools import chain
from pathlib import Path

try:
    import tomllib
except ImportError:  # Python 3.10
    import tomli as tomllib

ROOT = Path(__file__).parents[2]
ASKED = re.compile(r"pip install ['\"]?(?P<name>[\w.-]*)\[(?P<extras>[\w, ]+)\]")


def test_extras_that_are_told_exist() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    known = {f"{name}[{extra}]" for name in (project["name"], ".") for extra in project["optional-dependencies"]}
    seen, wrong = 0, []
    for path in chain([ROOT / "README.md"], (ROOT / "docs").rglob("*.md"), (ROOT / "src").rglob("*.py")):
        for found in ASKED.finditer(path.read_text()):
            seen += 1
            for extra in found["extras"].split(","):
                if f"{found['name']}[{extra.strip()}]" not in known:
                    wrong.append(f"{path.relative_to(ROOT)}: {found[0]}")
    assert not wrong
    assert seen > 25
