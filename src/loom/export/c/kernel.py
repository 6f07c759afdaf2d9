"""A single kernel as C: one function over memory of the caller, of any length, with any number of groups.

Layer: export. Invariant: what a dispatch refuses while it is recorded, the function refuses when it is called.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from math import isfinite
from pathlib import Path
from typing import Any

from loom.core.dtype import DType
from loom.core.late.dataclass import dataclass
from loom.core.numerics import Guarantee
from loom.core.version import __version__
from loom.export.c.build import Platform, link
from loom.export.c.example import print_loop, whole_example
from loom.export.c.levels import Compiled, Optimize, compile_levels, objects_of
from loom.export.c.tables import choice_of_levels
from loom.export.c.text import RESERVED, TYPES, byte_table, head, quote, source_text, table, tail, unique
from loom.export.kernel import FrozenKernel
from loom.ir.kernel import Memory
from loom.ir.records import RecordLayout, record_of
from loom.runtime.chain.meetings import condition_of
from loom.runtime.plans.groups import largest_groups

__all__ = ["CODES", "export_kernel", "kernel_header", "kernel_manifest", "kernel_source"]

CODES: dict[str, str] = {
    "OK": "done",
    "NULL": "a pointer is NULL: pass memory for each buffer that has elements",
    "TOO_MANY": "too many elements, lanes or groups: fewer than 2^32 of each, and at most 2^32 lanes along a dimension",
    "OVERLAP": "two buffers share memory and one of them is written: pass separate memory",
    "ALIGNMENT": "memory is not aligned as its elements ask: pass an array of the type in the header",
}
"""What the function returns, and what ``message`` says of it."""
_FAILED = {"FAILED": "an assertion of the kernel failed, in lanes that went on no further: tell is given its text"}
"""Of kernels that print or assert."""


def _codes(frozen: FrozenKernel) -> dict[str, str]:
    return CODES | (_FAILED if frozen.kernel.talks else {})


def export_kernel(
    frozen: FrozenKernel, folder: Path, platforms: Sequence[Platform], optimize: Optimize
) -> tuple[list[Path], int]:
    """Write a kernel as C; return the files, and the bytes of its code for the first platform."""
    listener = _LISTENER if frozen.kernel.talks else ""
    files = {
        f"{frozen.name}.h": kernel_header(frozen),
        f"{frozen.name}.json": kernel_manifest(frozen) + "\n",
        "main.c": whole_example(frozen.name, _example(frozen), platforms, before=listener),
    }
    written = [folder / name for name in files]
    for path, text in zip(written, files.values(), strict=True):
        path.write_text(text, encoding="utf-8")
    sizes: list[int] = []
    for platform in platforms:
        place = folder / platform.name
        place.mkdir(exist_ok=True)
        with tempfile.TemporaryDirectory() as scratch:
            levels = compile_levels(frozen, platform, optimize, Path(scratch), talks=True)
            objects = objects_of(levels)
            source = Path(scratch) / f"{frozen.name}.c"
            source.write_text(kernel_source(frozen, levels), encoding="utf-8")
            (Path(scratch) / f"{frozen.name}.h").write_text(kernel_header(frozen), encoding="utf-8")
            written += link(platform, frozen.name, [source], objects, place)
            sizes.append(sum(path.stat().st_size for path in objects))
    return written, sizes[0]


@dataclass(frozen=True, slots=True)
class _Buffer:
    """A buffer as C sees it: type of its elements, names of pointer and lengths, words of a record."""

    memory: Memory
    kind: str
    name: str
    lengths: tuple[str, ...]
    words: int

    @property
    def parameters(self) -> list[str]:
        """What the function takes for it."""
        const = "" if self.memory.access.writes else "const "
        return [f"{const}{self.kind} *{self.name}", *(f"size_t {n}" for n in self.lengths)]

    @property
    def elements(self) -> str:
        """How many it holds, in C."""
        return " * ".join([f"(u64){n}" for n in self.lengths] + ([f"{self.words}"] if self.words > 1 else []))


@dataclass(frozen=True, slots=True)
class _Names:
    """Names of C's parameters, all of them different."""

    buffers: list[_Buffer]
    params: list[str]
    groups: list[str]

    @classmethod
    def of(cls, frozen: FrozenKernel, numbered: bool = False) -> _Names:
        """``numbered``: for the function's own text, where names of the runtime are known besides."""
        taken = {*RESERVED, frozen.name, "tell", "user"}
        plain = _kinds(frozen)
        taken |= set(plain.values())
        pointers = [f"b{n}" if numbered else unique(m.name, taken) for n, m in enumerate(frozen.kernel.bound)]
        buffers: list[_Buffer] = []
        for m, pointer in zip(frozen.kernel.bound, pointers, strict=True):
            several = range(m.ndim if m.ndim > 1 else 0)
            lengths = [unique(f"{pointer}_shape{k}", taken) for k in several] or [unique(f"{pointer}_count", taken)]
            words = record_of(m.record).words if m.record else 1
            kind = plain[m.name] if m.record else TYPES[m.dtype.scalar.name]
            buffers.append(_Buffer(m, kind, pointer, tuple(lengths), words))
        params = [f"p{n}" if numbered else unique(p.name, taken) for n, p in enumerate(frozen.kernel.given)]
        return cls(buffers, params, [unique(f"groups_{axis}", taken) for axis in "xyz"])

    def signature(self, frozen: FrozenKernel) -> str:
        """Return the parameters of the function."""
        given = zip(frozen.kernel.given, self.params, strict=True)
        return ", ".join([
            *(text for b in self.buffers for text in b.parameters),
            *(f"{TYPES[p.dtype.name]} {name}" for p, name in given),
            *(f"uint32_t {g}" for g in self.groups),
            *([f"{frozen.name}_tell *tell", "void *user"] if frozen.kernel.talks else []),
        ])  # fmt: skip


