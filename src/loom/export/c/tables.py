"""A frozen network as C tables, which ``src/loom/export/c/runtime.c`` works on: one set of them for each level.

Layer: export. Invariant: the C text depends on the network, the settings and the levels alone; levels share one state.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import prod
from typing import Any, Protocol

from loom.core.arrays import Array
from loom.core.errors import ArgumentError
from loom.core.late.dataclass import dataclass
from loom.export.c.levels import Compiled
from loom.export.c.source import CODES, manifest, ports_in_order, wrappers
from loom.export.c.text import byte_table, quote, source_text, table
from loom.export.frozen import ALIGNMENT, FrozenDispatch, FrozenProgram, Image, Named, Region, round_up
from loom.export.network import FrozenNetwork
from loom.formats.safetensors import DIGEST_KEY, NO_DIGEST, encode_header
from loom.ir.verified import VerifiedKernel
from loom.nn.base.resumption import PROGRESS, PROGRESS_NUMBERS
from loom.nn.train.losses import PADDING
from loom.nn.weights.saved import KEPT, network_metadata, training_metadata

__all__ = ["Face", "Runnable", "choice_of_levels", "level_tables", "runnable_tables", "tables"]

_SAFETENSORS = {
    "f64": "F64", "f32": "F32", "f16": "F16", "bf16": "BF16", "i64": "I64", "i32": "I32", "i16": "I16", "i8": "I8",
    "u64": "U64", "u32": "U32", "u16": "U16", "u8": "U8", "bool": "BOOL",
}  # fmt: skip
_KINDS = {"forward": "FORWARD", "step": "STEP", "score": "SCORE", "sum": "SUM", "update": "UPDATE"}
_FLOATS = {"f64": "F64", "f32": "F32", "f16": "F16", "bf16": "BF16"}
_FORMS = {"": "ANY", "chances": "BETWEEN", "tokens": "WHOLE", "classes": "WHOLE", "padded": "PADDED"}


class Runnable(Protocol):
    """What has programs over one state: a network, a function of tensors, a chain."""

    name: str

    @property
    def inputs(self) -> Sequence[Any]:
        """What its first kind of program takes."""
        ...

    @property
    def outputs(self) -> Sequence[Any]:
        """What that gives."""
        ...

    def start(self, image: Image) -> bytes:
        """Return the state that it begins with."""
        ...

    def weights(self) -> Mapping[str, Array]:
        """Return what its digest is of."""
        ...


@dataclass(frozen=True, slots=True)
class Face:
    """What callers see of it: the manifest, functions with types, and the ports of a program in their order."""

    manifest: str
    wrappers: str
    in_order: Callable[[FrozenProgram], Sequence[Named]]


def tables(net: FrozenNetwork, levels: Sequence[Compiled]) -> str:
    """Return the C source of a network for the levels of one platform."""
    first = levels[0].image
    face = Face(manifest(net, first), wrappers(net), lambda program: ports_in_order(program, net))
    return runnable_tables(net, levels, face, net)


def runnable_tables(frozen: Runnable, levels: Sequence[Compiled], face: Face, net: FrozenNetwork | None = None) -> str:
    """Return the C source of what has programs, for the levels of one platform; ``net``: if it may train."""
    first = levels[0].image
    assert all(level.image.tensors == first.tensors for level in levels)
    saved, saved_header, tensors = _file_layout(frozen, first, net)
    fills, start = _start(frozen, first)
    training = net.training if net is not None else None
    sources = [*(["threads"] if net is not None and net.threads else []), "runtime", "training", "sha", "files"]
    rates = [float(r).hex() for r in training.rates] if training is not None else ["0"]
    parts = [
        f'#pragma GCC visibility push(default)\n#include "{frozen.name}.h"\n#pragma GCC visibility pop',
        f"#define LOOM(f) {frozen.name}_##f\n#define NET {frozen.name}",
        _defines(frozen, net, first, saved, saved_header, len(rates)),
        level_tables(levels, face.in_order),
        table("double", "rates", rates),
        table("Tensor", "tensors", tensors),
        table("Fill", "fills", fills),
        table("Measure", "measures", _measures(net, first) if net is not None else []),
        table("Range", "ranges", _ranges(frozen, net, first)),
        table("const char *const", "messages", [quote(text) for text in CODES.values()]),
        byte_table("start", start),
        byte_table("saved_header", saved_header),
        f"static const char manifest[] = {quote(face.manifest)};",
        *(source_text(f"{file}.c") for file in sources),
        face.wrappers,
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
        "MOST_BOUND": max((len(d.bindings) for i in images for p in i.programs for d in p.dispatches), default=0) + 1,
        "INDEX": "uint16_t" if written.most("Place") < 1 << 16 else "u32",
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


def _defines(frozen: Runnable, net: FrozenNetwork | None, image: Image, saved: int, header: bytes, rates: int) -> str:
    training = net.training if net is not None else None
    numbers = {
        "TRAIN_SAMPLES": 0 if training is None else training.samples,
        "BATCH": 1 if training is None else training.batch,
        "SHUFFLE": int(training is not None and training.shuffle),
        "PADDING": PADDING,
        "SEED": f"{0 if training is None else training.seed}ull",
        "RATES": f"{rates}u", "INPUTS": len(frozen.inputs), "OUTPUTS": len(frozen.outputs),
        "TARGETS": len(net.targets) if net is not None else 0, "TENSORS": "(u32)(sizeof tensors / sizeof *tensors)",
        "ACCUMULATE": 1 if training is None else training.accumulate,
        "THREADED": int(net is not None and net.threads),
        "HELD_SAMPLES": 0 if training is None else training.held_out,
        "SAVED_NBYTES": f"{saved}ull", "SAVED_HEADER_NBYTES": f"{len(header)}ull", "PROGRESS": PROGRESS_NUMBERS,
        "DIGEST_AT": f"{header.index(NO_DIGEST.encode())}ull",
        "IDENTITY": quote(f'"{next(iter(_identity(frozen, net)))}"'),
    }  # fmt: skip
    if not image.tensors:
        numbers["TENSORS"] = "0u"
    sums, best = _extent(image, "state/sum."), _extent(image, "best/")
    numbers |= {"SUMS_OFFSET": f"{sums[0]}ull", "SUMS_NBYTES": f"{sums[1]}ull", "PATIENT": int(best[1] > 0)}
    if training is not None and training.patience is not None:
        numbers |= {
            "BEST_OFFSET": f"{best[0]}ull", "WEIGHTS_NBYTES": f"{best[1]}ull", "EPOCHS": f"{training.epochs}u",
            "PATIENCE": f"{max(training.patience, 1)}u", "LEAST_GAIN": float(training.least_gain).hex(),
        }  # fmt: skip
    upper = frozen.name.upper()
    numbers |= {f"LOOM_{code}": f"{upper}_{code}" for code in CODES} | {"LOOM_CODES": len(CODES)}
    return "\n".join(f"#define {key} {value}" for key, value in numbers.items())


def _extent(image: Image, prefix: str) -> tuple[int, int]:
    """Return offset and bytes of the stretch of the state with tensors whose names begin so."""
    found = [t for name, t in image.tensors.items() if name.startswith(prefix)]
    if not found:
        return 0, 0
    return found[0].offset, round_up(found[-1].offset + found[-1].nbytes) - found[0].offset


def _measures(net: FrozenNetwork, image: Image) -> list[str]:
    """Return how each target's accuracy is counted."""
    if net.training is None:
        return []
    score = next(p for p in image.programs if p.name.startswith("score"))
    found: list[str] = []
    for about, (_, dtype), out in zip(net.training.measures, net.targets, score.outputs[1:], strict=True):
        kind = "CLASSES" if about.classes else "CHANCES" if about.chance else "NEITHER"
        sizes = f"{about.classes}, {out.dtype.nbytes}, {dtype.nbytes}"
        found.append(f"{{{kind}, {sizes}, {about.above}}}")
    return found


