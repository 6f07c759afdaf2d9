"""The JavaScript that stands before an exported module, and its types for TypeScript.

Layer: export. Invariant: all of it follows from the manifest; the JavaScript is one file for all networks.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from importlib.resources import files
from typing import Any

from loom.export.c.kernel import CODES as KERNEL_CODES
from loom.export.c.source import CODES

__all__ = [
    "javascript", "kernel_javascript", "kernel_typescript", "program_javascript", "program_typescript", "template",
    "typescript", "without_training",
]  # fmt: skip

_ARRAYS = {
    "f64": "Float64Array", "f32": "Float32Array", "f16": "Uint16Array", "bf16": "Uint16Array", "i64": "BigInt64Array",
    "u64": "BigUint64Array", "i32": "Int32Array", "u32": "Uint32Array", "i16": "Int16Array", "u16": "Uint16Array",
    "i8": "Int8Array", "u8": "Uint8Array", "bool": "Uint8Array",
}  # fmt: skip
"""Arrays of JavaScript by dtype, as in net.js; 16-bit floats are their bits."""


def template(name: str) -> str:
    """Return a file of this package."""
    found = _text(name)
    if "@HELD@\n" not in found:
        return found
    return found.replace("@HELD@\n", _text("held.js")).replace("@CLASS@", "Net" if name == "net.js" else "Program")


def _text(name: str) -> str:
    return files("loom.export.web").joinpath(name).read_text(encoding="utf-8")


def javascript(name: str, file: str) -> str:
    """Return the ES module of a network of this name, which opens the module ``file``.wasm."""
    return _fill("net.js", list(CODES), name, file)


def kernel_javascript(about: Mapping[str, Any]) -> str:
    """Return the ES module of a kernel; ``about``: its manifest."""
    given = ", ".join(p["name"] for p in (*about["buffers"], *about["params"]))
    lanes = ", ".join(["width", "height", "depth"][: max(_dimensions(about["workgroup"]), 1)])
    text = _fill("kernel.js", list(KERNEL_CODES), about["name"], about["name"])
    return text.replace("@GIVEN@", given).replace("@LANES@", lanes)


def program_javascript(about: Mapping[str, Any]) -> str:
    """Return the ES module of a program; ``about``: its manifest."""
    text = _fill("program.js", list(CODES), about["name"], about["name"])
    names = {kind: ", ".join(a["name"] for a in about["arguments"] if a[kind]) for kind in ("read", "written")}
    return text.replace("@GIVEN@", names["read"]).replace("@MADE@", names["written"])


def program_typescript(about: Mapping[str, Any]) -> str:
    """Return the declarations of a program's ES module."""
    given = [f"  {json.dumps(a['name'])}: {_argument(a)};" for a in about["arguments"] if a["read"]]
    made = [f"  {json.dumps(a['name'])}: {_ARRAYS[a['dtype']]};" for a in about["arguments"] if a["written"]]
    found = template("program.d.ts").replace("@CODES@", " | ".join(f'"{c}"' for c in CODES))
    return found.replace("@GIVEN@", "\n".join(given)).replace("@MADE@", "\n".join(made))


def _argument(about: Mapping[str, Any]) -> str:
    array = f"Numbers<{_ARRAYS[about['dtype']]}>"
    return array if about["shape"] else f"{array} | number | bigint"


def _dimensions(workgroup: Sequence[int]) -> int:
    return max((n + 1 for n, lanes in enumerate(workgroup) if lanes > 1), default=1)


def _fill(file: str, codes: Sequence[str], name: str, module: str) -> str:
    common = template("common.js").replace("@CODES@", json.dumps(codes))
    text = template(file).replace("@COMMON@\n", common)
    return text.replace("@NAME@", name).replace("@FILE@", module)


def typescript(about: Mapping[str, Any]) -> str:
    """Return the declarations of a network's ES module; ``about``: its manifest."""
    training = about.get("training")
    found = template("net.d.ts")
    found = without_training(found, keep=training is not None)
    if training is not None:
        found = found.replace("@TARGETS@", _input_type(training["targets"]))
    found = found.replace("@CODES@", " | ".join(f'"{c}"' for c in CODES))
    return found.replace("@INPUTS@", _input_type(about["inputs"])).replace("@OUTPUTS@", _result_type(about["outputs"]))


def kernel_typescript(about: Mapping[str, Any]) -> str:
    """Return the declarations of a kernel's ES module."""
    fields = [f"  {json.dumps(b['name'])}: {_buffer_type(b)};" for b in about["buffers"]]
    for p in about["params"]:
        kind = "bigint | number" if p["dtype"] in ("i64", "u64") else "boolean" if p["dtype"] == "bool" else "number"
        fields.append(f"  {json.dumps(p['name'])}{'?' if 'default' in p else ''}: {kind};")
    found = template("kernel.d.ts").replace("@FIELDS@", "\n".join(fields))
    return found.replace("@CODES@", " | ".join(f'"{c}"' for c in KERNEL_CODES))


def _buffer_type(about: Mapping[str, Any]) -> str:
    array = _ARRAYS[about["dtype"].split("x")[0]]
    data = f"Numbers<{array}>" if about["access"] == "read" else array
    return f"{{ data: {data}; shape: readonly number[] }}" if "ndim" in about else data


def without_training(text: str, *, keep: bool) -> str:
    """Return declarations without those of training, or with ``keep`` without the lines that mark them."""
    if keep:
        return re.sub(r"^//(training|end)\n", "", text, flags=re.MULTILINE)
    return re.sub(r"^//training\n.*?^//end\n", "", text, flags=re.DOTALL | re.MULTILINE)


def _input_type(columns: Sequence[Mapping[str, Any]]) -> str:
    """Return the type of what is passed: an array, or arrays by name."""
    each = [f"Numbers<{_ARRAYS[c['dtype']]}>" for c in columns]
    named = "{ " + "; ".join(f"{json.dumps(c['name'])}: {t}" for c, t in zip(columns, each, strict=True)) + " }"
    return f"{each[0]} | {named}" if len(columns) == 1 else named


def _result_type(columns: Sequence[Mapping[str, Any]]) -> str:
    """Return the type of what comes back."""
    if len(columns) == 1:
        return _ARRAYS[columns[0]["dtype"]]
    return "{ " + "; ".join(f"{json.dumps(c['name'])}: {_ARRAYS[c['dtype']]}" for c in columns) + " }"
