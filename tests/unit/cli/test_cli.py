"""The command line: what it prints, how it fails, and that it costs ``import loom`` nothing."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

import loom
from loom.cli.commands.bench import find_checkout
from loom.cli.demos import demo as job
from loom.cli.demos import demo_digits
from loom.cli.inputs import output
from loom.cli.inputs.quantity import whole_number
from loom.cli.main import app
from loom.core.errors import ArgumentError
from loom.core.version import __version__

KERNELS = """\
import loom

FACTOR = 2


@loom.kernel(workgroup=64)
def scale(y: loom.InOut[loom.f32], a: loom.f32):
    i = loom.global_id()
    if i < len(y):
        y[i] = y[i] * a


@loom.kernel
def wrong(y: loom.InOut[loom.f32]):
    y[0] = y
"""


def invoke(*arguments: str, code: int = 0) -> str:
    """Run a command in this process and return what it printed, stderr included."""
    result = CliRunner().invoke(app, list(arguments))
    assert result.exit_code == code, result.output
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.output


@pytest.fixture
def file(tmp_path: Path) -> str:
    path = tmp_path / "kernels.py"
    path.write_text(KERNELS)
    return str(path)


# general


def test_version() -> None:
    assert invoke("--version") == f"loom {__version__}\n"


def test_help_names_every_command() -> None:
    text = invoke("--help")
    assert all(name in text for name in ("devices", "demo", "primes", "bench", "ir", "--debug", "--version"))


def test_an_error_is_one_line_and_exit_code_2() -> None:
    text = invoke("primes", "100", "--device", "cpo", code=2)
    assert text.startswith("loom: [loom.device] no device is called 'cpo'")
    assert "'cpu'" in text
    assert text.count("\n") == 1


def test_debug_shows_the_traceback() -> None:
    text = invoke("--debug", "primes", "1e13", code=2)
    assert "Traceback (most recent call last)" in text
    assert "ArgumentError: [gpu_prime_count, n] out of range" in text


def test_the_module_runs_and_fails_as_the_command_does() -> None:
    run = subprocess.run([sys.executable, "-m", "loom", "primes", "ten"], capture_output=True, text=True, check=False)
    assert (run.returncode, run.stdout) == (2, "")
    assert run.stderr.startswith("loom: [loom primes, N] not a usable whole number")
    assert run.stderr.count("\n") == 1


def test_importing_loom_imports_no_command_line() -> None:
    code = "import sys, loom; print(sorted({'typer', 'rich', 'loom.cli'} & set(sys.modules)))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout == "[]\n"


# devices and primes


def test_devices_as_text() -> None:
    lines = invoke("devices").splitlines()
    assert lines[0].split() == ["device", "kind", "description", "guarantee", "limits"]
    assert [line.split()[0] for line in lines[1:]][:2] == ["cpu", "interp"]
    assert "threads: " in lines[1]


def test_devices_say_why_there_is_no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    from loom.core.errors import DeviceError

    def missing(*_: object) -> None:
        raise DeviceError("Vulkan", "the binding is not installed", remedy="pip install loom-compute[vulkan]")

    described = [loom.device(name).describe() for name in ("cpu", "interp")]
    monkeypatch.setattr("loom.devices", lambda: described, raising=False)
    monkeypatch.setattr("loom.device", missing, raising=False)
    text = invoke("devices", "--operations")
    assert "no GPU: [Vulkan] the binding is not installed. pip install loom-compute[vulkan]." in text
    assert "operation" not in text


def test_paths_that_cannot_be_used_are_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused() -> None:
        raise PermissionError(13, "Permission denied", "/there")

    command = next(c for c in app.registered_commands if c.name == "primes")
    monkeypatch.setattr(command, "callback", refused)
    assert invoke("primes", code=2) == "loom: [/there] Permission denied. Check the path.\n"


def test_devices_on_a_terminal_are_framed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(output, "is_terminal", lambda: True)
    text = invoke("devices")
    assert "│" in text
    assert "interp" in text


def test_devices_as_json() -> None:
    found = json.loads(invoke("devices", "--json"))
    assert [d["name"] for d in found][:2] == ["cpu", "interp"]
    assert found[0]["limits"]["threads"] >= 1


@pytest.mark.parametrize("n", ["1e6", "10**6", "10^6", "1_000_000", "1000000"])
def test_primes(n: str) -> None:
    found = json.loads(invoke("primes", n, "--json"))
    assert (found["below"], found["count"], found["device"]) == (1_000_000, 78_498, "cpu")  # OEIS A006880
    assert found["seconds"] > 0


def test_primes_as_text() -> None:
    assert invoke("primes", "1000", "--device", "interp").startswith("168 primes below 1,000 in ")


@pytest.mark.parametrize(
    ("text", "value"), [("0", 0), ("1.5e3", 1500), ("2**40", 1 << 40), (" 7 ", 7), ("1e12", 10**12)]
)
def test_whole_numbers(text: str, value: int) -> None:
    assert whole_number(text, "here") == value


@pytest.mark.parametrize(
    "text", ["", "1.5", "x", "nan", "inf", "1e999999999", "10**99999999999", "1**", "0x10", "1e-1"]
)
def test_other_text_is_refused(text: str) -> None:
    with pytest.raises(ArgumentError, match=r"^\[here\] not a usable whole number"):
        whole_number(text, "here")


# demo


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> job.DemoSize:
    size = job.DemoSize("quick", 1000, 100, 1)
    monkeypatch.setattr(job, "QUICK", size)
    line = job.DemoLine("digits", "digits on cpu, 1 epoch", "3 of 4 right", 0.5, demo_digits.golden_digest(1))
    monkeypatch.setattr(demo_digits, "train_digits", lambda epochs, devices: iter([line]))
    return size


def test_demo_fails_when_digests_differ(tiny: job.DemoSize) -> None:
    text = invoke("demo", "--quick", code=1)
    assert "168" in text  # primes below 1000
    assert "the results differ from the committed ones on cpu: primes, " in text
    assert "same as committed" not in text


def test_demo_compares_with_what_is_committed(tiny: job.DemoSize, monkeypatch: pytest.MonkeyPatch) -> None:
    first = json.loads(invoke("demo", "--quick", "--json", code=1).partition("\nloom: ")[0])
    digests = {line["name"]: line["sha256"] for line in first["lines"]} | {"all": first["sha256"]}
    assert {"primes", "sum", "all"} <= set(first["different"]) <= set(digests)
    monkeypatch.setattr(job, "golden_digests", lambda size: digests)
    assert invoke("demo", "--quick").endswith("same as committed\n")
    second = json.loads(invoke("demo", "--quick", "--json"))
    assert second["same_as_committed"] is True
    assert second["digits"][0]["answer"] == "3 of 4 right"


def test_demo_tells_of_weights_that_differ(tiny: job.DemoSize, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(job, "differences", lambda size, lines: [])
    monkeypatch.setattr(demo_digits, "golden_digest", lambda epochs: "0" * 64)
    text = invoke("demo", "--quick", code=1)
    assert "digits on cpu, 1 epoch        3 of 4 right" in text
    assert "the results differ from the committed ones on cpu: digits on cpu, 1 epoch. " in text


def test_demo_without_digits_says_so(tiny: job.DemoSize, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(job, "differences", lambda size, lines: [])
    monkeypatch.setattr(demo_digits, "has_digits", lambda: False)
    text = invoke("demo", "--quick")
    assert (
        "digits not trained: scikit-learn, which has them, is not installed: pip install 'loom-compute[demo]'" in text
    )
    assert "3 of 4 right" not in text


def test_demo_trains_on_every_device_but_the_interpreter() -> None:
    present = [d.name for d in loom.devices() if d.refused is None]
    assert demo_digits.digits_devices(None, quick=False) == [name for name in present if name != "interp"]
    assert demo_digits.digits_devices(None, quick=True) == ["cpu"]
    assert demo_digits.digits_devices("interp", quick=False) == ["interp"]


# ir


@pytest.mark.parametrize(
    ("emit", "piece"),
    [
        ("text", b"kernel @scale workgroup 64 1 1 {"),
        ("llvm", b"define void @loom_scale("),
        ("asm", b"loom_scale:"),
        ("wasm", b"\0asm"),
        ("ptx", b".entry loom_scale("),
        ("gfx942", b"\x7fELF"),
        ("gfx1100:asm", b".amdhsa_kernel loom_scale"),
        ("spirv", b"\x03\x02\x23\x07"),
        ("aarch64", b"\x7fELF"),
        ("wasm32:llvm", b'target triple = "wasm32'),
        ("host:object", b"loom_scale"),
    ],
)
def test_ir(file: str, tmp_path: Path, emit: str, piece: bytes) -> None:
    out = tmp_path / "out"
    assert not invoke("ir", f"{file}:scale", "--emit", emit, "-o", str(out))
    assert piece in out.read_bytes()
    result = CliRunner().invoke(app, ["ir", f"{file}:scale", "--emit", emit])
    assert result.stdout_bytes == out.read_bytes()


@pytest.mark.skipif(shutil.which("spirv-dis") is None, reason="spirv-dis is missing: install spirv-tools")
def test_ir_of_spirv_as_text(file: str) -> None:
    assert 'OpEntryPoint GLCompute %2 "main"' in invoke("ir", f"{file}:scale", "--emit", "spirv:asm")


def test_ir_of_spirv_as_text_needs_a_tool(file: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda _name: None)
    text = invoke("ir", f"{file}:scale", "--emit", "spirv:asm", code=2)
    assert "[target 'spirv', form asm] spirv-dis is not installed" in text
    assert "Install spirv-tools, or take the binary form." in text


@pytest.mark.parametrize(
    ("emit", "message"),
    [
        ("spirb", "no form is called 'spirb': expected one of text, llvm, asm, wasm, host, "),
        ("spirb", "Did you mean 'spirv'?"),
        ("ptx:object", "target 'ptx' has no form 'object': expected one of asm, llvm. "),
    ],
)
def test_ir_in_no_known_form(file: str, emit: str, message: str) -> None:
    assert message in invoke("ir", f"{file}:scale", "--emit", emit, code=2)


def test_ir_text_names_source_lines(file: str, tmp_path: Path) -> None:
    other = tmp_path / "other.py"
    other.write_text(KERNELS)
    for each in (file, str(other)):  # the same kernel in two files has the lines of its own file
        assert f"# {each}:10" in invoke("ir", f"{each}:scale")


def test_ir_keeps_binary_off_a_terminal(file: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(output, "is_terminal", lambda: True)
    for emit in ("wasm", "spirv"):
        assert "is binary and does not go to a terminal" in invoke("ir", f"{file}:scale", "--emit", emit, code=2)


def test_ir_of_a_file_that_reads_its_arguments(file: str, tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(KERNELS + "\nimport argparse\nargparse.ArgumentParser().parse_args()\n")
    assert "kernel @scale" in invoke("ir", f"{script}:scale")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("scal", "has no kernel 'scal'"),
        ("scal", "or a built kernel. Did you mean 'scale'?\n"),
        (
            "FACTOR",
            "is not a kernel: expected a function decorated with @loom.kernel, or a built kernel, got int",
        ),
        ("wrong", "[kernel 'wrong' at "),
    ],
)
def test_ir_of_what_is_no_kernel(file: str, name: str, message: str) -> None:
    text = invoke("ir", f"{file}:{name}", code=2)
    assert message in text
    assert text.count("\n") == 1


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("import nothing_like_this", "ModuleNotFoundError: No module named 'nothing_like_this' (line 1)"),
        ("x = 1\n1 / 0", "ZeroDivisionError: division by zero (line 2)"),
        ("def f(:", "SyntaxError: "),
        ("raise SystemExit(3)", "SystemExit: 3 (line 1)"),
        ("x = 1", "has no kernel 'k'"),
    ],
)
def test_ir_of_a_file_that_cannot_be_used(tmp_path: Path, source: str, message: str) -> None:
    path = tmp_path / "broken.py"
    path.write_text(source)
    assert message in invoke("ir", f"{path}:k", code=2)


def test_ir_of_no_file() -> None:
    assert "there is no file 'none.py'" in invoke("ir", "none.py:k", code=2)
    assert "no kernel is named" in invoke("ir", "none.py", code=2)


# bench


def test_bench_is_found_beside_the_source_or_above_here(tmp_path: Path) -> None:
    inside = tmp_path / "a" / "b"
    for folder in (inside, tmp_path / "bench", tmp_path / "src" / "loom"):
        folder.mkdir(parents=True)
    elsewhere = Path("/nowhere/loom/cli/commands/bench.py")
    with pytest.raises(ArgumentError, match="there are no benchmarks here"):
        find_checkout(elsewhere, inside)
    (tmp_path / "bench" / "harness.py").touch()
    assert find_checkout(elsewhere, inside) == tmp_path
    assert find_checkout(tmp_path / "src" / "loom" / "x.py", Path("/nowhere")) == tmp_path


def test_bench_of_an_unknown_family(capfd: pytest.CaptureFixture[str]) -> None:
    invoke("bench", "reduse", code=2)
    assert "no family is called 'reduse'. Did you mean 'reduce'?\n" in capfd.readouterr().err


def test_ir_of_a_file_lists_its_kernels_and_takes_types(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "import argparse\nimport loom\nT = loom.TypeVar('T', loom.f32, loom.f64)\n\n\n@loom.kernel(workgroup=(8, 8))\n"
        "def over(x: loom.In[T, 2], y: loom.InOut[T], n: loom.u32 = 3):\n    y[0] = x[0, 1]\n\n\n"
        "parser = argparse.ArgumentParser()\nparser.add_argument('needed')\nparser.parse_args()\n"
    )
    assert "over  workgroup 8x8x1  (x: In[T, 2], y: InOut[T], n: u32)\n" in invoke("ir", str(script))
    assert "kernel @over[f64] workgroup 8 8 1 {\n  buffer x: f64 read 2d" in invoke("ir", f"{script}:over[f64]")
    assert "T cannot be u8: expected f32, f64, got u8" in invoke("ir", f"{script}:over[u8]", code=2)
    assert "the type T is not chosen" in invoke("ir", f"{script}:over", code=2)
    (tmp_path / "none.py").write_text("x = 1\n")
    assert "has no kernel" in invoke("ir", str(tmp_path / "none.py"), code=2)


def test_output_that_cannot_be_written_is_one_line() -> None:
    command = f"{sys.executable} -c 'from loom.cli.main import main; import sys; sys.argv[1:] = [\"devices\"]; main()'"
    full = subprocess.run(f"{command} > /dev/full", shell=True, capture_output=True, text=True, check=False)
    assert (full.returncode, full.stderr) == (2, "loom: [output] No space left on device. Let it go elsewhere.\n")
    closed = subprocess.run(f"{command} >&-", shell=True, capture_output=True, text=True, check=False)
    assert closed.returncode == 0
    assert all(line.startswith("no device of ") for line in closed.stderr.splitlines())
