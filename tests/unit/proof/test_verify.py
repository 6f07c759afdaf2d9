"""``loom.verify``: the golden root under every setting, found out when broken, kept on disk, honest in its errors."""

from __future__ import annotations

import json
import re
import zlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import loom
from conformance.running import environment
from loom.core.errors import ArgumentError, DeviceError
from loom.proof import attestation
from loom.proof.attestation import Attestation, verify
from loom.proof.cases import LAYERS, cases_of
from loom.proof.golden import Golden, golden
from loom.proof.mutation import MUTATIONS, Mutant
from loom.proof.running import digest_of

Settings = tuple[int, int]


def test_golden_digests_cover_every_case() -> None:
    names = [c.name for layer in LAYERS for c in cases_of(layer)]
    assert len(set(names)) == len(names)
    assert set(golden().cases) == set(names), "run tools/golden.py"
    assert golden().spec == attestation.SPEC
    assert set(golden().layers) == {"1", "2", "3", "4"}


def test_the_guide_names_the_root() -> None:
    root = attestation.digest_of_texts([golden().spec, *(f"{k} {v}" for k, v in golden().layers.items())])
    guide = Path(__file__).parents[3] / "docs" / "guide" / "verify.md"
    assert f"The root of all four is `{root}`." in guide.read_text(), "run tools/golden.py"


def test_inputs_are_the_golden_ones() -> None:
    for layer in LAYERS:
        digests = [digest_of(c.inputs()) for c in cases_of(layer)]
        assert attestation.digest_of_texts(digests) == golden().vectors[str(layer)]


@pytest.mark.parametrize(
    "settings", [*(pytest.param(s, marks=pytest.mark.slow) for s in ((1, 4), (2, 8))), (2, 16)], ids=str
)
@pytest.mark.needs("vectors")
def test_operations_and_functions_are_the_same_under_every_setting(on: str, settings: Settings) -> None:
    _layers_are_golden(on, settings, (1, 2))


@pytest.mark.parametrize("layers", [(1,), pytest.param((1, 2, 3, 4), marks=pytest.mark.slow)], ids=str)
def test_digests_are_the_same_without_optimisation(layers: tuple[int, ...]) -> None:
    with environment(LOOM_SIMD=8, LOOM_OPTIMISE=0):
        plain = verify("cpu", layers=layers, fresh=True)
    assert plain.differing == ()
    assert plain.layers == {str(layer): golden().layers[str(layer)] for layer in layers}


@pytest.mark.needs("threads")
def test_some_patterns_have_the_schedules_of_gpus(on: str) -> None:
    _some_patterns_are_golden(on)


@pytest.mark.needs("vectors")
def test_some_patterns_are_the_golden_ones(on: str) -> None:
    """At one width, since many kernels are compiled anew for each; networks, below, at this machine's own."""
    _some_patterns_are_golden(on)


def _some_patterns_are_golden(on: str) -> None:
    chosen = [case for case in cases_of(3) if zlib.crc32(case.name.encode()) % 4 == 0]
    with environment(LOOM_THREADS=2, LOOM_SIMD=8, LOOM_OPTIMISE=0):
        where = loom.device(on)
        found = {case.name: digest_of(case.compute(where, *case.inputs())) for case in chosen}
    assert found == {name: golden().cases[name] for name in found}
    assert len(found) > 20


def _layers_are_golden(on: str, settings: Settings, layers: tuple[int, ...]) -> None:
    threads, simd = settings
    with environment(LOOM_THREADS=threads, LOOM_SIMD=simd):
        found = verify(on, layers=layers, fresh=True)
    assert found.differing == ()
    assert found.layers == {str(layer): golden().layers[str(layer)] for layer in layers}


@pytest.mark.needs("vectors")
def test_networks_are_the_golden_ones(on: str) -> None:
    """With code that is there soon; `.ci/run` proves the whole root with optimised code, in the bare wheel."""
    with environment(LOOM_OPTIMISE=0):
        found = verify(on, layers=[4], fresh=True)
    assert found.differing == ()
    assert found.layers == {"4": golden().layers["4"]}


@pytest.mark.needs("threads")
@pytest.mark.parametrize("layer", LAYERS)
def test_every_layer_is_the_golden_one(on: str, layer: int) -> None:
    """Operations, functions, patterns and networks, with the schedules of a GPU; their root is a digest of the four."""
    found = verify(on, layers=[layer], fresh=True)
    assert found.differing == ()
    assert found.layers == {str(layer): golden().layers[str(layer)]}


