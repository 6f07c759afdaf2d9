"""What callers of an exported network see: header, codes, manifest, and the functions typed by its inputs and outputs.

Layer: export. Invariant: all of it depends on the network and the settings alone; the machine has no part in it.
"""

from __future__ import annotations

import json
from typing import Any

from loom.core.dtype import f32
from loom.core.errors import ArgumentError
from loom.core.late.dataclass import dataclass
from loom.core.version import __version__
from loom.export.c.text import RESERVED, TYPES, unique
from loom.export.frozen import FrozenProgram, Image, Named
from loom.export.network import FrozenNetwork, Limit
from loom.nn.train.losses import PADDING

__all__ = ["CODES", "header", "manifest", "ports_in_order", "wrappers"]


CODES: dict[str, str] = {
    "OK": "done",
    "NULL": "a pointer is NULL: pass all arrays that the function takes",
    "NOT_OPEN": "not an open net: call open first, and pass what it gave",
    "TOO_SMALL": "too little memory: ask size(), or save with NULL, for how much it takes",
    "SIZE": "another number of bytes than the tensor or file has: see the manifest",
    "NO_TENSOR": "no tensor has this name: see the manifest for names",
    "BATCH": "not a number of samples that the export has a program for: see the manifest, or export with others",
    "NOT_FINITE": "a sample, the loss or a weight is NaN or infinite; the net is as before the call, step or epoch",
    "SCHEDULE_OVER": "the schedule of the learning rate is over: export more epochs",
    "FOREIGN": "not a file of this network, version and settings of training, or of the midst of an epoch",
    "TOO_MANY": "a kernel asked for more groups than there may be: the results are not whole",
    "OVER": "training is over: patience, or all its epochs; the best weights are there, and reset begins anew",
    "THREADS": "threads: from 1 to 64, and as many as the system gives; the net computes with those there are",
    "CLASS": "a target is no class of the output, or no chance from 0 to 1: see the manifest; classes count from 0",
    "TOKEN": "an id that the vocabulary does not have: see the manifest; ids are whole numbers that count from 0",
    "DAMAGED": "the file is damaged, or was changed: its SHA-256 is another; the net is as it was",
}
"""What functions return, and what ``message`` says of it."""


def header(net: FrozenNetwork) -> str:
    """Return the C header: types, codes and functions, and what each of them takes."""
    name, upper = net.name, net.name.upper()
    inputs, outputs, targets = _signatures(net)
    codes = "\n".join(f"  {upper}_{code} = {n}, /* {text} */" for n, (code, text) in enumerate(CODES.items()))
    lines = [f"int {name}_forward({name} *net, {inputs}, {outputs}, uint32_t samples);"]
    if net.threads:
        lines += [
            "\n/* How many threads compute from now on, the caller's among them, to the same bits; with 1 others end,",
            " * as they must before the memory is given back or opened anew. */",
            f"int {name}_threads({name} *net, uint32_t count);",
        ]
    if net.training is not None:
        batch = f"{inputs}, {targets}, uint32_t samples"
        lines += [
            "\n/* One update with a batch, of a size that the manifest lists; loss may be NULL. */",
            f"int {name}_step({name} *net, {batch}, double *loss);",
            "\n/* Whole epochs over the samples, in the order that Loom takes; loss: the last epoch's. */",
            f"int {name}_train({name} *net, {batch}, uint32_t epochs, double *loss);",
            "\n/* The mean loss over samples; nothing changes. */",
            f"int {name}_score({name} *net, {batch}, double *loss);",
            "\n/* The same, and the share of classes that are said right; NaN for targets that are none. */",
            f"int {name}_evaluate({name} *net, {batch}, double *loss, double *accuracy);",
        ]
        if net.training.held_out:
            held_inputs, held_targets = _samples(net)
            lines += [
                "\n/* Whole epochs, after each of which held samples are measured, whose loss patience watches. */",
                f"int {name}_train_validated({name} *net, {batch}, {held_inputs}, {held_targets}, "
                "uint32_t held_samples, uint32_t epochs, double *loss, double *held_loss);",
            ]
    functions = "\n".join(lines)
    return f"""/* {name}: a network exported by Loom {__version__}. Generated; do not edit.
 *
 * A net is one block of memory that the caller gives. Functions return a code; {name}_message says what it means.
 * Nets share nothing that changes: each may run in a thread of its own. Arrays are row-major, samples first. */
#ifndef LOOM_EXPORT_{upper}_H
#define LOOM_EXPORT_{upper}_H
#include <stddef.h>
#include <stdint.h>
#ifdef __cplusplus
extern "C" {{
#endif

typedef struct {name} {name};

enum {{
{codes}
}};

/* Bytes of a net; open makes one of so many bytes, which must stay where they are. */
size_t {name}_size(void);
int {name}_open(void *memory, size_t size, {name} **net);

/* Back to the weights it was exported with. */
int {name}_reset({name} *net);

/* Outputs for any number of samples. */
{functions}

/* A tensor of the manifest by name, all of its bytes. */
int {name}_read(const {name} *net, const char *tensor, void *out, size_t nbytes);
int {name}_write({name} *net, const char *tensor, const void *data, size_t nbytes);

/* SHA-256 of all weights: what `loom train` prints. */
int {name}_digest(const {name} *net, uint8_t out[32]);

/* A .safetensors file with weights and training state; with out NULL only its size is told. */
int {name}_save(const {name} *net, void *out, size_t capacity, size_t *written);
int {name}_load({name} *net, const void *data, size_t nbytes);

const char *{name}_manifest(void); /* JSON */
const char *{name}_message(int code);

#ifdef __cplusplus
}}
#endif
#endif
"""


