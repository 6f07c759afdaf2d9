"""Writes what is said of layers in ``docs/formats``: the JSON Schema, and a section of ``network.md`` for each type.

Run ``python tools/formats.py`` when a layer or a key has come or gone; a test tells if the files are behind.
"""

from __future__ import annotations

import inspect
import json
from pathlib import Path

from loom.nn.spec import LAYERS, Layer, json_schema
from loom.nn.spec.base.fields import ValueField, value_fields

FOLDER = Path(__file__).parents[1] / "docs/formats"
FIRST, AFTER = "\n### ", "\n## Documents of the first"


def schema() -> str:
    """Return the text of ``network.schema.json``."""
    return json.dumps(json_schema(), indent=2) + "\n"


def guide() -> str:
    """Return the text of ``network.md``, its sections of layers written anew."""
    text = (FOLDER / "network.md").read_text(encoding="utf-8")
    head, tail = text.partition(FIRST)[0], text.partition(AFTER)[2]
    return head + "".join(section(LAYERS[kind]) for kind in sorted(LAYERS)) + AFTER + tail


def section(config: type[Layer]) -> str:
    """Return what a config says of itself: its docstring, and a row for each key."""
    text = f"{FIRST}`{config.kind}`\n\n" + (inspect.getdoc(config) or "").replace("``", "`") + "\n"
    rows = [f"| `{f.name}` | {_default(f)} | {f.meaning} |\n" for f in value_fields(config) if f.name != "frozen"]
    return text + ("\n| key | default | meaning |\n| --- | --- | --- |\n" + "".join(rows) if rows else "")


def _default(field: ValueField) -> str:
    if field.is_required or field.default is None:
        return "required" if field.is_required else ""
    return f"`{json.dumps(field.rule.write(field.default))}`"


if __name__ == "__main__":
    (FOLDER / "network.schema.json").write_text(schema(), encoding="utf-8")
    (FOLDER / "network.md").write_text(guide(), encoding="utf-8")
