"""The main job: its digests are the committed ones whatever runs it, and mean what they should."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

import loom
from loom.cli.demos import demo as job
from loom.cli.demos import demo_digits as digits
from loom.cli.main import app
from loom.nn.train.datasets import divide, read_samples

PRIMES_BELOW = {10**7: 664_579, 10**9: 50_847_534}  # OEIS A006880
SETTINGS = [{"LOOM_THREADS": "1"}, {"LOOM_THREADS": "2"}, {"LOOM_THREADS": "2", "LOOM_SIMD": "4"}]


@pytest.fixture(params=SETTINGS, ids=lambda s: ",".join(f"{k}={v}" for k, v in s.items()))
def setting(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in request.param.items():
        monkeypatch.setenv(name, value)


@pytest.mark.usefixtures("setting")
def test_quick_digests_are_the_committed_ones() -> None:
    lines = list(job.run_demo(job.QUICK, loom.device("cpu")))
    assert job.differences(job.QUICK, lines) == []
    assert lines[0].answer == PRIMES_BELOW[job.QUICK.below]


def test_quick_digests_come_from_numpy_too() -> None:
    check_committed_with_numpy(job.QUICK)


@pytest.mark.slow
@pytest.mark.usefixtures("setting")
def test_full_digests_are_the_committed_ones() -> None:
    lines = list(job.run_demo(job.FULL, loom.device("cpu")))
    assert job.differences(job.FULL, lines) == []


@pytest.mark.slow
def test_full_digests_come_from_numpy_too() -> None:
    check_committed_with_numpy(job.FULL)


# digits


@pytest.mark.parametrize("threads", ["1", "2"])
def test_digits_after_one_epoch(threads: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOOM_THREADS", threads)
    (line,) = digits.train_digits(1, ["cpu"])
    assert (line.what, line.sha256) == ("digits on cpu, 1 epoch", digits.golden_digest(1))


@pytest.mark.slow
@pytest.mark.needs("threads")
def test_digits_after_one_epoch_on_a_gpu(on: str) -> None:
    (line,) = digits.train_digits(1, [on])
    assert line.sha256 == digits.golden_digest(1)


@pytest.mark.slow
@pytest.mark.usefixtures("setting")
def test_digits_are_learnt() -> None:
    (line,) = digits.train_digits(20, ["cpu"])
    assert line.sha256 == digits.golden_digest(20)
    right, samples = int(line.answer.split()[0]), int(line.answer.split()[2])
    assert samples == 359  # a fifth of 1797
    assert right / samples >= 0.985


@pytest.mark.slow
@pytest.mark.needs("threads")
def test_digits_are_learnt_on_a_gpu(on: str) -> None:
    (line,) = digits.train_digits(20, [on])
    assert line.sha256 == digits.golden_digest(20)


DIGITS_Q12 = {
    1: "66638ae14dd806287efac59781812e956735bb3e7b8ae711d888aef11412fe6f",
    20: "adc6c440cd2fa0d9e08e27aeb354d8cddccaf5e0ad8fe6264c311bacd302a7b3",
}
"""Digests of the digits' weights trained with products of whole numbers, of any device."""


def train_digits_q12(epochs: int, on: str) -> float:
    """Train the demo's network in q12 and compare its digest; return the share of right answers."""
    kept, held_out = divide(*read_samples("digits", (1, 8, 8)), digits.HELD_OUT, digits.SETTINGS["seed"])
    assert held_out is not None
    net = loom.Network.from_json(digits.document(), on=on)
    net.train(*kept, epochs=epochs, progress=False, precision="q12", **digits.SETTINGS)
    assert net.digest() == DIGITS_Q12[epochs]
    return float((net.predict(held_out[0]).argmax(-1) == held_out[1]).mean())


def test_digits_of_whole_numbers_after_one_epoch(on: str) -> None:
    assert train_digits_q12(1, on) > 0.8


@pytest.mark.slow
@pytest.mark.parametrize("threads", ["1", "2"])
def test_digits_of_whole_numbers_are_learnt(threads: str, on: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOOM_THREADS", threads)
    assert train_digits_q12(20, on) >= 0.985


@pytest.mark.slow
def test_the_command_of_the_guide_trains_to_the_same_digest(tmp_path: Path) -> None:
    net = tmp_path / "digits.json"
    net.write_text(digits.document())
    arguments = f"train {net} --data digits --epochs 20 --optimizer adamw --rate 0.003 --schedule cosine --json"
    found = json.loads(CliRunner().invoke(app, [*arguments.split(), "--device", "cpu"]).output)
    assert found["sha256"] == digits.golden_digest(20)


def check_committed_with_numpy(size: job.DemoSize) -> None:
    """Compute every committed digest without Loom: published counts, numpy, and the sum's order in numpy."""
    x = job.fill_numbers(np.empty(size.elements, np.float32))
    total = canonical_sum(x)
    results = {
        "primes": np.array([PRIMES_BELOW[size.below]], "<u8"),
        "numbers": x,
        "sum": total,
        "mean": total / np.float32(size.elements),
        "max": x.max(keepdims=True),
        "min": x.min(keepdims=True),
        "map": x * np.float32(2) + np.float32(1),
    }
    found = {name: hashlib.sha256(values).hexdigest() for name, values in results.items()}
    text = "".join(f"{name} {digest}\n" for name, digest in found.items())
    found["all"] = hashlib.sha256(text.encode()).hexdigest()
    assert found == job.golden_digests(size)


def canonical_sum(x: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Add up as the contract says: tiles of 4096, 64 lanes a tile, rows ascending, then a halving tree."""
    while x.size > 1:
        tiles = np.concatenate([x, np.zeros(-x.size % 4096, np.float32)]).reshape(-1, 64, 64)
        lanes = np.zeros((len(tiles), 64), np.float32)
        for row in range(64):
            lanes = lanes + tiles[:, row]
        while lanes.shape[1] > 1:
            half = lanes.shape[1] // 2
            lanes = lanes[:, :half] + lanes[:, half:]
        x = lanes.reshape(-1)
    return x


@pytest.mark.parametrize("at", [0, 1, 2, 12_345, 999_999, (1 << 20) + 3])
def test_numbers_follow_the_formula(at: int) -> None:
    h = at * 2654435761 % 2**32
    h = (h ^ h >> 15) * 2246822519 % 2**32
    h ^= h >> 13
    made = job.fill_numbers(np.empty((1 << 20) + 4, np.float32))
    assert float(made[at]) == ((h >> 8) - 2**23) / 2**23


def test_every_nan_has_the_same_digest() -> None:
    bits = np.array([0x7FC0_0000, 0xFFC0_1234, 0x3F80_0000], np.uint32)
    canonical = np.array([0x7FC0_0000, 0x7FC0_0000, 0x3F80_0000], "<u4")
    assert job.array_digest(bits.view(np.float32)) == hashlib.sha256(canonical).hexdigest()


def test_bytes_are_little_endian() -> None:
    values = np.array([1, 2**40], ">u8")
    assert job.array_digest(values) == hashlib.sha256(values.astype("<u8")).hexdigest()
