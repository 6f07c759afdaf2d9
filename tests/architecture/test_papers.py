"""The papers say what is there: files, links, headings, sections and modules that are named exist.

Paths stand in `code`, from the root of the repository, from `src/loom`, or from the document; ``<family>`` is any name.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
TOP = ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "changes/README.md")
PAPERS = [*(ROOT / name for name in TOP), *sorted((ROOT / "docs").rglob("*.md"))]
LIVING = [p for p in PAPERS if p.parent.name != "adr" and p.name != "CHANGELOG.md"]
"""Papers that are kept true; a decision and the changelog name things as they were called at the time."""
TOPS = ("src", "tests", "conformance", "bench", "examples", "tools")
SOURCES = sorted(p for top in TOPS for p in (ROOT / top).rglob("*.py"))
NOT_FILES = ("stdlib/", "chrome://", "s/n")
"""Beginnings of what looks like a path and is none: names of kernels in ``loom.flow``."""

_CODE = re.compile(r"`([^`\n]+)`")
_PATH = re.compile(r"(?:[\w.<>*{},-]+/)+(?:[\w<>*{},-]+\.[a-z]{1,5})?|[\w-]+/[\w-]+\.(?:py|md|toml|json|ll|sh)")
_LINK = re.compile(r"\[[^\]]+\]\(([^)\s]+)\)")
_CITED = re.compile(r'(docs/[\w/-]+\.md)(?:,? section (\d+)|, "([^"\n]+)")?')


@cache
def _headings(path: Path) -> tuple[str, ...]:
    lines = re.sub(r"^```.*?^```", "", path.read_text(), flags=re.MULTILINE | re.DOTALL).splitlines()
    return tuple(line.lstrip("#").strip() for line in lines if line.startswith("#"))


def _anchor(heading: str) -> str:
    return re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")


def _without_blocks(path: Path) -> str:
    return re.sub(r"^```.*?^```", "", path.read_text(), flags=re.MULTILINE | re.DOTALL)


def paths_in(text: str) -> Iterator[str]:
    """Yield what is written as a path, in `code`."""
    for span in _CODE.findall(text):
        for word in span.split():
            if _PATH.fullmatch(word) and not word.startswith(NOT_FILES):
                yield word


def _exists(path: str, document: Path) -> bool:
    choices = re.search(r"\{([^}]*)\}", path)
    if choices:
        return all(_exists(path.replace(choices[0], each), document) for each in choices[1].split(","))
    pattern = re.sub(r"<[^>]*>", "*", path).rstrip("/")
    return any(any(base.glob(pattern)) for base in (ROOT, ROOT / "src/loom", document.parent))


def _name(document: Path) -> str:
    return str(document.relative_to(ROOT))


def test_paths_exist() -> None:
    missing = [(_name(d), p) for d in LIVING for p in paths_in(_without_blocks(d)) if not _exists(p, d)]
    assert not missing, "documents name files that are not there"


def _leads_somewhere(link: str, document: Path) -> bool:
    """Tell whether a link of a document is one to elsewhere, or to a file, and a heading of it, that exist."""
    if link.startswith(("http:", "https:")):
        return True
    path, _, anchor = link.partition("#")
    target = (document.parent / path).resolve() if path else document
    return target.exists() and (not anchor or anchor in {_anchor(h) for h in _headings(target)})


def test_links_lead_somewhere() -> None:
    links = [(document, link) for document in PAPERS for link in _LINK.findall(document.read_text())]
    assert links
    missing = [(_name(document), link) for document, link in links if not _leads_somewhere(link, document)]
    assert not missing, "documents link to files or headings that are not there"


def cited_wrongly(text: str) -> list[str]:
    """Return the citations of documents, sections and headings that do not exist."""
    wrong = []
    for match in _CITED.finditer(text):
        path, section, heading = ROOT / match[1], match[2], match[3]
        there = path.exists() and (
            not (section or heading)
            or any(h.startswith(f"{section}. ") if section else h == heading for h in _headings(path))
        )
        if not there:
            wrong.append(match[0])
    return wrong


def test_what_code_cites_exists() -> None:
    wrong = {str(p): found for p in SOURCES if p != Path(__file__) and (found := cited_wrongly(p.read_text()))}
    assert not wrong


def test_citations_carry_their_folder() -> None:
    """``numerics.md`` alone is found by nobody: a citation is a path from the root."""
    alone = re.compile(r"(?<![\w/])(numerics|architecture|kernels|flow|support|training)\.md")
    assert not [str(p) for p in SOURCES if p != Path(__file__) and alone.search(p.read_text())]


@cache
def _modules() -> dict[str, Path]:
    """Return the files of ``loom`` by dotted name without ``loom.``."""
    base = ROOT / "src/loom"
    named = {".".join(p.relative_to(base).with_suffix("").parts): p for p in base.rglob("*.py")}
    return {name.removesuffix("__init__").rstrip("."): path for name, path in named.items()}


def _is_there(dotted: str) -> bool:
    """Tell whether ``a.b.c`` is a module, or a name that the text of the module before it has."""
    parts = dotted.split(".")
    end = next((k for k in range(len(parts), 0, -1) if ".".join(parts[:k]) in _modules()), 0)
    text = _modules()[".".join(parts[:end])].read_text()
    return end == len(parts) or re.search(rf"\b{parts[end]}\b", text) is not None


NOT_NAMES = {"drivers", "targets", "training"}
"""Groups of entry points, and a key of documents."""


def names_in(text: str) -> set[str]:
    """Return what is written in code as a name below ``loom``, or below one of its layers; ``loom.`` left out."""
    tops = {name.split(".")[0] for name in _modules()} - {""}
    inside = {f for f in re.findall(r"``([a-z]\w*(?:\.\w+)+)``", text) if f.split(".")[0] in tops}
    named = {f for f in re.findall(r"`loom\.(\w+(?:\.\w+)*)", text) if not f.endswith((".py", ".json"))}
    return inside | named - NOT_NAMES


def test_names_of_papers_exist() -> None:
    missing = [(_name(d), name) for d in LIVING for name in names_in(_without_blocks(d)) if not _is_there(name)]
    assert not missing, "documents name what Loom does not have"


def test_names_in_sources_exist() -> None:
    wrong = {
        str(p.relative_to(ROOT)): m for p in SOURCES if (m := [n for n in names_in(p.read_text()) if not _is_there(n)])
    }
    assert not wrong


DECISIONS = sorted((ROOT / "docs/adr").glob("0*.md"))


def test_decisions_have_one_form() -> None:
    """A number that is the file's, a sentence, then context, decision, and what there is of the rest, in this order."""
    for number, path in enumerate(DECISIONS, 1):
        assert int(path.name[:4]) == number, "numbers are never left out"
        title, _, text = path.read_text().partition("\n")
        assert re.fullmatch(rf"# {number}\. .+", title), path.name
        parts = re.findall(r"^\**(Context|Decision|Consequences|Rejected)\.\**", text, re.MULTILINE)
        order = ["Context", "Decision", "Consequences", "Rejected"]
        assert parts == [each for each in order if each in parts], path.name
        assert parts[:2] == order[:2], path.name
        bold = re.findall(r"^\*\*(\w+)\.\*\* ", text, re.MULTILINE)
        assert bold == parts, f"{path.name}: write **Context.** and so on"


