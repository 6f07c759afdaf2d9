"""Gates are worth something: a small checkout with one fault of each kind is stopped at each of them, and told how.

Every gate of ``tools/house/figures.py`` has a fault here, and each is counted by its own gate alone.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tools.house import ceilings
from tools.house.ceilings import Ceiling, Record, faults_of_figure, faults_of_sizes, parse, raises_without_reason
from tools.house.figures import GATES, Size, package_sizes
from tools.house.history import NoHistoryError, describe_news, new_members, text_at_main, text_before
from tools.house.sources import ROOT

SOUND = {
    "src/loom/__init__.py": "def gpu_sum(x):\n    return sum(x)\nclass Network:\n    from_json = dict\n",
    "src/loom/__init__.pyi": "from loom.a.low import Low as Low\ndef gpu_sum(x): ...\n",
    "src/loom/late.py": "",
    "src/loom/a/__init__.py": "from loom.a.b import high\n",
    "src/loom/a/low.py": '"""Low."""\nfrom typing import Any\nclass Low: ...\n',
    "src/loom/a/b/high.py": "from loom.a import low\n\n# why\nLOW = low.Low\n_OWN = 'Any # fmt: skip'\n",
}
"""A checkout without a fault: a root below its room, a door that gathers from it, words of tools in strings."""
FAULTS = {
    "folder_pairs": ("src/loom/a/low.py", "def f():\n    from loom.a.b import high\n", "loom.a <-> loom.a.b"),
    "participles": ("src/loom/a/low.py", "async def _made_of(x): ...\n", "src/loom/a/low.py:4 _made_of"),
    "fmt_skips": ("src/loom/a/low.py", "X = [1,\n 2]  # fmt: skip\n", "src/loom/a/low.py:5 fmt: skip"),
    "anys": ("src/loom/a/low.py", "def f(x: dict[str, Any]): ...\n", "src/loom/a/low.py:4 Any"),
    "type_ignores": ("src/loom/a/low.py", "X = 1  # type: ignore[x]\n", "src/loom/a/low.py:4 type: ignore"),
    "same_names": ("src/loom/a/b/low.py", "X = 1\n", "src/loom/a/low.py"),
    "modules_of_a_sum": ("src/loom/__init__.py", "import loom.late\n", "loom.late"),
    "modules_of_a_network": ("src/loom/__init__.py", "import loom.late\n", "loom.late"),
    "idle_parameters": ("src/loom/a/low.py", "def f(x, y=1): ...\n", "src/loom/a/low.py:4 f(y=)"),
}
"""For each gate what is added to which file, and how the fault is shown."""
LOADED = {"modules_of_a_sum": 1, "modules_of_a_network": 1}
"""The door is loaded by all."""


def checkout(folder: Path, *changes: tuple[str, str]) -> Path:
    """Write a sound checkout with what is added to it."""
    for name, text in SOUND.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    for name, text in changes:
        with (folder / name).open("a") as file:
            file.write(text)
    return folder


def count(root: Path) -> dict[str, int]:
    return {name: len(gate.members(root)) for name, gate in GATES.items()}


def git(root: Path, *arguments: str) -> None:
    names = ("-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false")
    subprocess.run(["git", *names, *arguments], cwd=root, capture_output=True, check=True)


@pytest.mark.parametrize("name", GATES)
def test_a_fault_is_stopped_at_its_gate(name: str, tmp_path: Path) -> None:
    path, text, shown = FAULTS[name]
    before, after = checkout(tmp_path / "before"), checkout(tmp_path / "after", (path, text))
    old, new = GATES[name].members(before), GATES[name].members(after)
    assert new_members(old, new) == [shown]
    ceiling = Ceiling(len(old))
    assert not faults_of_figure(name, ceiling, len(old))
    (above,) = faults_of_figure(name, ceiling, len(new))
    assert f"[{name}] more" in above
    assert f"expected {len(old)} at most, got {len(new)}" in above
    assert GATES[name].remedy in above
    (below,) = faults_of_figure(name, Ceiling(len(new)), len(old))
    assert f"Lower the ceiling to {len(old)}, so that it stays: python tools/graph.py --lower" in below


def test_a_sound_checkout_has_no_fault(tmp_path: Path) -> None:
    assert count(checkout(tmp_path)) == {**dict.fromkeys(GATES, 0), **LOADED}


def test_what_is_no_fault_is_not_counted(tmp_path: Path) -> None:
    text = """
class C:
    @property
    def made(self) -> int: return 1
    def __init__(self, a=1, *, b=2): ...
class D(C): ...
D(1, b=2)
def feed(x, y=1, *, z=2, w=3): return lambda q=1: q
table = [feed]
call(table, z=1, **{"w": 3})
def g(p=1): ...
"""
    root = checkout(tmp_path, ("src/loom/a/low.py", text), ("README.md", "```python\ng(2)\n```\n"))
    assert count(root) == {**dict.fromkeys(GATES, 0), **LOADED}


def test_an_option_is_used_by_its_flag(tmp_path: Path) -> None:
    text = """
