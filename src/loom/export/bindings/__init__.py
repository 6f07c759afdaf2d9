"""Bindings: an exported network as a package of another language, over the C ABI of its header.

Layer: export. A package is written of the manifest and of templates, ``<language>/*.mustache``, and holds the libraries
of its targets. Invariant: a binding computes nothing; sizes are looked at before the library is called.
"""

from __future__ import annotations

import json
import math
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from loom.core.dtype import lookup
from loom.core.errors import ArgumentError, near_matches
from loom.export.bindings.languages import LANGUAGES, Language
from loom.export.bindings.templates import render
from loom.export.c import CExport, export_c
from loom.export.c.build import link_shim, platform_of
from loom.export.c.levels import Optimize
from loom.export.c.source import CODES
from loom.export.c.text import TYPES, unique
from loom.export.delivery import deliver
from loom.export.network import FrozenNetwork
from loom.nn.train.scalars import flag

__all__ = ["LANGUAGES", "export_bindings", "language_of"]

_VERSION = "0.1.0"
"""Of packages, until their makers give them another."""


def language_of(name: str) -> Language:
    """Return a language by name; ArgumentError with near matches if there are no bindings for it."""
    if name not in LANGUAGES:
        raise ArgumentError("loom.export, language", f"no language is called {name!r}", expected=", ".join(LANGUAGES),
                            got=name, remedy=near_matches(name, list(LANGUAGES)))  # fmt: skip
    return LANGUAGES[name]


def export_bindings(
    net: FrozenNetwork,
    out: str | Path,
    languages: Sequence[str],
    targets: Sequence[str] = ("x86_64-linux",),
    *,
    optimize: Optimize = "speed",
    overwrite: bool = False,
) -> CExport:
    """Write a frozen network as C, and a package of each language into ``out/<language>``.

    Args:
        net: Frozen network.
        out: Folder of the files.
        languages: Names of languages.
        targets: Machines, as "x86_64-linux".
        optimize: "speed", or "size": short code, of which only sums of products are computed in vectors; the bits are
            the same.
        overwrite: Whether files in the folder are written over that no export wrote, or that were changed since.

    Returns:
        Export: the files and what they hold.

    Raises:
        ArgumentError: There is no such language or target; a name that a language has for itself; a network of several
            threads.
        StateError: Zig is missing (the extra ``export``).
        FileError: Files are there that no export wrote, or that were changed since; nothing is written then.
    """
    chosen = [language_of(name) for name in languages]
    if chosen and net.threads:
        raise ArgumentError("loom.export, threads", "packages of languages compute with one thread a net",
                            expected="threads=False", got="threads=True",
                            remedy="Leave it out, or use one net in each thread")  # fmt: skip
    for language in chosen:
        _require_name(net.name, language)
        for name in targets:
            _require_machine(name, language)
    replaced = flag("loom.export, overwrite", overwrite)

    def write(folder: Path) -> CExport:
        made = export_c(net, folder, targets, optimize=optimize)
        manifest = json.loads((folder / f"{net.name}.json").read_text(encoding="utf-8"))
        written = list(made.files)
        for language in chosen:
            written += _write(language, manifest, folder, targets)
        return replace(made, files=tuple(written))

    return deliver(write, out, overwrite=replaced)


def _require_name(name: str, language: Language) -> None:
    if name in language.keywords:
        raise ArgumentError("loom.export, name", f"{language.name} has this word for itself", expected="another name",
                            got=name, remedy="Choose another name")  # fmt: skip


def _require_machine(target: str, language: Language) -> None:
    platform = platform_of(target)
    arch, _, system = platform.name.partition("-")
    known = not language.arches or (arch in language.arches and system in language.systems)
    if platform.shared == "wasm" or not known:
        raise ArgumentError("loom.export, target", f"{language.name} does not run there", got=target,
                            expected="x86_64-linux, aarch64-linux, ...", remedy="Leave it out")  # fmt: skip


def _write(language: Language, manifest: Mapping[str, Any], out: Path, targets: Sequence[str]) -> list[Path]:
    """Write a package; return its files."""
    values = _values(language, manifest, targets)
    written: list[Path] = []

    def place(path: str, more: Mapping[str, str] | None = None) -> Path:
        written.append(out / language.name / render(path, {**values, **(more or {})}))
        written[-1].parent.mkdir(parents=True, exist_ok=True)
        return written[-1]

    for path, template in language.files.items():
        if path not in language.training or values["training"]:
            place(path).write_text(render(language.text(f"{template}.mustache"), values), encoding="utf-8")
    for target in values["targets_built"]:
        for library in language.libraries:
            if not library.systems or target["system"] in library.systems:
                source = out / target[library.kind]
                made = place(library.path, {**target, "file": source.name})
                if library.shim:
                    _link(out, render(f"{language.name}/{library.shim}", values), target, made)
                else:
                    shutil.copyfile(source, made)
    return list(dict.fromkeys(written))


def _link(out: Path, shim: str, target: Mapping[str, str], made: Path) -> None:
    """Link a package's own C with a network's static library."""
    with tempfile.TemporaryDirectory() as scratch:
        for path in (out / shim, out / target["header"]):
            shutil.copyfile(path, Path(scratch) / path.name)
        linked = Path(scratch) / made.name  # beside it lies what others would link with
        link_shim(platform_of(target["target"]), Path(scratch) / Path(shim).name, out / target["static"], linked)
        shutil.copyfile(linked, made)


