"""A program of tensors, or a chain, as C: one function over arrays, and the memory that it keeps.

Layer: export. Invariant: it has the functions of a network that have a meaning here, and they mean the same.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from math import prod
from pathlib import Path
from typing import Any

from loom.core.version import __version__
from loom.export.c.build import Platform, link
from loom.export.c.example import print_loop, whole_example
from loom.export.c.levels import Compiled, Optimize, compile_levels, objects_of
from loom.export.c.source import CODES
from loom.export.c.tables import Face, runnable_tables
from loom.export.c.text import RESERVED, TYPES, head, tail, unique
from loom.export.frozen import Image
from loom.export.program import Argument, FrozenFunction
from loom.nn.network import digest_of

__all__ = ["export_function", "program_header", "program_manifest", "program_source"]


def export_function(
    frozen: FrozenFunction, folder: Path, platforms: Sequence[Platform], optimize: Optimize
) -> tuple[list[Path], int, int, int]:
    """Write a function as C; return the files, and of the first platform bytes of its block, kernels, bytes of code."""
    header, libraries, sizes = program_header(frozen), list[Path](), list[tuple[int, int, int]]()
    told = ""
    for platform in platforms:
        place = folder / platform.name
        place.mkdir(exist_ok=True)
        with tempfile.TemporaryDirectory() as scratch:
            here = Path(scratch)
            levels = compile_levels(frozen, platform, optimize, here)
            image, objects = levels[0].image, objects_of(levels)
            told = told or program_manifest(frozen, image)
            (here / f"{frozen.name}.h").write_text(header, encoding="utf-8")
            source = here / f"net_{frozen.name}.c"
            source.write_text(program_source(frozen, levels), encoding="utf-8")
            libraries += link(platform, frozen.name, [source], objects, place)
            code = sum(path.stat().st_size for path in objects)
            sizes.append((max(level.image.nbytes for level in levels), len(objects), code))
    texts = {
        f"{frozen.name}.h": header,
        f"{frozen.name}.json": told + "\n",
        "main.c": whole_example(frozen.name, _example(frozen), platforms),
    }
    for file, text in texts.items():
        (folder / file).write_text(text, encoding="utf-8")
    return [*(folder / file for file in texts), *libraries], *sizes[0]


def program_source(frozen: FrozenFunction, levels: Sequence[Compiled]) -> str:
    """Return the C of a function, but for what all exports have."""
    told = program_manifest(frozen, levels[0].image)
    face = Face(told, _wrapper(frozen), lambda program: [*program.inputs, *program.outputs])
    return runnable_tables(frozen, levels, face)


def _names(frozen: FrozenFunction) -> list[str]:
    taken = {*RESERVED, frozen.name, "program", "memory", "digest"}
    return [unique(a.name, taken) for a in frozen.arguments]


def _signature(frozen: FrozenFunction, names: Sequence[str]) -> str:
    const = {True: "", False: "const "}
    given = zip(frozen.arguments, names, strict=True)
    return "".join(f", {const[a.is_written]}{TYPES[a.dtype.name]} *{name}" for a, name in given)


def program_header(frozen: FrozenFunction) -> str:
    """Return the C header of a function."""
    name, upper = frozen.name, frozen.name.upper()
    codes = "\n".join(f"  {upper}_{code} = {n}, /* {text} */" for n, (code, text) in enumerate(CODES.items()))
    arrays = "".join(f" *   {n}: {_describe(a)}\n" for a, n in zip(frozen.arguments, _names(frozen), strict=True))
    return f"""/* {name}: a program exported by Loom {__version__}. Generated; do not edit.
 *
 * It is one block of memory that the caller gives. Functions return a code; {name}_message says what it means.
 * Two blocks share nothing that changes: each may run in a thread of its own. Arrays are row-major:
{arrays} */
{head(upper)}
typedef struct {name} {name};

enum {{
{codes}
}};

/* Bytes of a program; open makes one of so many bytes, which must stay where they are. */
size_t {name}_size(void);
int {name}_open(void *memory, size_t size, {name} **program);

