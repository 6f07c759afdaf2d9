"""The functions with JSON texts: what they compute and save is Loom's own; numbers are exact; errors change nothing."""

from __future__ import annotations

import ctypes
import json
import random
import struct
import subprocess
from decimal import Decimal, getcontext
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import loom
from loom.core.errors import ArgumentError
from loom.export import export_c, freeze
from loom.export.c.text import source_text
from loom.ir.message import format_value
from loom.nn.spec.base.text import value_digest

DOCUMENT = {
    "format": "loom/1", "input": {"shape": [4]},
    "layers": [{"type": "dense", "output_size": 6, "activation": "relu"}, {"type": "dense", "output_size": 3}],
}  # fmt: skip
OTHER = {
    "format": "loom/1", "inputs": {"a": {"shape": [2, 2]}, "b": {"shape": [3], "dtype": "i32"}},
    "nodes": {
        "flat": {"type": "flatten", "inputs": ["a"]},
        "table": {"type": "embedding", "vocab_size": 5, "embedding_dim": 2, "inputs": ["b"]},
        "two": {"type": "flatten", "inputs": ["table"]},
        "left": {"type": "dense", "output_size": 1, "inputs": ["flat"]},
        "right": {"type": "dense", "output_size": 2, "inputs": ["two"]},
    },
    "outputs": ["left", "right"],
}  # fmt: skip
SETTINGS: dict[str, Any] = {"optimizer": "adamw", "learning_rate": 0.01, "batch_size": 16, "seed": 5, "epochs": 2}
FUNCTIONS = ("CreateLoomNetwork", "LoomForward", "LoomTrain", "LoomSaveModel", "LoomLoadModel", "LoomEvaluateNetwork")


class Library:
    """The functions as C sees them: texts and JSON values in, JSON values out."""

    def __init__(self, path: Path) -> None:
        self.library = ctypes.CDLL(str(path))
        for name in FUNCTIONS:
            getattr(self.library, name).restype = ctypes.c_char_p
        self.library.LoomMemoryNeeded.restype = ctypes.c_size_t

    def text(self, function: str, *arguments: Any) -> str:
        given = [a.encode() if isinstance(a, str) else a for a in arguments]
        return getattr(self.library, function)(*given).decode()

    def __call__(self, function: str, *arguments: Any) -> Any:
        return json.loads(
            self.text(function, *(json.dumps(a) if isinstance(a, (list, dict)) else a for a in arguments))
        )


def samples() -> tuple[Any, Any]:
    values = np.random.default_rng(0)
    return values.normal(size=(40, 4)).astype(np.float32), values.integers(0, 3, 40).astype(np.int32)


def network(document: dict[str, Any] = DOCUMENT) -> loom.Network:
    return loom.Network.from_json(document, on="cpu")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("json")
    nets = [freeze(network(), name="small", train=SETTINGS, data=samples()), freeze(network(OTHER), name="other")]
    export_c(nets, made, optimize="size", name="both")
    return made


@pytest.fixture
def library(folder: Path) -> Library:
    found = Library(folder / "x86_64-linux" / "libboth.so")
    found.library.LoomFree(None)
    return found


def data() -> list[dict[str, Any]]:
    return [{"input": a.tolist(), "target": int(b)} for a, b in zip(*samples(), strict=True)]


def test_it_computes_and_trains_to_the_bits_of_loom(library: Library) -> None:
    net, (x, y) = network(), samples()
    assert library("CreateLoomNetwork", DOCUMENT) == {"status": "created", "network": "small", "digest": net.digest()}
    assert np.array(library("LoomForward", x.tolist()), np.float32).tobytes() == net.predict(x).tobytes()
    assert np.array(library("LoomForward", x[3].tolist()), np.float32).tobytes() == net.predict(x[3:4])[0].tobytes()
    told = library("LoomTrain", {"epochs": 2, "learning_rate": 0.01, "data": data()})
    history = net.train(x, y, progress=False, **SETTINGS)
    assert told == {"status": "trained", "epochs": 2, "loss": history.loss[-1], "digest": net.digest()}


def test_a_document_is_known_however_it_is_written(library: Library) -> None:
    turned = json.dumps({key: DOCUMENT[key] for key in reversed(DOCUMENT)}, indent=3).replace("6", "6.0e0")
    assert library("CreateLoomNetwork", turned.replace("relu", "\\u0072elu"))["network"] == "small"
    assert library("CreateLoomNetwork", "other")["network"] == "other"
    assert library("CreateLoomNetwork", ' "small" ')["network"] == "small"
    for wrong in (turned.replace("relu", "gelu"), "nobody", "{}", "[1]"):
        assert "loom export" in library("CreateLoomNetwork", wrong)["error"]


