"""The benchmark: every mode learns, one digest on every device, rows kept, bad settings refused."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from loom.cli.main import app
from loom.core.errors import ArgumentError, FileError
from loom.nn.adapt import (
    LAYERS,
    Settings,
    make_learner,
    read_results,
    robustness,
    run_benchmark,
    save_png,
    table,
    write_results,
)
from loom.nn.tween import TweenMode

MODES = [m.value for m in TweenMode]


def digest(results: Any) -> str:
    return hashlib.sha256(json.dumps(results).encode()).hexdigest()


def invoke(*arguments: object, code: int = 0) -> str:
    result = CliRunner().invoke(app, ["bench", "adapt", *map(str, arguments)])
    assert result.exit_code == code, result.output
    return result.output


def test_modes_learn_and_the_change_is_seen() -> None:
    rates = dict.fromkeys(MODES, 0.1) | {"tween": 3.0, "step_tween": 3.0}
    found = run_benchmark(_little(seeds=1, worlds=["classes"], total_ms=1200, rates=rates))
    by_mode = {row["mode"]: row for row in found["rows"]}
    assert list(by_mode) == MODES
    for mode in MODES:
        windows = by_mode[mode]["windows"]
        early = [w for w in windows[7:12] if w is not None]
        assert sum(early) / len(early) > 40, mode  # chance is 25
        after = [w for w in windows[12:16] if w is not None]
        assert min(after) < sum(early) / len(early) - 5, mode
    assert by_mode["step"]["availability"]["mean"] == 1.0 > by_mode["normal"]["availability"]["mean"]
    assert (by_mode["step"]["delay"], by_mode["normal"]["delay"]) == (1, 0)


def _little(**settings: Any) -> Any:
    rates = dict.fromkeys(MODES, 0.1)
    little = {"seeds": 2, "layers": ["dense"], "worlds": ["chase"], "total_ms": 120, "changes": 1, "rates": rates}
    return Settings(**(little | settings))


SHORT = _little(seeds=1, total_ms=60, noise=[0.5])


@pytest.fixture(scope="module")
def expected() -> str:
    return digest(run_benchmark(SHORT, device="cpu"))


def test_one_digest_on_every_device(on: str, expected: str) -> None:
    assert digest(run_benchmark(SHORT, device=on)) == expected


def test_one_digest_for_any_number_of_threads(monkeypatch: pytest.MonkeyPatch, expected: str) -> None:
    for threads in ("1", "2"):
        monkeypatch.setenv("LOOM_THREADS", threads)
        assert digest(run_benchmark(SHORT)) == expected


def test_a_seed_does_not_depend_on_those_before() -> None:
    """Neither velocities nor buffers, histories or counters of an earlier seed are met again."""
    both = run_benchmark(_little(total_ms=60))["rows"]
    first, second = (run_benchmark(_little(total_ms=60, seeds=1, first_seed=k))["rows"] for k in (0, 1))
    for row, a, b in zip(both, first, second, strict=True):
        mean = (a["accuracy"]["mean"] + b["accuracy"]["mean"]) / 2
        assert row["accuracy"]["mean"] == pytest.approx(mean), row["mode"]


def test_every_architecture_has_a_learner_in_every_mode() -> None:
    for layers in (*LAYERS, "agents"):
        for mode in TweenMode:
            assert (make_learner(layers, mode, "f32", 0.1, "cpu").delay > 0) == mode.is_step


@pytest.mark.slow
def test_integers_learn() -> None:
    settings = _little(seeds=1, worlds=["classes"], total_ms=700, changes=0, modes=["normal"], types=["int8"])
    windows = run_benchmark(settings)["rows"][0]["windows"]
    assert sum(windows[-4:]) / 4 > 60  # chance is 25


def test_a_block_of_one_is_learnt_from_at_once() -> None:
    found = run_benchmark(_little(modes=["normal", "tween_chain"], block=1, seeds=1))["rows"]
    assert all(row["availability"]["mean"] == 1.0 for row in found)
    blocks = [make_learner("dense", "normal", "f32", 0.1, "cpu", block=n) for n in (1, 20, 7)]
    assert [(one.block, one.parts) for one in blocks] == [(1, 1), (20, 4), (7, 1)]


def test_integers_have_one_mode() -> None:
    with pytest.raises(ArgumentError, match="the mode 'step' has no rule in int16"):
        make_learner("dense", TweenMode.STEP, "int16", 0.1, "cpu")


@pytest.mark.slow
def test_every_architecture_runs_in_every_mode_and_type() -> None:
    found = run_benchmark(Settings(seeds=1, types=["f32", "f64", "f16", "bf16"], total_ms=150, changes=1))
    assert len(found["rows"]) == 12 * 4 * 2 * 6
    assert all(row["accuracy"]["count"] == 1 for row in found["rows"])


def test_statistics_are_those_of_single_seeds() -> None:
    both = run_benchmark(_little(modes=["normal"]))["rows"][0]
    single = [run_benchmark(_little(modes=["normal"], seeds=1, first_seed=k))["rows"][0] for k in (0, 1)]
    for name in ("accuracy", "score"):
        a, b = (row[name]["mean"] for row in single)
        assert both[name]["mean"] == pytest.approx((a + b) / 2)
        assert both[name]["std"] == pytest.approx(abs(a - b) / 2**0.5)
        assert single[0][name]["std"] == 0.0


@pytest.mark.slow
def test_agents_are_right_together_less_often_than_alone() -> None:
    found = run_benchmark(_little(layers=["agents"], modes=["step"], seeds=1, total_ms=200))["rows"][0]
    assert found["accuracy"]["mean"] < found["each"]["mean"]


def test_command_keeps_resumes_and_draws(tmp_path: Path) -> None:
    file, picture = tmp_path / "found.json", tmp_path / "found.png"
    little = ["--seeds", 1, "--layers", "dense", "--worlds", "chase", "--total-ms", 120, "--json", file]
    said = invoke(*little, "--modes", "normal,StepTweenChain", "--noise", "0,1", "--png", picture)
    found = read_results(file)
    assert [row["mode"] for row in found["rows"]] == ["normal", "step_tween_chain"] * 2
    assert "step_tween_chain" in said
    assert "robustness %" in said
    assert picture.read_bytes().startswith(b"\x89PNG")
    marked = found | {"rows": [row | {"refused": 77} for row in found["rows"]]}
    write_results(marked, file)
    invoke(*little, "--modes", "normal,step", "--noise", "0,1", "--resume")
    again = read_results(file)["rows"]
    asked, left = again[:4], again[4:]
    assert [(row["mode"], row["refused"]) for row in asked] == [("normal", 77), ("step", 0)] * 2  # the first as kept
    assert [(row["mode"], row["refused"]) for row in left] == [("step_tween_chain", 77)] * 2  # not lost
    assert "are of other settings" in invoke(*little, "--changes", 1, "--resume", code=2)


def test_what_is_done_stays_when_it_is_interrupted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from loom.nn.adapt import suite

    first = suite.make_learner

    def once(layers: str, mode: TweenMode, *rest: Any, **told: Any) -> Any:
        if mode is TweenMode.STEP:
            raise KeyboardInterrupt
        return first(layers, mode, *rest, **told)

    monkeypatch.setattr(suite, "make_learner", once)
    file = tmp_path / "found.json"
    said = invoke("--seeds", 1, "--layers", "dense", "--worlds", "chase", "--total-ms", 120, "--json", file, code=130)
    assert "interrupted after 1 of 6 rows" in said
    assert [row["mode"] for row in read_results(file)["rows"]] == ["normal"]


def test_in_real_time_the_machine_tells_how_many_answers() -> None:
    found = run_benchmark(_little(modes=["normal", "step"], seeds=1, real_time=True))
    for row in found["rows"]:
        assert row["throughput"]["mean"] > 20
        assert "answer_ns" not in row


def test_robustness_is_the_share_of_the_accuracy_without_noise() -> None:
    rows = [{"world": "w", "layers": "l", "type": "t", "noise": n, "mode": "m", "accuracy": {"mean": a}}
            for n, a in ((0.0, 80.0), (0.5, 60.0), (1.0, 20.0))]  # fmt: skip
    assert robustness({"rows": rows}) == [{"world": "w", "layers": "l", "type": "t", "mode": "m", "robustness": 50.0}]
    assert robustness({"rows": rows[:1]}) == []


@pytest.mark.parametrize(("options", "message"), [
    (("--modes", "stepp"), "no mode is called 'stepp'"), (("--layers", "dense,dense"), "none twice"),
    (("--layers", "conv9"), "conv9"), (("--types", "i3"), "i3"), (("--worlds", "chasse"), "chasse"),
    (("--noise", "x"), "not a number"), (("--noise", "-1"), "noise"), (("--seeds", "0"), "seeds"),
    (("--seeds", "2", "--quick"), "told twice"), (("--changes", "99", "--total-ms", "50"), "more changes"),
    (("--rates", "normal=x"), "not a number"), (("--rates", "norml=1"), "norml"), (("--modes", ","), "at least one"),
    (("--rates", "step=1,step=2"), "named twice"), (("--modes", "normal", "--rates", "step=1"), "no effect"),
    (("--resume",), "no file to go on from"), (("--json", "found.txt"), "not such a file"),
    (("--device", "abacus"), "abacus"), (("--types", "f32,int8"), "has no rule in int8"), (("--block", "0"), "block"),
])  # fmt: skip
def test_bad_options_are_told(options: tuple[str, ...], message: str) -> None:
    assert message in invoke(*options, code=2)


def test_files_of_others_are_no_results(tmp_path: Path) -> None:
    for text in ("", "[]", '{"benchmark": "adapt", "version": 99, "rows": []}', '{"benchmark": "adapt", "version": 1}'):
        (tmp_path / "other.json").write_text(text)
        with pytest.raises(FileError, match="no results"):
            read_results(tmp_path / "other.json")
    with pytest.raises(ArgumentError, match="nothing to draw"):
        save_png({"rows": []}, tmp_path / "a.png")
    assert table({"rows": []})[1] == []


def test_other_families_are_those_of_the_checkout(capfd: pytest.CaptureFixture[str]) -> None:
    assert CliRunner().invoke(app, ["bench", "kernelz", "--json"]).exit_code == 2
    assert "no family is called 'kernelz'" in capfd.readouterr().err
    assert "families" in CliRunner().invoke(app, ["bench", "--help"]).output