def _values(language: Language, manifest: Mapping[str, Any], targets: Sequence[str]) -> dict[str, Any]:
    """Return what templates name."""
    taken = {*language.words, manifest["name"]}
    about: Mapping[str, Any] | None = manifest.get("training")
    ports = _Ports(language, taken)
    inputs, outputs = ports.of(manifest["inputs"], "x"), ports.of(manifest["outputs"], "y")
    wanted = ports.of(about["targets"], "target", "target_") if about else []
    ends = [{**port, "output_index": len(inputs) + len(wanted) + n} for n, port in enumerate(outputs)]
    kinds = {port["type"]: port for port in (*inputs, *wanted, *outputs)}
    first = manifest["tensors"][0]
    first_type = language.types[first["dtype"]]
    codes = [
        {"CODE": code, "Camel": _camel(code), "number": n, "text": text} for n, (code, text) in enumerate(CODES.items())
    ]
    name = manifest["name"]
    return {
        "name": name, "Name": _camel(name), "NAME": name.upper(), "loom": manifest["loom"],
        "version": _VERSION, "digest": manifest["digest"], "inputs": _number(inputs), "outputs": _number(ends),
        "kinds": list(kinds.values()), "all_count": len(inputs) + len(wanted) + len(outputs),
        "mangled": name.replace("_", "_1"),
        "targets": _number(wanted), "ports": _number([*inputs, *wanted]), "port_count": len(inputs) + len(wanted),
        "many_outputs": len(outputs) > 1, "odd": any(port["elements"] > 1 for port in inputs),
        "tensors": [_tensor(t) for t in manifest["tensors"]], "trained": _TRAINED,
        "codes": codes, "errors": codes[1:], "first_type": first_type, "first_tensor": first["name"],
        "first_real": first["dtype"] in ("f32", "f64"), "training": about is not None,
        "train_samples": about["samples"] if about else 0, "test_epochs": min(about["epochs"], 2) if about else 0,
        "epochs": about["epochs"] if about and "digest" in about else 3, "proof": about and about.get("digest"),
        "step_sizes": ", ".join(map(str, about["step"])) if about else "",
        "targets_built": [_target_facts(language, target, name) for target in targets],
    }  # fmt: skip


_TRAINED: list[dict[str, Any]] = [
    {
        "method": "Step",
        "epochs": False,
        "summary": "Makes one update with a batch, of a size that the manifest lists.",
        "returns": "The loss of the batch.",
    },
    {
        "method": "Train",
        "epochs": True,
        "summary": "Trains for whole epochs with TrainSamples samples, in the order that Loom takes; a loss that is "
        "not finite leaves the net as before its step, or the epoch.",
        "returns": "The last epoch's loss, NaN if there was none.",
    },
    {
        "method": "Score",
        "epochs": False,
        "summary": "Computes the mean loss over samples; weights stay.",
        "returns": "The mean loss.",
    },
]
"""What trains, for languages that write the three alike."""


def _tensor(about: Mapping[str, Any]) -> dict[str, Any]:
    return {**about, "dims": ", ".join(map(str, about["shape"])), "sizes": [{"n": n} for n in about["shape"]]}


class _Ports:
    """Inputs, outputs and targets as templates name them, none of the same name."""

    def __init__(self, language: Language, taken: set[str]) -> None:
        self.language, self.taken = language, taken

    def of(self, ports: Sequence[Mapping[str, Any]], only: str, prefix: str = "") -> list[dict[str, Any]]:
        """Return ports of one kind; one alone is called ``only``."""
        return [self._one(p, only if len(ports) == 1 else f"{prefix}{p['name']}", only) for p in ports]

    def _one(self, port: Mapping[str, Any], name: str, kind: str) -> dict[str, Any]:
        shape: list[int] = port["shape"]
        dtype = port["dtype"]
        dims = [str(n) for n in shape]
        file, name = name, unique(name, self.taken)
        return {
            "file": file,
            "id": name, "Id": _camel(name), "label": kind if kind == "target" else port["name"], "dtype": dtype,
            "type": self.language.types[dtype], "elements": math.prod(shape),
            "tuple": f"{', '.join(dims)}{',' * bool(dims)}",
            "batch": f"({', '.join(['n', *dims])})", "real": dtype in ("f32", "f64"), "width": lookup(dtype).nbytes,
            "ctype": TYPES[dtype], "view": self.language.views.get(self.language.types[dtype], ""),
        }  # fmt: skip


def _number(items: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return items that know their number and what parts them from the next."""
    return [
        {**item, "index": n, "comma": ", " if n + 1 < len(items) else ""} for n, item in enumerate(items)
    ]  # fmt: skip


def _target_facts(language: Language, target: str, name: str) -> dict[str, str]:
    platform = platform_of(target)
    arch, _, system = target.partition("-")
    return {
        "target": target, "arch": language.arches.get(arch, arch), "system": system, "header": f"{name}.h",
        "os": language.systems.get(system, system), "static": f"{target}/lib{name}.{platform.static}",
        "shared": f"{target}/lib{name}.{platform.shared}", "suffix": platform.shared,
        "dll": f"{'' if platform.shared == 'dll' else 'lib'}{name}.{platform.shared}",
    }  # fmt: skip


def _camel(name: str) -> str:
    return "".join(part[:1].upper() + part[1:].lower() for part in name.split("_") if part) or name