def test_several_inputs_and_outputs_go_by_name(library: Library) -> None:
    net = network(OTHER)
    library("CreateLoomNetwork", "other")
    a, b = np.arange(4, dtype=np.float32).reshape(1, 2, 2) / 3, np.array([[1, 0, 4]], np.int32)
    expected = {name: each[0].tolist() for name, each in net.predict({"a": a, "b": b}).items()}
    sample = {"b": [1, 0, 4], "a": a[0].tolist()}
    found = library("LoomForward", [sample, sample | {"a": a[0].reshape(-1).tolist()}])
    assert [{name: np.float32(each).tolist() for name, each in one.items()} for one in found] == [expected] * 2
    for wrong in (
        {"a": a[0].tolist()},
        sample | {"c": 1},
        sample | {"b": [1, 0.5, 4]},
        sample | {"b": [1, 0, 1 << 31]},
    ):
        assert "takes" in library("LoomForward", wrong)["error"]


def test_ids_and_classes_that_are_not_there_are_told(library: Library) -> None:
    library("CreateLoomNetwork", "other")
    assert "error" not in library("LoomForward", {"a": [1, 2, 3, 4], "b": [1, 0, 4]})
    for wrong in (5, -1, 1 << 30):
        assert (
            "an id that the vocabulary does not have"
            in library("LoomForward", {"a": [1] * 4, "b": [1, 0, wrong]})["error"]
        )
    library("CreateLoomNetwork", "small")
    wrong = data()
    wrong[39]["target"] = 3
    before = library.text("LoomSaveModel", "m")
    assert "no class of the output" in library("LoomTrain", {"data": wrong})["error"]
    assert library.text("LoomSaveModel", "m") == before


def test_models_pass_between_loom_and_c(library: Library) -> None:
    net, (x, y) = network(), samples()
    library("CreateLoomNetwork", "small")
    library("LoomTrain", {"data": data()})
    kept = library.text("LoomSaveModel", "once")
    whole = library("LoomTrain", {"data": data()})["digest"]
    assert library("LoomLoadModel", kept, "once")["training"] == "goes on"
    assert library("LoomTrain", {"data": data()})["digest"] == whole
    assert loom.Network.load(library.text("LoomSaveModel", "twice"), "twice").digest() == whole
    net.train(x, y, progress=False, **SETTINGS | {"epochs": 1})
    found = library("LoomLoadModel", net.save(id="of Loom"), "of Loom")
    assert found == {"status": "loaded", "network": "small", "training": "begins anew", "digest": net.digest()}
    pointer = library.library.LoomSaveModel
    pointer.restype = ctypes.c_void_p
    text = ctypes.c_void_p(pointer(b"m"))  # what a function gave may be given to the next
    library.library.LoomLoadModel.restype = ctypes.c_char_p
    assert json.loads(library.library.LoomLoadModel(text, None))["digest"] == net.digest()
    pointer.restype = ctypes.c_char_p


def drawn_value(draw: random.Random, depth: int = 0) -> Any:
    """Return a JSON value of any kind."""
    kind = draw.randrange(8 if depth < 4 else 6)
    if kind < 2:
        return draw.choice([None, True, False, 0, -0.0, 1, -1, 2**53, -(2**53) - 1, 2**64 - 1, 2**70, 10**400, 1e-320])
    if kind < 4:
        return draw.choice([draw.uniform(-1e3, 1e3), draw.getrandbits(64) * 1e280, draw.randrange(-(2**63), 2**63)])
    if kind < 6:
        return "".join(draw.choice('ab"\\\n\x01é€\U0001f40d') for _ in range(draw.choice([0, 3, 62, 63, 64, 130])))
    if kind == 6:
        return [drawn_value(draw, depth + 1) for _ in range(draw.randrange(5))]
    return {f"k{i}{'é' * i}": drawn_value(draw, depth + 1) for i in range(draw.randrange(5))}


def test_c_tells_a_bundle_that_is_not_whole(library: Library) -> None:
    library("CreateLoomNetwork", "small")
    of_c, of_loom, draw = library.text("LoomSaveModel", "m"), network().save(id="m"), random.Random(3)
    assert loom.Network.load(of_c).digest() == network().digest()
    for text in (of_c, of_loom):
        older = {key: each for key, each in json.loads(text).items() if key != "sha256"}
        assert library("LoomLoadModel", older, "m")["status"] == "loaded"
        for _ in range(200):
            at = draw.randrange(len(text))
            damaged = text[:at] + draw.choice("ABab01 ") + text[at + 1 :]
            same = damaged == text or (damaged[at] == " " and text[at].isspace())
            assert ("error" in library("LoomLoadModel", damaged, "m")) != same, (at, damaged[at - 20 : at + 20])
    assert "its SHA-256 is another" in library("LoomLoadModel", of_c.replace('"id":"m"', '"id":"n"'), "n")["error"]