Where = Annotated[str, Option("--on", "--device")]
def run(where: Where = "cpu", most: Annotated[int, Option("--most")] = 1, least: Annotated[int, Option("--least")] = 1):
    return run
"""
    root = checkout(
        tmp_path, ("src/loom/a/low.py", text), ("README.md", "`loom run --device cpu --most 3 --leastwise`\n")
    )
    assert [str(m) for m in GATES["idle_parameters"].members(root)] == ["src/loom/a/low.py:6 run(least=)"]


def test_a_variable_of_its_name_is_no_use_of_a_function(tmp_path: Path) -> None:
    idle, low = GATES["idle_parameters"].members, ("src/loom/a/low.py", FAULTS["idle_parameters"][1])
    other = "src/loom/a/b/high.py"
    variable = checkout(tmp_path / "variable", low, (other, "def k(f):\n    return [f]\n"))
    value = checkout(tmp_path / "value", low, (other, "from loom.a.low import f\nTABLE = [f]\n"))
    assert [str(m) for m in idle(variable)] == [FAULTS["idle_parameters"][2]]
    assert idle(value) == []


def test_packages_are_measured(tmp_path: Path) -> None:
    assert package_sizes(checkout(tmp_path)) == {"a": Size(6, 2), "loom": Size(4, 2)}


def test_a_package_that_grows_says_why() -> None:
    rows = {"a": Record(Size(100, 50)), "b": Record(Size(20_000, 1_000)), "gone": Record(Size(1, 1))}
    sizes = {"a": Size(150, 55), "b": Size(20_200, 1_010)}
    (gone,) = faults_of_sizes(rows, sizes)
    assert gone.startswith("[packages] a row of no package: expected one of a, b, got gone.")
    del rows["gone"]
    assert not faults_of_sizes(rows, {**sizes, "a": Size(1, 1)})
    faults = faults_of_sizes(rows, {"a": Size(151, 56), "b": Size(20_201, 1_000), "new": Size(1, 1)})
    assert [fault.partition(". ")[0] for fault in faults] == [
        "[packages] a has grown: expected 150 lines of code at most, got 151",
        "[packages] a has grown: expected 55 public names at most, got 56",
        "[packages] b has grown: expected 20200 lines of code at most, got 20201",
        "[packages] no row for new: expected one, got 1 lines of code",
    ]
    assert all("python tools/graph.py --record" in fault for fault in faults)


TEXT = """[ceilings]
# a comment
anys = { most = 7 }
fmt_skips = { most = 5, raised = "0002" }
[packages]
a = { code = 100, names = 10 }
b = { code = 100, names = 10, why = "an old reason" }
"""


def test_what_was_raised_without_a_reason_is_named(tmp_path: Path) -> None:
    (tmp_path / "0002-older.md").write_text("`fmt_skips` rise")
    (tmp_path / "0003-newer.md").write_text("`fmt_skips` rise again")

    def faults(*changes: tuple[str, str]) -> list[str]:
        text = TEXT
        for old, new in changes:
            assert old in text
            text = text.replace(old, new)
        found = raises_without_reason(parse(TEXT), parse(text), tmp_path)
        return [fault.partition(" ")[0] + fault.partition(", got ")[2].partition(".")[0] for fault in found]

    assert faults() == faults(("most = 7", "most = 6"), ("100, names = 10 }", "99, names = 9 }")) == []
    assert faults(("most = 5", "most = 6")) == ["[fmt_skips]'0002'"], "the decision of the raise before"
    assert faults(("most = 5", "most = 6"), ("0002", "0003")) == []
    assert faults(("most = 5", "most = 6"), ("0002", "0004")) == ["[fmt_skips]'0004'"], "there is none of that number"
    assert faults(("most = 7 }", 'most = 8, raised = "0003" }')) == ["[anys]'0003'"], "it is about another figure"
    assert faults(("100, names = 10 }", "101, names = 10 }")) == ["[packages]''"]
    assert faults(("100, names = 10, why", "100, names = 11, why")) == ["[packages]'an old reason'"]
    assert faults(("100, names = 10 }", '101, names = 10, why = "because" }')) == []


def test_the_decision_that_there_are_ceilings_raises_none(tmp_path: Path) -> None:
    """It names every figure; nor does one that is older than the last raise."""
    (tmp_path / "0001-oldest.md").write_text("`fmt_skips` rise")
    (tmp_path / "0028-ceilings.md").write_text(" ".join(f"`{name}`" for name in GATES))
    for raised in ("0001", "0028"):
        now = parse(TEXT.replace("most = 5", "most = 6").replace("0002", raised))
        assert "raised from 5 to 6 without a decision" in raises_without_reason(parse(TEXT), now, tmp_path)[0], raised


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("most = 7", "least = 7"), ("most = 7", 'most = "7"'), ("most = 7", "most = 7.5"), ("most = 7", "most = true"),
        ("anys", "anies"), ("[packages]", "[package]"), ("code = 100, ", ""), ("[ceilings]", "<<<<<<< HEAD"),
        ("{ most = 7 }", "7"),
    ],
)  # fmt: skip
def test_a_damaged_file_is_an_error(old: str, new: str) -> None:
    assert old in TEXT
    with pytest.raises(ValueError, match=r"ceilings\.toml is damaged: expected rows .* Mend it, or run git checkout"):
        parse(TEXT.replace(old, new, 1))


def test_a_reason_is_one_line() -> None:
    text = ceilings.record(TEXT, "a", Size(1, 2), "one\r\ntwo\x00\tthree\x7f")
    assert parse(text).packages["a"].why.split() == ["one", "two", "three"]


def test_ceilings_are_lowered_and_rows_recorded_where_they_stand() -> None:
    low = ceilings.lower(TEXT, {"anys": 3, "fmt_skips": 9}, {"a": Size(90, 30), "b": Size(100, 10)})
    assert low == TEXT.replace("most = 7", "most = 3").replace("a = { code = 100", "a = { code = 90")
    why = 'it says "entmax"'
    text = ceilings.record(ceilings.record(TEXT, "b", Size(200, 11), why), "c", Size(1, 2), "new")
    assert parse(text).packages == {
        "a": Record(Size(100, 10)), "b": Record(Size(200, 11), why), "c": Record(Size(1, 2), "new"),
    }  # fmt: skip
    assert text.startswith(TEXT.partition("b =")[0])


def test_what_is_new_is_told_by_git(tmp_path: Path) -> None:
    root, file = checkout(tmp_path, ("src/loom/a/low.py", "def f(a: Any): ...\n"), ("c.toml", "a = 2\n")), "c.toml"
    gate = GATES["anys"]
    assert "What is new cannot be told (" in describe_news(root, gate, file)
    with pytest.raises(NoHistoryError):
        text_before(root, file)
    git(root, "init", "-q")
    git(root, "add", "-A")
    git(root, "commit", "-qm", "one")
    with pytest.raises(NoHistoryError, match="no earlier version"):
        text_before(root, file)
    (root / file).write_text("a = 1\n")
    assert text_before(root, file) == "a = 2\n"
    git(root, "commit", "-qam", "two")
    assert text_before(root, file) == "a = 2\n"
    (root / "src/loom/a/b/high.py").write_text("from typing import Any\nX: Any = 1\nY: Any = 2\n")
    low = root / "src/loom/a/low.py"
    low.write_text(low.read_text() + "\ndef g(a: Any): ...\n")
    GATES["anys"].members.__globals__["read_sources"].cache_clear()
    rows = describe_news(root, gate, file).splitlines()
    assert rows[1].startswith("  New since ")
    assert rows[2:] == [
        "  src/loom/a/b/high.py:2 Any", "  src/loom/a/b/high.py:3 Any",
        "  src/loom/a/low.py Any: 1 more, of those in lines 4, 6",
    ]  # fmt: skip


def test_a_raise_is_seen_though_the_file_changed_again(tmp_path: Path) -> None:
    file = tmp_path / "c.toml"
    git(tmp_path, "init", "-qb", "main")
    for text in ("most = 1", "most = 9", "most = 9 # again"):
        file.write_text(text)
        git(tmp_path, "add", "-A")
        git(tmp_path, "commit", "-qm", text)
        if text == "most = 1":
            git(tmp_path, "checkout", "-qb", "work")
    assert text_before(tmp_path, "c.toml") == "most = 9"
    assert text_at_main(tmp_path, "c.toml") == "most = 1"
    git(tmp_path, "branch", "-qD", "main")
    with pytest.raises(NoHistoryError, match="no branch main or origin/main"):
        text_at_main(tmp_path, "c.toml")


def test_the_command_lowers_and_records(tmp_path: Path) -> None:
    root = checkout(tmp_path, ("src/loom/a/low.py", FAULTS["anys"][1]))
    file = root / "tests/architecture/ceilings.toml"
    file.parent.mkdir(parents=True)
    rows = [f"{name} = {{ most = {0 if name == 'anys' else 9} }}" for name in GATES]
    file.write_text("\n".join(["[ceilings]", *rows, "[packages]", ""]))
    command = [sys.executable, str(ROOT / "tools/graph.py"), "--root", str(root)]
    said = subprocess.run([*command, "--lower"], capture_output=True, text=True, check=True).stdout
    assert "modules_of_a_sum  9 -> 1, today 1" in said
    assert "[anys] more names" in said
    assert "expected 0 at most, got 1" in said, "what has risen is not raised"
    assert parse(file.read_text()).ceilings["anys"].most == 0
    subprocess.run([*command, "--record", "a", "it holds more"], capture_output=True, check=True)
    assert parse(file.read_text()).packages == {"a": Record(Size(7, 3), "it holds more")}
    wrong = subprocess.run([*command, "--record", "b", "x"], capture_output=True, text=True, check=False)
    assert wrong.returncode == 1
    assert "expected one of a, loom and a sentence, got 'b'" in wrong.stderr