@pytest.mark.slow
@pytest.mark.needs("vectors")
@pytest.mark.parametrize("settings", [(1, 1), (1, 4), (2, 8), (2, 16)], ids=str)
def test_root_is_the_same_under_every_setting(on: str, settings: Settings) -> None:
    threads, simd = settings
    with environment(LOOM_THREADS=threads, LOOM_SIMD=simd):
        found = verify(on, fresh=True)
    assert found.differing == ()
    assert found.root == attestation.digest_of_texts([found.spec, *(f"{k} {v}" for k, v in golden().layers.items())])


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_the_interpreter_gives_the_golden_digests() -> None:
    assert verify("interp", fresh=True).differing == ()


def test_a_record_says_what_it_is_about() -> None:
    found = verify("cpu", layers=[1], fresh=True)
    assert found.exact
    assert (found.device, found.profile, found.spec) == ("cpu", "exact", "loom-verify/1")
    assert found.layers == {"1": golden().layers["1"]}
    assert "LLVM" in found.compiler
    assert found.cases == len(list(cases_of(1)))
    again = json.loads(json.dumps(found.to_json()))
    assert again["exact"] is True
    assert again["root"] == found.root


# mutations


@pytest.mark.parametrize(
    ("mutation", "kernel", "site", "layer", "case"),
    [
        ("swap", "probe_straight", 0, 1, "reassociation: (a + b) + c, straight"),
        ("swap", "tensor_asin", 0, 2, "asin f32"),
        ("swap", "sum_four_f32", 0, 3, "sum f32"),
        ("swap", "run_totals_sum_f32", 1, 3, "scan f32"),
        ("fuse", "probe_loop", 0, 1, "contraction: a*b + c, loop"),
        ("fuse", "tensor_exp", 5, 2, "exp f32"),
        ("fuse", "matmul_", 0, 3, "matmul f32"),
        ("fuse", "dot_f32", 0, 3, "dot f32"),
        ("swap", None, None, 4, "layer conv2d"),
        ("fuse", None, None, 4, "optimizer adamw"),
        ("flush", "probe_straight", 0, 1, "flush: 2^-126 * 0.5, straight"),
        ("flush", "tensor_exp", 10, 2, "exp f32"),
        ("fold", "literals_mul_f32", 0, 1, "literals: mul f32"),
        ("fold", "literals_add_f64", 0, 1, "literals: add f64"),
        ("fold", "literals_mul_f16", 1, 1, "literals: mul f16"),
        ("fold", "literals_select_f32", 6, 1, "literals: select f32"),
    ],
)  # fmt: skip
def test_one_mutated_operation_turns_the_digest_red(
    mutation: str, kernel: str | None, site: int | None, layer: int, case: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    only = [c for c in cases_of(layer) if c.name == case]
    monkeypatch.setattr(attestation, "cases_of", lambda _layer: only)
    mutant = Mutant(loom.device("cpu"), mutation, kernel, site)
    found = verify(mutant, layers=[layer], fresh=True)
    assert mutant.changed, "nothing was mutated"
    assert found.differing[0].startswith(f"{case}: expected")
    sound = [d for d in verify("cpu", layers=[layer], fresh=True).differing if d.startswith(case)]
    assert not sound, "red without the mutation"


@pytest.mark.parametrize("mutation", MUTATIONS)
def test_a_mutant_of_nothing_is_exact(mutation: str) -> None:
    mutant = Mutant(loom.device("cpu"), mutation, "no kernel has this name")
    assert verify(mutant, layers=[1], fresh=True).exact
    assert mutant.changed == set()


def test_an_unknown_mutation_is_refused() -> None:
    with pytest.raises(ArgumentError) as caught:
        Mutant(loom.device("cpu"), "fused")
    assert str(caught.value) == "[loom verify, mutation] no mutation is called 'fused'. Did you mean 'fuse' or 'flush'?"


# what is kept on disk


@pytest.fixture
def computed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[str]:
    """The cases that were computed; attestations go to a folder of the test's own."""
    names: list[str] = []
    monkeypatch.setenv("LOOM_CACHE_DIR", str(tmp_path))
    judged = attestation._judge

    def counting(case: Any, *rest: Any) -> Any:
        names.append(case.name)
        return judged(case, *rest)

    monkeypatch.setattr(attestation, "_judge", counting)
    return names


def _two_cases(monkeypatch: pytest.MonkeyPatch) -> None:
    few = list(cases_of(1))[:2]
    lines = [f"{c.name} {golden().cases[c.name]}" for c in few]
    digests = {"1": attestation.digest_of_texts(lines)}
    monkeypatch.setattr(attestation, "cases_of", lambda layer: few if layer == 1 else [])
    few_golden = Golden(golden().spec, golden().vectors, golden().cases, digests)
    monkeypatch.setattr(attestation, "golden", lambda: few_golden)


def test_an_exact_record_is_kept_and_read_again(computed: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    _two_cases(monkeypatch)
    first = verify("cpu", layers=[1])
    assert (first.exact, len(computed)) == (True, 2)
    again = verify("cpu", layers=[1])
    assert (replace(again, recorded=None), len(computed)) == (first, 2)
    assert (first.recorded, re.fullmatch(r"20\d\d-\d\d-\d\d \d\d:\d\d:\d\d\+00:00", again.recorded or "") is None) == (
        None,
        False,
    )
    verify("cpu", layers=[1], fresh=True)
    assert len(computed) == 4
    with environment(LOOM_THREADS=1 if first.driver else 2, LOOM_SIMD=4):
        verify("cpu", layers=[1])
    assert len(computed) == 6, "other settings ask for a proof of their own"


@pytest.mark.parametrize("content", ["", "{", "[]", '{"exact": true}'])
def test_a_broken_file_costs_a_proof(
    content: str, computed: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    _two_cases(monkeypatch)
    first = verify("cpu", layers=[1])
    (kept,) = tmp_path.glob("attestation-*.json")
    kept.write_text(content)
    second = verify("cpu", layers=[1])
    assert len(computed) == 4
    assert second.root == first.root


def test_other_versions_ask_for_a_new_proof(computed: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    _two_cases(monkeypatch)
    verify("cpu", layers=[1])
    with monkeypatch.context() as changed:
        changed.setattr(attestation.platform, "python_version", lambda: "3.99.0")
        assert verify("cpu", layers=[1]).recorded is None
    monkeypatch.setattr(attestation.np, "__version__", "9.9")
    assert verify("cpu", layers=[1]).recorded is None
    assert len(computed) == 6


def test_what_differs_is_not_kept(computed: list[str], tmp_path: Path) -> None:
    verify(Mutant(loom.device("cpu"), "fuse", "probe_straight"), layers=[1])
    assert list(tmp_path.glob("attestation-*.json")) == []


def test_changed_code_asks_for_a_new_proof(computed: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    _two_cases(monkeypatch)
    verify("cpu", layers=[1])
    monkeypatch.setattr(attestation, "_code", lambda: "other code")
    verify("cpu", layers=[1])
    assert len(computed) == 4


# what is told


def test_differences_name_case_and_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    found = verify(Mutant(loom.device("cpu"), "fuse", "probe_straight"), layers=[1])
    assert found.differing[0] == ("contraction: a*b + c, straight: expected 0x0, got 0x33800000 (64 of 64 lanes)")


def test_a_missing_digest_and_a_missing_case_are_differences(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = golden()
    less = {n: d for n, d in whole.cases.items() if n != "NaN: 0 * inf, loop"}
    monkeypatch.setattr(attestation, "golden", lambda: Golden(whole.spec, whole.vectors, less, whole.layers))
    assert verify("cpu", layers=[1], fresh=True).differing == ("NaN: 0 * inf, loop: no golden digest",)
    few = list(cases_of(1))[:-1]
    monkeypatch.setattr(attestation, "golden", lambda: whole)
    monkeypatch.setattr(attestation, "cases_of", lambda layer: few)
    assert verify("cpu", layers=[1], fresh=True).differing == ("layer 1: other cases than the golden ones",)


def test_unknown_layers_are_refused() -> None:
    for wrong in ([], [0], [1, 9]):
        with pytest.raises(ArgumentError) as caught:
            verify("cpu", layers=wrong)
        assert str(caught.value) == (
            f"[loom.verify, layers] no such layer: expected some of 1, 2, 3, 4, got {wrong}. "
            "Leave layers away to run them all."
        )


def test_progress_hears_of_every_case() -> None:
    heard: list[str] = []
    found = verify("cpu", layers=[1], fresh=True, progress=heard.append)
    assert isinstance(found, Attestation)
    assert heard == [c.name for c in cases_of(1)]


def test_a_case_that_fails_is_a_difference_and_the_others_are_judged(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = list(cases_of(1))

    def fails(*_given: Any) -> Any:
        raise DeviceError("device 'cpu'", "it stopped", remedy="Use another")

    broken = replace(whole[0], compute=fails)
    monkeypatch.setattr(attestation, "cases_of", lambda layer: [broken, *whole[1:]])
    found = verify("cpu", layers=[1], fresh=True)
    assert found.differing == (f"{whole[0].name}: [device 'cpu'] it stopped. Use another.",)
    assert found.cases == len(whole)