def test_digests_of_values_are_those_of_loom(library: Library) -> None:
    draw, bundle = random.Random(11), json.loads(network().save(id="m"))
    for _ in range(60):
        given: Any = bundle | {"comment": drawn_value(draw)}
        given["sha256"] = value_digest({key: each for key, each in given.items() if key != "sha256"}).hex()
        text = json.dumps(given, ensure_ascii=draw.random() < 0.5, sort_keys=draw.random() < 0.5)
        assert library("LoomLoadModel", text, "m").get("status") == "loaded", given["comment"]


def test_evaluation_is_that_of_loom(library: Library) -> None:
    net, (x, y) = network(), samples()
    library("CreateLoomNetwork", "small")
    found, expected = library("LoomEvaluateNetwork", x.tolist(), y.tolist()), net.evaluate(x, y).deviation
    assert expected is not None
    wanted = expected.to_dict()
    assert {k: v["count"] for k, v in found.pop("buckets").items()} == {
        k: v["count"] for k, v in wanted.pop("buckets").items()
    }
    assert found == json.loads(json.dumps(wanted, default=vars))


WRONG = {
    "LoomForward": ["", "[1,2,3", "[1,2,3]", "[1,2,3,1e39]", "[1,2,3,NaN]", '"\\ud800"', "[" * 100, "[1,2,3,04]", None],
    "LoomTrain": ["{}", '{"data":[]}', '{"data":[],"epochs":0}', '{"data":[],"rate":1}', "7"],
    "LoomLoadModel": ["{}", '{"type":"loom/bundle","version":1,"models":[{"id":"a","cfg":{},"weights":{}}]}', "[]"],
}


def test_what_is_wrong_is_told_and_changes_nothing(library: Library) -> None:
    assert "CreateLoomNetwork" in library("LoomForward", "[1,2,3,4]")["error"]
    library("CreateLoomNetwork", "small")
    kept = library("LoomSaveModel", "kept")
    for function, texts in WRONG.items():
        for text in texts:
            assert library(function, text, *([None] if function == "LoomLoadModel" else []))["error"]
    broken = json.loads(json.dumps(kept))
    weight = broken["models"][0]["weights"]["tensors"]["layers.0.bias"]
    for change in ({"dtype": "f64"}, {"shape": [7]}, {"data": "AAAA"}, {"data": "AADAfwAAwH8AAMB/AADAfwAAwH8AAMB/"}):
        broken["models"][0]["weights"]["tensors"]["layers.0.bias"] = weight | change
        assert library("LoomLoadModel", broken, "kept")["error"]
    assert "no model of this id" in library("LoomLoadModel", kept, "other")["error"]
    assert library("LoomSaveModel", "kept") == kept


def test_memory_may_be_the_callers(library: Library) -> None:
    function = library.library.LoomMemory
    nbytes = library.library.LoomMemoryNeeded()
    memory = ctypes.create_string_buffer(nbytes)
    assert function(memory, ctypes.c_size_t(1000)) == 0
    assert function(memory, ctypes.c_size_t(nbytes)) == 1
    assert library("CreateLoomNetwork", "small")["digest"] == network().digest()
    assert function(None, ctypes.c_size_t(0)) == 1
    assert "error" in library("LoomForward", "[1,2,3,4]")


OLDER = {
    "id": "old", "batch_size": 1, "grid_rows": 1, "grid_cols": 1, "layers_per_cell": 1,
    "layers": [{"type": "dense", "input_size": 4, "output_size": 2, "activation": "sigmoid"}],
}  # fmt: skip


@pytest.mark.slow
def test_the_command_line_puts_documents_in_one_library(tmp_path: Path) -> None:
    from typer.testing import CliRunner

    from loom.cli.main import app

    (tmp_path / "older.json").write_text(json.dumps(OLDER))
    (tmp_path / "today.json").write_text(json.dumps(DOCUMENT))
    words = ["export", f"{tmp_path}/older.json", f"{tmp_path}/today.json", "--optimize", "size", "--name", "both"]
    assert CliRunner().invoke(app, [*words, "--out", str(tmp_path)]).exit_code == 2
    assert json.loads((tmp_path / "older.json").read_text()) == OLDER  # no manifest is written over it
    assert CliRunner().invoke(app, [*words, "--out", f"{tmp_path}/out"]).exit_code == 0
    library = Library(tmp_path / "out" / "x86_64-linux" / "libboth.so")
    net = loom.Network.from_json(OLDER, on="cpu")
    assert library("CreateLoomNetwork", OLDER) == {"status": "created", "network": "older", "digest": net.digest()}
    assert library("CreateLoomNetwork", DOCUMENT)["network"] == "today"