@dataclass(frozen=True, slots=True)
class _Arguments:
    """Names of C's parameters for inputs, outputs and targets, all of them different."""

    inputs: list[str]
    outputs: list[str]
    targets: list[str]

    @classmethod
    def of(cls, net: FrozenNetwork, numbered: bool = False) -> _Arguments:
        """``numbered``: for the functions' own texts, where names of the runtime are known besides."""
        taken = {*RESERVED, net.name}
        spec = net.network.spec
        inputs = [unique("x" if len(spec.inputs) == 1 else i.name, taken) for i in spec.inputs]
        outputs = [unique("y" if len(net.outputs) == 1 else n, taken) for n, _, _ in net.outputs]
        targets = [unique("target" if len(net.targets) == 1 else f"target_{n}", taken) for n, _ in net.targets]
        if numbered:
            inputs, outputs, targets = ([f"{c}{n}" for n in range(len(each))]
                                        for c, each in (("x", inputs), ("y", outputs), ("t", targets)))  # fmt: skip
        return cls(inputs, outputs, targets)


def _signatures(net: FrozenNetwork, numbered: bool = False) -> tuple[str, str, str]:
    """Return the parameters for inputs, for outputs, and for targets."""
    arguments, spec = _Arguments.of(net, numbered), net.network.spec
    given = zip([i.dtype for i in spec.inputs], arguments.inputs, strict=True)
    made = zip([t for _, t, _ in net.outputs], arguments.outputs, strict=True)
    wanted = zip([t for _, t in net.targets], arguments.targets, strict=True)
    return (
        ", ".join(f"const {TYPES[t.name]} *{name}" for t, name in given),
        ", ".join(f"{TYPES[t.name]} *{name}" for t, name in made),
        ", ".join(f"const {TYPES[t.name]} *{name}" for t, name in wanted),
    )


def manifest(net: FrozenNetwork, image: Image) -> str:
    """Return JSON: version, inputs, outputs, batch sizes, tensors."""
    found: dict[str, Any] = {
        "format": "loom/export/1",
        "name": net.name,
        "loom": __version__,
        "inputs": [
            {"name": name, "dtype": dtype.name, "shape": list(shape), **_facts_of("vocabulary", net.tokens.get(name))}
            for name, dtype, shape in net.inputs
        ],
        "outputs": [{"name": n, "dtype": t.name, "shape": list(shape)} for n, t, shape in net.outputs],
        "forward": sorted(p.inputs[0].shape[0] for p in image.programs if p.name.startswith("forward")),
        "tensors": [{"name": t.name, "dtype": t.dtype.name, "shape": list(t.shape)} for t in image.tensors.values()],
        "digest": net.digest(),
    }
    if net.training is not None:
        t = net.training
        about: dict[str, object] = {
            "samples": t.samples, "batch": t.batch, "step": list(t.sizes), "epochs": t.epochs, "shuffle": t.shuffle,
            "seed": t.seed, "accumulate": t.accumulate, "patience": t.patience, "least_gain": t.least_gain,
            "held_out": t.held_out, "targets": _targets(net, image),
        }  # fmt: skip
        if t.digest is not None:
            about["digest"] = t.digest
        if t.accumulate > 1:
            about["step"] = []
        found["training"] = about
    return json.dumps(found, separators=(",", ":"))


def _targets(net: FrozenNetwork, image: Image) -> list[dict[str, Any]]:
    """Return name, dtype and shape (without the axis of samples) of each target."""
    score = next(p for p in image.programs if p.name.startswith("score"))
    ports = ports_in_order(score, net)[len(net.network.spec.inputs) :]
    truths = net.training.truths if net.training is not None else ()
    return [
        {"name": name, "dtype": dtype.name, "shape": list(port.shape[1:]), **_facts_of("classes", truth)}
        for (name, dtype), port, truth in zip(net.targets, ports, truths, strict=False)
    ]


