"""A frozen network as C tables, which ``src/loom/export/c/runtime.c`` works on: one set of them for each level.

Layer: export. Invariant: the C text depends on the network, the settings and the levels alone; levels share one state.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

from loom.export.c.levels import Compiled
from loom.export.c.source import CODES, manifest, ports_in_order, wrappers
from loom.export.c.text import byte_table, quoted, source_text, table
from loom.export.frozen import FrozenDispatch, FrozenProgram, Image, Named
from loom.export.network import FrozenNetwork

__all__ = ["choice_of_levels", "level_tables", "tables"]

_SAFETENSORS = {"f64": "F64", "f32": "F32", "f16": "F16", "bf16": "BF16", "u32": "U32", "u64": "U64"}
_KINDS = {"forward": "FORWARD", "step": "STEP", "score": "SCORE"}


def tables(net: FrozenNetwork, levels: Sequence[Compiled]) -> str:
    """Return the C source of a network for the levels of one platform."""
    first = levels[0].image
    assert all(level.image.tensors == first.tensors for level in levels)
    saved, saved_header, tensors = _saved(net, first)
    fills, start = _start(net, first)
    rates = [float(r).hex() for r in net.training.rates] if net.training is not None else ["0"]
    parts = [
        f'#pragma GCC visibility push(default)\n#include "{net.name}.h"\n#pragma GCC visibility pop',
        f"#define LOOM(f) {net.name}_##f\n#define NET {net.name}",
        _defines(net, saved, len(saved_header), len(rates)),
        level_tables(levels, lambda program: ports_in_order(program, net)),
        table("double", "rates", rates),
        table("Tensor", "tensors", tensors),
        table("Fill", "fills", fills),
        table("const char *const", "messages", [quoted(text) for text in CODES.values()]),
        byte_table("start", start),
        byte_table("saved_header", saved_header),
        f"static const char manifest[] = {quoted(manifest(net, first))};",
        source_text("runtime.c"),
        wrappers(net),
    ]
    return "\n".join(parts)


def level_tables(levels: Sequence[Compiled], in_order: Callable[[FrozenProgram], Sequence[Named]]) -> str:
    """Return the types of ``common.c``, and what each level runs; ``in_order``: a program's ports."""
    written = _Tables()
    rows = [_level(written, level, in_order) for level in levels]
    images = [level.image for level in levels]
    numbers = {
        "STATE_NBYTES": f"{images[0].state_nbytes}ull",
        "WORK_NBYTES": f"{max(i.ports_nbytes + i.scratch_nbytes for i in images)}ull",
        "BINDINGS": f"{max(sum(len(d.bindings) for p in i.programs for d in p.dispatches) for i in images)}u",
    }  # fmt: skip
    parts = [
        *(f"#define {key} {value}" for key, value in numbers.items()),
        source_text("common.c"),
        choice_of_levels(levels),
        *written.texts.values(),
        table("Level", "levels", rows),
    ]
    return "\n".join(parts)


def choice_of_levels(levels: Sequence[Compiled]) -> str:
    """Return the declarations of all kernels, and ``level_number``, which looks what the processor has."""
    entries = sorted({entry for level in levels for entry in level.entries})
    parts = [
        "#pragma GCC visibility push(hidden)",
        *(f"extern Kernel {entry};" for entry in entries),
        "#pragma GCC visibility pop",
        f"#define LEVELS {len(levels)}",
        table("u32", "needs", [str(level.level.needs) for level in levels]),
        source_text("levels.c"),
    ]
    return "\n".join(parts)


def _defines(net: FrozenNetwork, saved: int, header: int, rates: int) -> str:
    training = net.training
    numbers = {
        "TRAIN_SAMPLES": 0 if training is None else training.samples,
        "BATCH": 1 if training is None else training.batch,
        "SHUFFLE": int(training is not None and training.shuffle),
        "SEED": f"{0 if training is None else training.seed}ull",
        "RATES": f"{rates}u", "INPUTS": len(net.network.spec.inputs), "OUTPUTS": len(net.outputs),
        "TARGETS": len(net.targets), "TENSORS": "(u32)(sizeof tensors / sizeof *tensors)",
        "SAVED_NBYTES": f"{saved}ull", "SAVED_HEADER_NBYTES": f"{header}ull",
    }  # fmt: skip
    upper = net.name.upper()
    numbers |= {f"LOOM_{code}": f"{upper}_{code}" for code in CODES} | {"LOOM_CODES": len(CODES)}
    return "\n".join(f"#define {key} {value}" for key, value in numbers.items())