def test_names_in_one_library_differ() -> None:
    with pytest.raises(ArgumentError, match="not networks of different names"):
        export_c([freeze(network()), freeze(network())], "/nowhere")


_NUMBERS = """
#include <stddef.h>
#include <stdint.h>
typedef uint8_t u8; typedef uint32_t u32; typedef uint64_t u64; typedef int64_t i64;
%s
static Format of(int digits) { return digits == 11 ? HALF : digits == 8 ? BRAIN : digits == 24 ? SINGLE : DOUBLE; }
u64 parsed(int digits, const char *text) { return number_bits(of(digits), text); }
void printed(int digits, u64 bits, char *out) { out[number_text(of(digits), bits, out)] = 0; }
"""


class Numbers:
    """Reading and writing of floats of ``number.c``, under the sanitizer of undefined behaviour."""

    def __init__(self, folder: Path) -> None:
        (folder / "number.c").write_text(_NUMBERS % source_text("abi/number.c"))
        line = "gcc -std=c99 -O1 -fPIC -shared -fsanitize=undefined -fno-sanitize-recover number.c -o libnumber.so"
        subprocess.run(line.split(), cwd=folder, check=True)
        self.library = ctypes.CDLL(str(folder / "libnumber.so"))
        self.library.parsed.restype = ctypes.c_uint64
        self.library.printed.argtypes = [ctypes.c_int, ctypes.c_uint64, ctypes.c_char_p]
        self.out = ctypes.create_string_buffer(64)

    def parse(self, digits: int, text: str) -> int:
        return self.library.parsed(digits, text.encode())

    def print(self, digits: int, bits: int) -> str:
        self.library.printed(digits, bits, self.out)
        return self.out.value.decode()


@pytest.fixture(scope="module")
def numbers(tmp_path_factory: pytest.TempPathFactory) -> Numbers:
    return Numbers(tmp_path_factory.mktemp("number"))


def bits_of(value: float) -> int:
    return struct.unpack("<Q", struct.pack("<d", value))[0]


def double(bits: int) -> float:
    return struct.unpack("<d", struct.pack("<Q", bits))[0]


MANY = [400, pytest.param(100_000, marks=pytest.mark.slow)]


@pytest.mark.parametrize("many", MANY)
def test_doubles_are_read_and_written_as_python_does(many: int, numbers: Numbers) -> None:
    chance = random.Random(1)
    for n in range(many):
        bits = chance.getrandbits(64) & (0x7FF0000000000003 if n % 5 == 0 else -1)
        bits = bits_of(float(chance.randrange(1 << chance.randrange(1, 64)))) if n % 7 == 0 else bits
        if np.isfinite(double(bits)):
            assert numbers.print(53, bits) == repr(double(bits))
            assert numbers.parse(53, repr(double(bits))) == bits
        digits = "".join(chance.choice("0123456789") for _ in range(chance.choice([1, 8, 17, 40, 900])))
        text = f"{chance.choice(['', '-'])}{digits[0]}.{digits}e{chance.randrange(-400, 400)}"
        assert numbers.parse(53, text) == bits_of(float(text))
    for text in ("1e400", "-1e-400", "0e9999999999", "1" + "0" * 5000 + "e-5000", "0." + "0" * 5000 + "1e5000"):
        assert numbers.parse(53, text) == bits_of(float(text))


@pytest.mark.parametrize("many", MANY)
def test_floats_are_written_with_the_fewest_digits_that_read_back(many: int, numbers: Numbers) -> None:
    chance = random.Random(2)
    for digits, carrier, dtype in ((24, np.uint32, loom.f32), (11, np.uint16, loom.f16)):
        for n in range(min(many, 1 << 16)):
            bits = n if digits == 11 else chance.getrandbits(32) & (0xFF800003 if n % 5 == 0 else -1)
            value = np.array([bits], carrier).view(dtype.numpy)[0]
            if np.isfinite(value):
                text = numbers.print(digits, bits)
                assert text == format_value(value, dtype)
                assert numbers.parse(digits, text) == bits


@pytest.mark.parametrize("many", MANY)
def test_what_lies_between_two_floats_goes_to_the_even_one(many: int, numbers: Numbers) -> None:
    chance = random.Random(3)
    getcontext().prec = 1200

    def value(bits: int) -> Fraction:
        return Fraction(float(np.array([bits], np.uint32).view(np.float32)[0]))

    for _ in range(many // 10):
        bits = chance.getrandbits(31) % 0x7F7FFFFF
        half = (value(bits) + value(bits + 1)) / 2
        text = f"{Decimal(half.numerator) / Decimal(half.denominator):f}"
        assert numbers.parse(24, text) == bits + bits % 2
        more = text + ("" if "." in text else ".") + "0" * 900 + "1"
        assert numbers.parse(24, more) == bits + 1