def _kinds(frozen: FrozenKernel) -> dict[str, str]:
    """Return the C types of records, by the buffers that hold them."""
    taken = {f"{frozen.name}_{function}" for function in ("run", "manifest", "message", "tell")}
    return {m.name: unique(f"{frozen.name}_{m.name}", taken) for m in frozen.kernel.bound if m.record}


def kernel_header(frozen: FrozenKernel) -> str:
    """Return the C header: codes, the workgroup, records, the function."""
    name, upper, names = frozen.name, frozen.name.upper(), _Names.of(frozen)
    codes = "\n".join(f"  {upper}_{code} = {n}, /* {text} */" for n, (code, text) in enumerate(_codes(frozen).items()))
    lanes = "\n".join(
        f"#define {upper}_GROUPS_{axis}(lanes) ((uint32_t)(((lanes) + {n - 1}) / {n}))" if n > 1
        else f"#define {upper}_GROUPS_{axis}(lanes) ((uint32_t)(lanes))"
        for axis, n in zip("XYZ", frozen.kernel.workgroup, strict=True)
    )  # fmt: skip
    records = "".join(_record(b.kind, record_of(b.memory.record)) for b in names.buffers if b.memory.record)
    loose = _LOOSE * frozen.kernel.is_loose
    return f"""/* {name}: a kernel exported by Loom {__version__}. Generated; do not edit.
 *
 * The function returns a code; {name}_message says what it means. It keeps nothing: any number of threads may call it.
 * Counts are elements (of short vectors: whole vectors), arrays are row-major. 16-bit floats are their bits.{loose} */
{head(upper)}
enum {{
{codes}
}};

/* Groups for so many lanes along a dimension: the kernel has {frozen.kernel.workgroup} lanes in a group. */
{lanes}
{records}{_TELL.format(name=name) if frozen.kernel.talks else ""}
int {name}_run({names.signature(frozen)});

const char *{name}_manifest(void); /* JSON */
const char *{name}_message(int code);
{tail()}"""


_LOOSE = """
 * Nothing is promised of its results, which the order of lanes may show (order="any")."""
_TELL = """
/* Is given what the kernel prints, line by line, and at last the assertion that failed, if one did; may be NULL. */
typedef void {name}_tell(void *user, int is_fault, const char *text);
"""


def _record(kind: str, layout: RecordLayout) -> str:
    return f"\n#pragma pack(push, 4)\ntypedef struct {_struct(layout)} {kind};\n#pragma pack(pop)\n"


def _struct(layout: RecordLayout) -> str:
    """Return the fields of a record as they lie in its words."""
    taken, lines = set[str](RESERVED), list[str]()
    for field in layout.fields:
        name = unique(field.name, taken)
        if isinstance(field.kind, RecordLayout):
            lines.append(f"  struct {_struct(field.kind)} {name};")
            continue
        lanes = f"[{field.kind.lanes}]" if field.kind.is_vector else ""
        lines.append(f"  {TYPES[field.kind.scalar.name]} {name}{lanes};")
        if missing := field.words * 4 - field.kind.nbytes:
            lines.append(f"  uint8_t {unique(f'{name}_rest', taken)}[{missing}];")
    return "{\n" + "\n".join(lines) + "\n}"


def kernel_manifest(frozen: FrozenKernel) -> str:
    """Return JSON: version, workgroup, buffers, parameters."""
    kernel = frozen.kernel
    found: dict[str, Any] = {
        "format": "loom/export/1",
        "kind": "kernel",
        "name": frozen.name,
        "loom": __version__,
        "workgroup": list(kernel.workgroup),
        "buffers": [_buffer_facts(m) for m in kernel.bound],
        "params": [
            {"name": p.name, "dtype": p.dtype.name} | ({} if p.default is None else {"default": _as_json(p.default)})
            for p in kernel.given
        ],
        "guarantee": (Guarantee.FAST if kernel.is_loose else Guarantee.BIT_EXACT).name,
        **({"conditions": [condition]} if (condition := condition_of(kernel)) else {}),
    }
    return json.dumps(found, separators=(",", ":"))


