"""Packages of all languages, with the real toolchains: they train to Loom's digest, and their own tests pass."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from bindings.packages import EPOCHS, NETS, TOOLCHAINS, run, trained, untrained
from loom.core.errors import ArgumentError
from loom.export import LANGUAGES, export_bindings, export_samples, freeze


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Packages of all networks in all languages."""
    folder = tmp_path_factory.mktemp("bindings")
    for kind in NETS:
        export_bindings(trained(kind).frozen, folder / kind, list(LANGUAGES), optimize="size")
        for number, array in enumerate(trained(kind).arrays):
            (folder / kind / f"{number}.bin").write_bytes(array.tobytes())
        export_samples(trained(kind).frozen, folder / kind / "samples")
    export_bindings(untrained(), folder / "Double", list(LANGUAGES), optimize="size")
    return {"Double": folder / "Double"} | {kind: folder / kind for kind in NETS}


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("language", TOOLCHAINS)
def test_packages_train_to_the_digest_of_loom(language: str, exported: dict[str, Path]) -> None:
    tools = TOOLCHAINS[language]
    if tools.missing():
        pytest.skip(tools.missing())
    for kind in NETS:
        package, loom = exported[kind] / language, trained(kind)
        for command in tools.test:
            run(command.format(name=kind), package, {**tools.settings, "SAMPLES": "../samples"})
        files = " ".join(f"../{number}.bin" for number in range(len(loom.arrays)))
        told = run(f"{tools.train.format(name=kind)} {files} {EPOCHS}", package, tools.settings)
        digest, loss = told.split()
        assert (digest, float(loss)) == (loom.digest, loom.loss), kind
    for command in tools.test:
        run(command.format(name="Double"), exported["Double"] / language, tools.settings)


@pytest.mark.slow
def test_no_byte_is_touched_that_is_not_a_net_s_own(exported: dict[str, Path]) -> None:
    tools = TOOLCHAINS["rust"]
    if missing := tools.missing() or ("" if shutil.which("valgrind") else "not installed (Debian): valgrind"):
        pytest.skip(missing)
    # what Rust's threads keep until they end is "possibly lost" to valgrind; lost for certain is an error
    valgrind = (
        "valgrind -q --error-exitcode=9 --leak-check=full --show-leak-kinds=definite --errors-for-leak-kinds=definite"
    )
    checked = {"CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUNNER": valgrind}
    told = run("cargo test --offline -q --tests 2>&1", exported["mixture"] / "rust", {**tools.settings, **checked})
    assert "5 passed" in told


def test_every_language_is_tried() -> None:
    assert set(TOOLCHAINS) == set(LANGUAGES)


def test_what_cannot_be_written_is_refused(tmp_path: Path) -> None:
    net = trained("line").frozen
    with pytest.raises(ArgumentError, match=r"no language is called 'rus'.*python, rust.*Did you mean 'rust'"):
        export_bindings(net, tmp_path, ["rus"])
    with pytest.raises(ArgumentError, match="python does not run there"):
        export_bindings(net, tmp_path, ["python"], ["wasm32"])
    named = type(net)(net.network, "type", net._ends, net._kept, net.training)
    with pytest.raises(ArgumentError, match="rust has this word for itself"):
        export_bindings(named, tmp_path, ["python", "rust"])
    threads = freeze(net.network, threads=True)
    with pytest.raises(ArgumentError, match="compute with one thread a net"):
        export_bindings(threads, tmp_path, ["go"])
    assert not list(tmp_path.iterdir())