class _Tables:
    """C arrays, each written once; ``texts`` by name."""

    def __init__(self) -> None:
        self.texts: dict[str, str] = {}
        self._names: dict[tuple[str, str], str] = {}
        self._sizes: dict[str, int] = {}

    def add(self, kind: str, name: str, rows: Sequence[str], each: str = "") -> str:
        """Return the name of an array of these rows, a new one if there is none like it; ``each``: a row's length."""
        key = (kind, "\n".join(rows))
        if key not in self._names:
            self._names[key] = f"{name}_{len(self._names)}"
            self._sizes[kind] = max(self._sizes.get(kind, 0), len(rows))
            self.texts[self._names[key]] = table(kind, self._names[key], rows, each)
        return self._names[key]

    def most(self, kind: str) -> int:
        """Return the rows of the longest array of a kind."""
        return self._sizes.get(kind, 0)

    def add_bytes(self, name: str, content: bytes) -> str:
        """Return the name of an array of 8-byte words with a content."""
        key = (name, content.hex())
        if key not in self._names:
            self._names[key] = f"{name}_{len(self._names)}"
            self.texts[self._names[key]] = byte_table(self._names[key], content)
        return f"{self._names[key]}_words"


def _level(written: _Tables, level: Compiled, in_order: Callable[[FrozenProgram], Sequence[Named]]) -> str:
    """Write a level's tables; return its row."""
    image, rows = level.image, _Rows()
    ports: list[str] = []
    programs: list[str] = []
    for program in image.programs:
        kind, _, samples = program.name.partition("_")
        programs.append(f"{{{_KINDS[kind]}, {samples}, {len(rows.rows)}, {len(program.dispatches)}, {len(ports)}}}")
        ports += [f"{{{p.offset}u, {p.nbytes}u}}" for p in in_order(program)]
        for d in program.dispatches:
            rows.add(d, _is_shared(image.kernels[d.kernel], d, level.level.caps.simd_lanes))
    names = [
        written.add("Kernel *const", "kernels", level.entries),
        written.add("Row", "rows", rows.rows),
        written.add("INDEX", "bindings", list(map(str, rows.bindings))),
        written.add("Place", "places", list(rows.places)),
        written.add("u32", "groups", list(rows.groups), "[3]"),
        written.add("u64", "params", [f"{p}ull" for p in rows.params]),
        written.add("Indirect", "indirects", rows.indirects),
        written.add("Port", "ports", ports),
        written.add("Program", "programs", programs),
        written.add_bytes("constants", bytes(image.constants)),
    ]
    return f"{{{', '.join(names)}, {len(programs)}}}"