class _Tables:
    """C arrays, each written once; ``texts`` by name."""

    def __init__(self) -> None:
        self.texts: dict[str, str] = {}
        self._names: dict[tuple[str, str], str] = {}

    def add(self, kind: str, name: str, rows: Sequence[str]) -> str:
        """Return the name of an array of these rows, a new one if there is none like it."""
        key = (kind, "\n".join(rows))
        if key not in self._names:
            self._names[key] = f"{name}_{len(self._names)}"
            self.texts[self._names[key]] = table(kind, self._names[key], rows)
        return self._names[key]

    def add_bytes(self, name: str, content: bytes) -> str:
        """Return the name of an array of 8-byte words with a content."""
        key = (name, content.hex())
        if key not in self._names:
            self._names[key] = f"{name}_{len(self._names)}"
            self.texts[self._names[key]] = byte_table(self._names[key], content)
        return f"{self._names[key]}_words"


def _level(written: _Tables, level: Compiled, in_order: Callable[[FrozenProgram], Sequence[Named]]) -> str:
    """Write a level's tables; return its row."""
    image = level.image
    rows: list[str] = []
    bindings: list[str] = []
    params: list[str] = []
    indirects: list[str] = []
    ports: list[str] = []
    programs: list[str] = []
    for program in image.programs:
        kind, _, samples = program.name.partition("_")
        programs.append(f"{{{_KINDS[kind]}, {samples}, {len(rows)}, {len(program.dispatches)}, {len(ports)}}}")
        ports += [f"{{{p.offset}u, {p.nbytes}u}}" for p in in_order(program)]
        for d in program.dispatches:
            if d.indirect is not None:
                counts, (a, b, c) = d.indirect
                indirects.append(f"{{{int(counts.constant)}, {counts.offset}u, {{{a}u, {b}u, {c}u}}}}")
            rows.append(_row(d, len(bindings), len(params), len(indirects) if d.indirect is not None else 0))
            bindings += [f"{{{b.offset}u, {b.elements}u, {int(b.constant)}}}" for b in d.bindings]
            params += [f"{p}ull" for p in d.params]
    names = [
        written.add("Kernel *const", "kernels", level.entries),
        written.add("Row", "rows", rows),
        written.add("Place", "bindings", bindings),
        written.add("u64", "params", params),
        written.add("Indirect", "indirects", indirects),
        written.add("Port", "ports", ports),
        written.add("Program", "programs", programs),
        written.add_bytes("constants", bytes(image.constants)),
    ]
    numbers = (
        f"{image.ports_nbytes}ull",
        f"{image.scratch_nbytes}ull",
        len(bindings),
        len(programs),
    )
    return f"{{{', '.join(names)}, {', '.join(map(str, numbers))}}}"


def _row(d: FrozenDispatch, binding: int, param: int, indirect: int) -> str:
    x, y, z = d.groups
    return f"{{{d.kernel}, {binding}, {param}, {indirect}, {{{x}u, {y}u, {z}u}}}}"


def _start(net: FrozenNetwork, image: Image) -> tuple[list[str], bytes]:
    """Return which stretches of the state begin as something else than zeros, and their bytes one after the other."""
    state, fills, found = net.start(image), list[list[int]](), bytearray()
    for t in image.tensors.values():
        content = state[t.offset : t.offset + t.nbytes]
        if not any(content):
            continue
        if fills and t.offset == -(-sum(fills[-1][:2]) // 64) * 64:
            gap = t.offset - sum(fills[-1][:2])
            found += bytes(gap)
            fills[-1][1] += gap + t.nbytes
        else:
            found += bytes(-len(found) % 8)
            fills.append([t.offset, t.nbytes, len(found)])
        found += content
    return [f"{{{offset}u, {nbytes}u, {at}u}}" for offset, nbytes, at in fills], bytes(found)


def _saved(net: FrozenNetwork, image: Image) -> tuple[int, bytes, list[str]]:
    """Return the bytes of a saved file after its header, the header, and the table of tensors."""
    weights = net.network.model.weights()
    at, about, rows = 0, dict[str, Any](), list[str]()
    for t in image.tensors.values():
        kind = _SAFETENSORS[t.dtype.name]
        about[t.name] = {"dtype": kind, "shape": list(t.shape), "data_offsets": [at, at + t.nbytes]}
        told = "0"
        if t.name in weights:
            a = weights[t.name]
            told = quoted(f"{t.name} {a.dtype.newbyteorder('<').str} {a.shape}\n")
        code = {"f64": "F64", "f32": "F32", "f16": "F16", "bf16": "BF16"}.get(t.dtype.name, "OTHER")
        fields = f"{t.offset}u, {t.nbytes}u, {at}u, {t.dtype.nbytes}, {code}"
        rows.append(f"{{{quoted(t.name)}, {told}, {fields}}}")
        at += t.nbytes
    about["state/progress"] = {"dtype": "U64", "shape": [2], "data_offsets": [at, at + 16]}
    text = json.dumps({"__metadata__": {"loom": f"export of {net.name}"}, **about}, separators=(",", ":")).encode()
    text = text.ljust(-(-len(text) // 8) * 8)
    return at + 16, len(text).to_bytes(8, "little") + text, rows
