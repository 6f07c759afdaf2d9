"""The first generation's functions with JSON texts, over the networks of one library.

Layer: export. Everything but the table of networks is C that no export changes. Invariant: a document is known by what
it says, whatever the order of its keys and however its numbers are written; ``identity`` here and in ``json.c`` agree.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping, Sequence
from typing import Any, cast

from loom.core.errors import ArgumentError
from loom.export.c.text import quote, source_text
from loom.export.network import FrozenNetwork

__all__ = ["HEADER", "functions", "identity"]

HEADER = "loom_json.h"
_MOST_PORTS, _MOST_AXES = 16, 8
_MASK = (1 << 64) - 1
_BASIS, _PRIME = 0xCBF29CE484222325, 0x100000001B3


def identity(value: Any) -> int:
    """Return 64 bits that tell a JSON value from others.

    >>> identity({"a": 1, "b": [True]}) == identity({"b": [True], "a": 1.0}) != identity({"a": 2, "b": [True]})
    True
    """
    if isinstance(value, str):
        return _mix(_fnv1a(b"s" + value.encode()))
    if isinstance(value, bool) or value is None:
        return _mix(ord({True: "t", False: "f", None: "n"}[value]))
    if isinstance(value, (int, float)):
        return _number(value)
    if isinstance(value, Mapping):
        h = ord("{")
        for key, each in cast("Mapping[str, Any]", value).items():
            h += _mix(identity(key) * 31 + identity(each) & _MASK)
        return _mix(h & _MASK)
    h = ord("[")
    for each in cast("Sequence[Any]", value):
        h = _mix(h * 31 + identity(each) & _MASK)
    return _mix(h)


def _number(value: float) -> int:
    told = struct.pack("<d", float(value) + 0.0)
    if isinstance(value, int) and 1 << 53 <= abs(value) <= _MASK:
        told += struct.pack("<Q", abs(value))
    return _mix(_fnv1a(b"n" + told))


def _fnv1a(content: bytes) -> int:
    h = _BASIS
    for byte in content:
        h = (h ^ byte) * _PRIME & _MASK
    return h


def _mix(h: int) -> int:
    for factor in (0xFF51AFD7ED558CCD, 0xC4CEB9FE1A85EC53):
        h = (h ^ h >> 33) * factor & _MASK
    return h ^ h >> 33


def functions(nets: Sequence[tuple[FrozenNetwork, str, int]]) -> str:
    """Return the C source of the functions over networks, each with its manifest and the bytes of its image."""
    glue = [_glue(number, net, json.loads(manifest)) for number, (net, manifest, _) in enumerate(nets)]
    rows = [row for _, row in glue]
    block = sum(_place_nbytes(net, nbytes) for net, _, nbytes in nets) + max(_rest_nbytes(*each) for each in nets)
    return "\n".join([
        "#pragma GCC visibility push(default)",
        f'#include <stdint.h>\n#include "{HEADER}"',
        "#pragma GCC visibility pop",
        source_text("common.c"),
        "typedef int64_t i64;",
        source_text("abi/number.c"),
        source_text("sha.c"),
        source_text("abi/json.c"),
        source_text("abi/abi.c"),
        f"#define BLOCK_NBYTES {block}ull\nenum {{ NETS = {len(nets)} }};",
        *(text for text, _ in glue),
        "static const Net nets[] = {\n" + ",\n".join(rows) + "\n};",
        source_text("abi/loom.c"),
        source_text("abi/bundles.c"),
        source_text("abi/measures.c"),
    ])  # fmt: skip


def _glue(number: int, net: FrozenNetwork, told: Mapping[str, Any]) -> tuple[str, str]:
    """Return functions of a network over lists of arrays, and its row of the table.

    They are declared by pointers of no type: names of networks may be those of anything else here.
    """
    name, training = net.name, told.get("training")
    targets: list[Any] = training["targets"] if training else []
    lists: list[list[Any]] = [told["inputs"], told["outputs"], targets]
    for ports in lists:
        if len(ports) > _MOST_PORTS or any(len(port["shape"]) > _MOST_AXES for port in ports):
            raise ArgumentError("loom.export", "too many arrays, or too many axes, for functions with JSON texts",
                                expected=f"at most {_MOST_PORTS} inputs and outputs of {_MOST_AXES} axes",
                                got=f"{len(ports)}", remedy="Join some")  # fmt: skip
    given = [f"x[{i}]" for i in range(len(told["inputs"]))]
    made = [f"y[{i}]" for i in range(len(told["outputs"]))]
    wanted = [f"x[{len(given) + i}]" for i in range(len(targets))]
    identities = sorted({identity(document) for document in net.documents})
    document = json.dumps(net.documents[0], separators=(",", ":"))
    pointers = [*["const void *"] * len(given), *["void *"] * len(made)]
    lines = [
        f"size_t {name}_size(void);\nint {name}_open(void *, size_t, void **);\nint {name}_reset(void *);",
        f"int {name}_forward(void *, {', '.join(pointers)}, u32);\nint {name}_digest(const void *, u8 *);",
        f"int {name}_save(const void *, void *, size_t, size_t *);\nint {name}_load(void *, const void *, size_t);\n"
        f"void {name}_seal(void *);",
        f"const char *{name}_manifest(void), *{name}_message(int);",
        f"static int forward_{number}(void *at, const void *const *x, void *const *y, u32 samples) {{\n"
        f"  return {name}_forward(at, {', '.join([*given, *made])}, samples);\n}}",
        f"static const u64 identities_{number}[] = {{{', '.join(f'{i:#x}ull' for i in identities)}, 0}};",
        f"static const char document_{number}[] = {quote(document)};",
    ]
    train = rate = "0"
    if net.training is not None:
        train = f"train_{number}"
        pointers = ["const void *"] * (len(given) + len(wanted))
        lines.append(
            f"int {name}_train(void *, {', '.join(pointers)}, u32, u32, double *);\n"
            f"static int {train}(void *at, const void *const *x, u32 samples, u32 epochs, double *loss) {{\n"
            f"  return {name}_train(at, {', '.join([*given, *wanted])}, samples, epochs, loss);\n}}"
        )
        if len(net.training.rates) == 1:
            rate = f"&rate_{number}"
            lines.append(f"static const double rate_{number} = {float(net.training.rates[0]).hex()};")
    columns = [f'"{name}"', f"document_{number}", f"identities_{number}", rate, f"{name}_size", f"{name}_open",
               f"{name}_reset", f"forward_{number}", train, f"{name}_digest", f"{name}_save", f"{name}_load",
               f"{name}_seal", f"{name}_manifest", f"{name}_message"]  # fmt: skip
    return "\n".join(lines), f"  {{{', '.join(columns)}}}"


def _place_nbytes(net: FrozenNetwork, image_nbytes: int) -> int:
    """Return enough bytes for a network: what its image takes, twice, and the order of its samples."""
    samples = net.training.samples if net.training is not None else 0
    return 2 * image_nbytes + 32 * samples + (1 << 17)


def _rest_nbytes(net: FrozenNetwork, manifest: str, image_nbytes: int) -> int:
    """Return enough bytes for what networks share: saved states, samples, results."""
    told = json.loads(manifest)
    training = told.get("training")
    count = net.training.samples if net.training is not None else 1
    ports: list[Any] = [*told["inputs"], *told["outputs"], *(training["targets"] if training else [])]
    samples = sum(_port_nbytes(port) * count + 64 for port in ports)
    return 8 * image_nbytes + samples + 16 * len(manifest) + 8 * len(json.dumps(net.documents[0])) + (1 << 18)


def _port_nbytes(port: Mapping[str, Any]) -> int:
    found = 8
    for n in port["shape"]:
        found *= n
    return found
