"""No call with wrong arguments ends in anything but an answer or an error of the house.

Each call is drawn from a seed: a public function, constructor, method or operator, usable arguments where somebody
has said some, and one or more of them replaced by what nobody should pass. They are made in a process of their own,
whose memory is limited, so that a crash, a hang and an absurd allocation are seen.
"""

from __future__ import annotations

import json
import random
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import loom
from hostile.documents import DOCUMENTS, broken
from hostile.driver import found
from hostile.sites import LEFT_OUT, sites
from loom import LoomError
from loom.cli.main import app

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="memory is limited as Linux does")


def _told(wrong: list[dict[str, object]]) -> str:
    return "\n".join(f"{w['call']}\n    {w['kind']}: {w['text']} {w['spots']}" for w in wrong)


def test_wrong_arguments_are_answered_or_refused() -> None:
    wrong = found(seed=12, first=0, count=300)
    assert not wrong, _told(wrong)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("seed", range(101, 105))
def test_ten_thousand_wrong_calls(seed: int) -> None:
    wrong = found(seed, first=0, count=2500)
    assert not wrong, _told(wrong)


def _raw(documents: Iterable[tuple[int, Any]]) -> list[str]:
    """Return what loading documents ends in other than a network or an error of the house."""
    wrong = []
    for number, document in documents:
        try:
            loom.Network.from_json(document)
        except LoomError:
            continue
        except Exception as error:
            wrong.append(f"{number}: {type(error).__name__}: {error}")
    return wrong


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_broken_documents_are_told_what_is_wrong() -> None:
    assert not _raw((n, broken(random.Random(n))) for n in range(300))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_many_broken_documents() -> None:
    assert not _raw((n, broken(random.Random(n))) for n in range(1000, 6000))


def test_the_documents_are_usable_before_they_are_broken() -> None:
    assert sum(isinstance(loom.Network.from_json(each), loom.Network) for each in DOCUMENTS[:7]) == 7


_WORDS = (
    "",
    "0",
    "-1",
    "nan",
    "1e400",
    "2**64",
    "a,b",
    "nowhere",
    "x" * 3000,
    "/",
    ".",
    "/dev/null",
    "/none/x",
    "bad.csv",
    "empty.csv",
    "bytes.csv",
    "bad.npz",
    "net.json",
    "half.json",
    "b.safetensors",
    "99999999999999999999",
    "3.5",
)
_COMMANDS: dict[str, tuple[int, tuple[str, ...]]] = {
    "primes": (1, ("--device",)),
    "inspect": (1, ()),
    "init": (1, ("--out", "--hidden", "--seed")),
    "eval": (1, ("--data", "--loss", "--names", "--device")),
    "infer": (1, ("--data", "--input", "--id")),
    "train": (1, ("--data", "--batch-size", "--rate", "--optimizer", "--schedule", "--hold-out", "--clip-norm")),
    "ir": (1, ("-o",)),
}


def test_commands_with_wrong_words_end_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name, content in {
        "bad.csv": b"a,b\n1,x\n",
        "empty.csv": b"",
        "bytes.csv": bytes(range(256)),
        "half.json": b"{",
        "bad.npz": b"PK\3\4",
        "b.safetensors": b"\xff" * 20,
    }.items():
        Path(name).write_bytes(content)
    Path("net.json").write_text(json.dumps(DOCUMENTS[0]))
    rng, runner, wrong = random.Random(5), CliRunner(), []
    for _ in range(200):
        command = rng.choice(sorted(_COMMANDS))
        count, options = _COMMANDS[command]
        words = [command, *(rng.choice(_WORDS) for _ in range(count))]
        for option in rng.sample(options, rng.randint(0, len(options))):
            words += [option, rng.choice(_WORDS)]
        done = runner.invoke(app, words)
        if done.exit_code not in (0, 2) or "Traceback" in done.output:
            wrong.append((words, done.exit_code, repr(done.exception)))
    assert not wrong


def test_everything_public_is_called() -> None:
    """A new public function is fuzzed by itself; what is left out says why."""
    names = {site.name for site in sites()}
    assert len(names) > 550
    assert not names & set(LEFT_OUT)
    assert {"loom.gpu_sort", "loom.tensor.einsum", "loom.flow.vm_write", "Unit.read", "Network.train"} <= names