def test_what_is_not_there_is_found(tmp_path: Path) -> None:
    text = "see `src/loom/nowhere.py` and `src/loom/ir/ops.py`, `kernels/<family>/` and `fast/slow`"
    assert [p for p in paths_in(text) if not _exists(p, tmp_path / "x.md")] == ["src/loom/nowhere.py"]
    here = tmp_path / "x.md"
    here.write_text("# One heading\n")
    links = ("https://a.b/c#d", "x.md", "#one-heading", "x.md#one-heading", "y.md", "#other", "x.md#other")
    assert [link for link in links if not _leads_somewhere(link, here)] == ["y.md", "#other", "x.md#other"]
    assert cited_wrongly("docs/numerics.md, section 99; docs/numerics.md, section 2; docs/none.md") == [
        "docs/numerics.md, section 99", "docs/none.md",
    ]  # fmt: skip
    names = names_in(
        "``" + "kernels.nowhere`` and ``kernels.fold.tiles.sum_tiles``, `" + "loom.gpu_smu`, `loom.stats.mean(x)`"
    )
    assert sorted(n for n in names if not _is_there(n)) == ["gpu_smu", "kernels.nowhere"]
    assert cited_wrongly('docs/guide/flow.md, "Numbers"; docs/guide/flow.md, "Nothing"') == [
        'docs/guide/flow.md, "Nothing"'
    ]