def _facts_of(key: str, limit: Limit | None) -> dict[str, int | list[int]]:
    """Return what a manifest tells of ids or classes (how many there are), or of chances."""
    if limit is None:
        return {}
    if limit.kind == "chances":
        return {"range": [0, limit.most]}
    return {key: limit.most + 1, **({"padding": PADDING} if limit.kind == "padded" else {})}


_NUMBERS = {"step": ("rate",), "sum": ("share",), "update": ("rate",)}
"""Numbers that a kind of program takes beside samples, if it uses them."""


def ports_in_order(program: FrozenProgram, net: FrozenNetwork) -> list[Named]:
    """Return ports as the runtime counts them: inputs, targets, the rate or share, outputs.

    ArgumentError for an input that nothing is computed of.
    """
    kind = program.name.partition("_")[0]
    wanted = [] if kind == "update" else [f"x{n}" for n in range(len(net.network.spec.inputs))]
    if kind not in ("forward", "update"):
        wanted += [f"y{n}" for n in range(len(net.targets))]
    found = {p.name: p for p in program.inputs}
    missing = [name for name in wanted if name not in found]
    if missing:
        raise ArgumentError("loom.export", "the network has an input, or a target, that nothing is computed of",
                            expected=", ".join(wanted), got=f"no use of {', '.join(missing)}",
                            remedy="Take it out of the document")  # fmt: skip
    numbers = [found.get(name, Named(name, f32, (0,), 0)) for name in _NUMBERS.get(kind, ())]
    return [*(found[name] for name in wanted), *numbers, *program.outputs]


def _samples(net: FrozenNetwork, numbered: bool = False) -> tuple[str, str]:
    """Return the parameters of held samples and their targets."""
    arguments, spec = _Arguments.of(net, numbered), net.network.spec
    given = zip([i.dtype for i in spec.inputs], arguments.inputs, strict=True)
    wanted = zip([t for _, t in net.targets], arguments.targets, strict=True)
    inputs, targets = (", ".join(f"const {TYPES[t.name]} *held_{n}" for t, n in each) for each in (given, wanted))
    return inputs, targets


def wrappers(net: FrozenNetwork) -> str:
    """Return the functions whose arguments are typed by the network's inputs and outputs."""
    name, arguments = net.name, _Arguments.of(net, numbered=True)
    typed, made, _ = _signatures(net, numbered=True)
    inputs, outputs = arguments.inputs, arguments.outputs
    found = [
        f"int {name}_forward({name} *net, {typed}, {made}, u32 samples) {{\n"
        f"  const void *given[] = {{{', '.join(inputs)}}};\n  void *results[] = {{{', '.join(outputs)}}};\n"
        "  __typeof__(enter()) old = enter();\n  int code = forward(net, given, results, samples);\n"
        "  leave(old);\n  return code;\n}"
    ]
    if net.training is not None:
        found += _training_wrappers(net)
    return "\n\n".join(found) + "\n"


def _training_wrappers(net: FrozenNetwork) -> list[str]:
    name, arguments = net.name, _Arguments.of(net, numbered=True)
    typed, _, wanted = _signatures(net, numbered=True)
    given = [*arguments.inputs, *arguments.targets]
    arrays = f"  const void *given[] = {{{', '.join(given)}}};\n"
    functions = [
        ("step", "double *loss", "step(net, given, samples, loss)"),
        ("score", "double *loss", "score(net, given, samples, loss, 0)"),
        ("train", "u32 epochs, double *loss", "train(net, given, samples, 0, 0, epochs, loss, 0)"),
        ("evaluate", "double *loss, double *accuracy",
         "loss && accuracy ? score(net, given, samples, loss, accuracy) : LOOM_NULL"),
    ]  # fmt: skip
    if net.training is not None and net.training.held_out:
        arrays += f"  const void *held[] = {{{', '.join(f'held_{n}' for n in given)}}};\n"
        more = (
            f"{', '.join(_samples(net, numbered=True))}, u32 held_samples, u32 epochs, double *loss, double *held_loss"
        )
        passed = "given, samples, held, held_samples, epochs, loss, held_loss"
        functions.append(("train_validated", more, f"train(net, {passed})"))
    return [
        f"int {name}_{function}({name} *net, {typed}, {wanted}, u32 samples, {more}) {{\n"
        f"{arrays if function == 'train_validated' else arrays.splitlines()[0]}\n"
        f"  __typeof__(enter()) old = enter();\n  int code = {call};\n  leave(old);\n  return code;\n}}"
        for function, more, call in functions
    ]