/* Back to the state it was exported with. */
int {name}_reset({name} *program);

/* One run: arrays that are not const are written. */
int {name}_run({name} *program{_signature(frozen, _names(frozen))});

/* A tensor of the state by name (see the manifest), all of its bytes. */
int {name}_read(const {name} *program, const char *tensor, void *out, size_t nbytes);
int {name}_write({name} *program, const char *tensor, const void *data, size_t nbytes);

/* SHA-256 of the state. */
int {name}_digest(const {name} *program, uint8_t out[32]);

/* A .safetensors file with the state; with out NULL only its size is told. */
int {name}_save(const {name} *program, void *out, size_t capacity, size_t *written);
int {name}_load({name} *program, const void *data, size_t nbytes);

const char *{name}_manifest(void); /* JSON */
const char *{name}_message(int code);
{tail()}"""


def _describe(argument: Argument) -> str:
    shape = " x ".join(map(str, argument.shape)) or "one"
    kind = "read and written" if argument.is_read and argument.is_written else "read" if argument.is_read else "written"
    return f"{argument.dtype.name}, {shape}, {kind}"


def program_manifest(frozen: FrozenFunction, image: Image) -> str:
    """Return what the export tells about itself, as JSON."""
    found: dict[str, Any] = {
        "format": "loom/export/1",
        "kind": "program",
        "name": frozen.name,
        "loom": __version__,
        "arguments": [
            {"name": a.name, "dtype": a.dtype.name, "shape": list(a.shape), "read": a.is_read, "written": a.is_written}
            for a in frozen.arguments
        ],
        "tensors": [{"name": t.name, "dtype": t.dtype.name, "shape": list(t.shape)} for t in image.tensors.values()],
        "digest": digest_of(frozen.weights()),
        **image.promises,
    }
    return json.dumps(found, separators=(",", ":"))


def _wrapper(frozen: FrozenFunction) -> str:
    """Return the function whose arguments are typed by the program's; they are numbered: here names are taken."""
    names = [f"a{n}" for n in range(len(frozen.arguments))]
    pairs = list(zip(frozen.arguments, names, strict=True))
    given, made = [n for a, n in pairs if a.is_read], [n for a, n in pairs if a.is_written]
    return (
        f"int {frozen.name}_run({frozen.name} *net{_signature(frozen, names)}) {{\n"
        f"  const void *given[] = {{{', '.join(given) or '0'}}};\n  void *results[] = {{{', '.join(made) or '0'}}};\n"
        "  __typeof__(enter()) old = enter();\n  int code = forward(net, given, results, 1);\n"
        "  leave(old);\n  return code;\n}\n"
    )


def _example(frozen: FrozenFunction) -> str:
    """Return the body of an example: a run over arrays that count, and what it writes."""
    name, taken = frozen.name, {*RESERVED, frozen.name, "memory", "code", "i"}
    names = [unique(f"{a.name}_", taken) for a in frozen.arguments]
    lines: list[str] = []
    for a, label in zip(frozen.arguments, names, strict=True):
        kind, count = TYPES[a.dtype.name], prod(a.shape)
        lines.append(f"  static {kind} {label}[{max(count, 1)}];")
        if a.is_read and count:
            lines.append(f"  for (int i = 0; i < {count}; i++) {label}[i] = ({kind})(i % 2);")
    lines += [
        f"  {name} *opened;",
        f"  void *memory = malloc({name}_size());",
        f"  int code = memory ? {name}_open(memory, {name}_size(), &opened) : {name.upper()}_TOO_SMALL;",
        f"  if (!code) code = {name}_run(opened{''.join(f', {label}' for label in names)});",
        f"  if (code) return puts({name}_message(code)), 1;",
        *(print_loop(n, prod(a.shape)) for a, n in zip(frozen.arguments, names, strict=True) if a.is_written),
        "  free(memory);",
    ]
    return "\n".join(lines)