def _as_json(number: Any) -> Any:
    """Return a default as readers of JSON keep it: what is infinite, or a whole number beyond 2^53, as a text."""
    if isinstance(number, (bool, int)):
        return number if abs(number) < 1 << 53 else str(number)
    return number if isfinite(number) else _WORDS[str(float(number))]


_WORDS = {"inf": "Infinity", "-inf": "-Infinity", "nan": "NaN"}


def _buffer_facts(memory: Memory) -> dict[str, Any]:
    found: dict[str, Any] = {"name": memory.name, "dtype": memory.dtype.name, "access": memory.access.value}
    if memory.ndim > 1:
        found["ndim"] = memory.ndim
    if memory.record:
        found["record"] = memory.record
    if memory.fixed is not None:
        found["fixed"] = str(memory.fixed)
    return found


def kernel_source(frozen: FrozenKernel, levels: Sequence[Compiled]) -> str:
    """Return the C source of a kernel for the levels of one platform."""
    kernel, upper, image = frozen.kernel, frozen.name.upper(), levels[0].image
    places = frozen.tables(image)
    rows = [
        f"{{{m.dtype.nbytes}, {_alignment(m)}, {int(m in kernel.writes)}, {0 if at is None else at + 1}}}"
        for m, at in zip(kernel.buffers, places, strict=True)
    ]
    lengths = [0 if m.data is None else len(m.data) // m.dtype.nbytes for m in kernel.buffers]
    return "\n".join([
        f'#pragma GCC visibility push(default)\n#include "{frozen.name}.h"\n#pragma GCC visibility pop',
        f"#define LOOM(f) {frozen.name}_##f\n#define BUFFERS {len(rows)}",
        *(f"#define LOOM_{code} {upper}_{code}" for code in _codes(frozen)),
        f"#define LOOM_CODES {len(_codes(frozen))}\n#define TALKS {int(kernel.talks)}",
        source_text("common.c"),
        choice_of_levels(levels),
        table("Kernel *const", "kernels", [level.entries[0] for level in levels]),
        f"static const u32 workgroup[] = {{{', '.join(map(str, kernel.workgroup))}}};",
        table("u64", "table_elements", [str(n) for n in lengths]),
        byte_table("constants", bytes(image.constants)),
        table("const char *const", "messages", [quote(text) for text in _codes(frozen).values()]),
        f"static const char manifest[] = {quote(kernel_manifest(frozen))};",
        _BUFFER,
        table("Buffer", "buffers", rows),
        *([_texts(levels)] if kernel.talks else []),
        source_text("kernel.c"),
        _function(frozen),
    ])  # fmt: skip


_KINDS = {"f16": "FLOATS", "bf16": "FLOATS + 1", "f32": "FLOATS + 2", "f64": "FLOATS + 3", "bool": "TRUTH"}


def _texts(levels: Sequence[Compiled]) -> str:
    """Return the tables of a kernel's texts, and what makes lines of them."""
    found = levels[0].sites[0]
    assert all(level.sites[0] == found for level in levels)
    rows, pieces, types = list[str](), list[str](), list[str]()
    longest = 200
    for site in found:
        where = f"[kernel {site.kernel!r} at {Path(site.file).name}:{site.line}] assertion failed in lane "
        numbers = f"{int(site.kind == 'assert')}, {len(pieces)}, {len(site.pieces)}, {len(types)}"
        rows.append(f"{{{quote(where)}, {numbers}}}")
        pieces += [quote(text) for text in site.pieces]
        types += [_KINDS.get(kind, "SIGNED" if kind.startswith("i") else "UNSIGNED") for kind in site.dtypes]
        said = sum(len(text.encode()) for text in (where, *site.pieces))
        longest = max(longest, said + 32 * len(site.dtypes) + 64)
    return "\n".join([
        f"typedef int64_t i64;\n#define TEXT_NBYTES {longest}",
        "enum { SIGNED, UNSIGNED, TRUTH, FLOATS };",
        "typedef struct { const char *where; u32 is_fault, piece, pieces, type; } Site;",
        table("Site", "sites", rows),
        table("const char *const", "pieces", pieces),
        table("u32", "types", types),
        source_text("abi/number.c"),
        source_text("talk.c"),
    ])  # fmt: skip


_BUFFER = "typedef struct { u32 nbytes, aligned, writes, constant; } Buffer;"
"""``constant``: of a table one more than its offset among the constants."""


def _alignment(memory: Memory) -> int:
    return 4 if memory.record else memory.dtype.scalar.nbytes


def _function(frozen: FrozenKernel) -> str:
    """Return the function whose arguments are typed by the kernel's."""
    kernel, names = frozen.kernel, _Names.of(frozen, numbered=True)
    by_name = {b.memory.name: b for b in names.buffers}
    given = dict(zip((p.name for p in kernel.given), names.params, strict=True))
    lines = ["  u64 slots[] = {" + ", ".join(["0"] * max(len(kernel.params), 1)) + "};"]
    for n, p in enumerate(kernel.params):
        if p.extent is None:
            lines.append(f"  {_put(n, p.dtype, given[p.name])}")
            continue
        lines.append(f"  slots[{n}] = {by_name[p.extent[0]].lengths[p.extent[1]]};")
    checks = [f"  if ({n} > 0xffffffffu) return LOOM_TOO_MANY;" for b in names.buffers for n in b.lengths]
    if kernel.aparts:  # with more groups lanes would meet at an element in an order that shows
        most = zip(names.groups, largest_groups(kernel), strict=True)
        checks += [f"  if ({count} > {n}u) return LOOM_TOO_MANY;" for count, n in most]
    products = [
        f"  if ((double){' * (double)'.join(b.lengths)} * {b.words} > 4294967295.0) return LOOM_TOO_MANY;"
        for b in names.buffers
        if len(b.lengths) > 1 or b.words > 1
    ]
    memory, counts = (", ".join(each) or "0" for each in ([b.name for b in names.buffers],
                                                         [b.elements for b in names.buffers]))  # fmt: skip
    passed = [*names.groups, *(["tell", "user"] if kernel.talks else [])]
    body = "\n".join([
        *checks, *products, *lines,
        f"  const void *memory[] = {{{memory}}};\n  u64 counts[] = {{{counts}}};",
        "  __typeof__(enter()) old = enter();",
        f"  int code = start(memory, counts, slots, {', '.join(passed)});",
        "  leave(old);\n  return code;",
    ])  # fmt: skip
    return f"int {frozen.name}_run({names.signature(frozen)}) {{\n{body}\n}}\n"


def _put(slot: int, dtype: DType, name: str) -> str:
    if dtype.is_bool:
        return f"slots[{slot}] = {name} != 0;"
    return f"copy(slots + {slot}, &{name}, sizeof {name});"


_MANY = 1000
_LISTENER = """static void tell(void *user, int is_fault, const char *text) {
  (void)user;
  fprintf(is_fault ? stderr : stdout, "%s\\n", text);
}

"""


def _example(frozen: FrozenKernel) -> str:
    """Return the body of an example: a thousand elements in every buffer, the first of what is written shown."""
    kernel, names, name = frozen.kernel, _Names.of(frozen), frozen.name
    lines, arguments = list[str](), list[str]()
    taken = {*RESERVED, *(b.kind for b in names.buffers), "i", "puts", "printf", "tell"}
    arrays = [unique(b.memory.name, taken) for b in names.buffers]
    for b, array in zip(names.buffers, arrays, strict=True):
        side = max(1, round(_MANY ** (1 / len(b.lengths))))
        count = side ** len(b.lengths) * b.memory.dtype.lanes
        lines.append(f"  static {b.kind} {array}[{count}];")
        if not b.memory.record:
            lines.append(f"  for (int i = 0; i < {count}; i++) {array}[i] = ({b.kind})(i % 10);")
        arguments += [array, *[str(side)] * len(b.lengths)]
    arguments += [_value(p.dtype, p.default) for p in kernel.given]
    dimensions = max((len(b.lengths) for b in names.buffers), default=1)
    side = max(1, round(_MANY ** (1 / dimensions)))
    arguments += [f"{name.upper()}_GROUPS_{axis}({side if n < dimensions else 1})" for n, axis in enumerate("XYZ")]
    arguments += ["tell", "0"] if kernel.talks else []
    lines.append(f"  int code = {name}_run({', '.join(arguments)});")
    lines.append(f"  if (code) return puts({name}_message(code)), 1;")
    for b, array in zip(names.buffers, arrays, strict=True):
        if b.memory in kernel.writes and not b.memory.record:
            lines.append(print_loop(array, 4))
    return "\n".join(lines)


def _value(dtype: DType, default: Any) -> str:
    if default is None or dtype.name in ("f16", "bf16"):
        return "1" if default is None else "0"
    if isinstance(default, bool):
        return str(int(default))
    if dtype.is_float:
        return repr(float(default)) if isfinite(default) else f'strtod("{float(default)}", 0)'
    return f"({int(default) + 1}ll - 1)" if default < 0 else f"{int(default)}ull"