class _Rows:
    """Dispatches as rows: what they have in common (places, groups, parameters) is written once."""

    def __init__(self) -> None:
        self.rows: list[str] = []
        self.bindings: list[int] = []
        self.places: dict[str, int] = {}
        self.groups: dict[str, int] = {}
        self.params: list[int] = []
        self.indirects: list[str] = []
        self._bound: dict[tuple[int, ...], int] = {}
        self._params: dict[tuple[int, ...], int] = {}

    def add(self, d: FrozenDispatch, shared: bool) -> None:
        """Write a dispatch; ``shared``: it is work enough for several threads."""
        bound = tuple(self.places.setdefault(_place(b), len(self.places)) for b in d.bindings)
        if bound not in self._bound:
            self._bound[bound] = len(self.bindings)
            self.bindings += bound
        if d.params not in self._params:
            self._params[d.params] = len(self.params)
            self.params += d.params
        groups = self.groups.setdefault(f"{{{d.groups[0]}u, {d.groups[1]}u, {d.groups[2]}u}}", len(self.groups))
        indirect = 0
        if d.indirect is not None:
            counts, (a, b, c) = d.indirect
            start = Region(counts.constant, counts.offset // ALIGNMENT * ALIGNMENT, 3)
            rest = counts.offset - start.offset
            self.indirects.append(f"{{{_place(start)}, {rest}u, {{{a}u, {b}u, {c}u}}}}")
            indirect = len(self.indirects)
        numbers = (d.kernel, groups, len(bound), indirect)
        assert max(numbers) < 1 << 16
        self.rows.append(
            f"{{{self._bound[bound]}, {self._params[d.params]}, {', '.join(map(str, numbers))}, {int(shared)}}}"
        )


_SMALL_OPERATIONS = 20_000
"""Fewer than this are some microseconds."""


def _is_shared(kernel: VerifiedKernel, d: FrozenDispatch, lanes: int) -> bool:
    """Tell whether a dispatch is worth the while of several threads; what has loops is taken to be."""
    if kernel.statements is None or d.indirect is not None:
        return True
    return prod(d.groups) * prod(kernel.workgroup) * max(1, kernel.statements) >= _SMALL_OPERATIONS * lanes


def _place(region: Region) -> str:
    """Return a region as C's ``Place``; ArgumentError for more memory than it tells."""
    at = region.offset // ALIGNMENT
    assert at * ALIGNMENT == region.offset
    if at >= 1 << 31 or region.elements >= 1 << 32:
        raise ArgumentError("loom.export", "the network is larger than an export can be", expected="below 128 GiB",
                            got=f"{region.elements} elements at byte {region.offset}",
                            remedy="Export fewer samples at once")  # fmt: skip
    return f"{{{at | int(region.constant) << 31}u, {region.elements}u}}"


def _start(net: Runnable, image: Image) -> tuple[list[str], bytes]:
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


def _ranges(frozen: Runnable, net: FrozenNetwork | None, image: Image) -> list[str]:
    """Return what the arrays of callers may hold: of a network inputs, then targets; of a program anything."""
    if net is None:
        return [f"{{OTHER, 1, {prod(a.shape)}u, ANY, 0}}" for a in frozen.inputs]
    ports = ports_in_order(next(p for p in image.programs if p.name.startswith("score")), net) if net.training else []
    each = [(dtype, prod(shape), net.tokens.get(name)) for name, dtype, shape in net.inputs]
    about = net.training.truths if net.training is not None else ()
    each += [(p.dtype, prod(p.shape[1:]), t) for p, t in zip(ports[len(net.inputs) :], about, strict=False)]
    rows: list[str] = []
    for dtype, elements, told in each:
        kind = _FLOATS.get(dtype.name, "INTEGER" if dtype.name[0] == "i" else "OTHER")
        form, most = ("ANY", 0) if told is None else (_FORMS[told.kind], told.most)
        rows.append(f"{{{kind}, {dtype.nbytes}, {elements}u, {form}, {most}}}")
    return rows


def _identity(frozen: Runnable, net: FrozenNetwork | None) -> dict[str, str]:
    """Return the metadata that tells a saved file's network, or program, from others."""
    return {"loom": f"export of {frozen.name}"} if net is None else network_metadata(net.network.spec)


def _file_layout(frozen: Runnable, image: Image, net: FrozenNetwork | None) -> tuple[int, bytes, list[str]]:
    """Return the bytes of a saved file after its header, the header, and the table of tensors.

    The file of a network is one of Loom's own (``loom.nn.weights.saved``): weights of bf16 are f32 there, what belongs
    to the training has names of its own, and is of the integers that hold its bits.
    """
    weights, training = frozen.weights(), net.training if net is not None else None
    at, about, rows = 0, dict[str, Any](), list[str]()
    for t in image.tensors.values():
        is_weight = net is None or t.name in weights
        is_wide = net is not None and is_weight and t.dtype.name == "bf16"
        kind = "F32" if is_wide else "U16" if not is_weight and t.dtype.name == "bf16" else _SAFETENSORS[t.dtype.name]
        size = t.nbytes * (2 if is_wide else 1)
        name = t.name if is_weight else f"{KEPT}{t.name}"
        about[name] = {"dtype": kind, "shape": list(t.shape), "data_offsets": [at, at + size]}
        told = "0"
        if t.name in weights:
            a = weights[t.name]
            told = quote(f"{t.name} {a.dtype.newbyteorder('<').str} {a.shape}\n")
        code = _FLOATS.get(t.dtype.name, "OTHER") if net is not None else "OTHER"
        fields = f"{t.offset}u, {t.nbytes}u, {at}u, {t.dtype.nbytes}, {code}, {int(is_wide)}"
        rows.append(f"{{{quote(t.name)}, {told}, {fields}}}")
        at += size
    metadata = {DIGEST_KEY: NO_DIGEST, **_identity(frozen, net)}
    if training is not None:
        size = 8 * PROGRESS_NUMBERS
        about[KEPT + PROGRESS] = {"dtype": "U64", "shape": [PROGRESS_NUMBERS], "data_offsets": [at, at + size]}
        at += size
        metadata |= training_metadata({"config": dict(training.config), "samples": training.samples})
    return at, encode_header({"__metadata__": metadata, **about}), rows
