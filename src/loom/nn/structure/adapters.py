"""Adapters (LoRA): added to a network whose weights stay as they are, merged into them, kept as files of their own.

Layer: nn. A network with adapters shares the weights of the one it is made of. Files have the names and shapes that
PEFT uses: ``base_model.model.LAYER.lora_A.weight`` (rank, in), ``.lora_B.weight`` (out, rank); a layer of several
matrices is a module of several: ``LAYER.q_proj``. Invariant: at first the network's answers are those of its base.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from loom import tensor
from loom.core.arrays import Array
from loom.core.errors import ArgumentError, FileError
from loom.core.given import flag, is_list, is_mapping, is_tuple, items
from loom.core.given import path as path_of
from loom.formats.file_writes import path_to_write, write_file
from loom.formats.safetensors import is_safetensors
from loom.formats.stored_weights import read_tensors, write_stored
from loom.formats.whole_files import file_bytes
from loom.kernels.types import compute_type
from loom.nn.network import Network
from loom.nn.spec import NetworkSpec, to_document
from loom.nn.spec.base.layer import Shared
from loom.nn.spec.document import parse
from loom.nn.spec.freezing import adapters_of
from loom.nn.spec.keys import keys_of, object_at
from loom.nn.spec.layers.lora import Adaptable, adapter_names, short_name
from loom.nn.weights.model import NetworkWeights
from loom.nn.weights.saved import require_numbers
from loom.tensor.ops.precision import IN_FULL

__all__ = ["adapters_in", "add_lora", "load_adapters", "merge_lora", "save_adapters"]

_WHERE = "loom.nn.structure"
_FILE, _CONFIG, _BEGIN = "adapter_model.safetensors", "adapter_config.json", "base_model.model."

_WITHOUT_MEANING = frozenset((
    "alpha_pattern", "auto_mapping", "base_model_name_or_path", "bias", "corda_config", "ensure_weight_tying",
    "eva_config", "exclude_modules", "fan_in_fan_out", "inference_mode", "init_lora_weights", "layers_pattern",
    "layers_to_transform", "loftq_config", "lora_alpha", "lora_dropout", "lora_ga_config", "megatron_config",
    "megatron_core", "peft_type", "peft_version", "qalora_group_size", "r", "rank_pattern", "revision",
    "runtime_config", "target_modules", "task_type", "velora_config",
))  # fmt: skip
"""Keys of PEFT's configuration that are read here, or change nothing of what trained adapters compute."""
_FAITHFUL_STARTS = (True, False, None, "gaussian", "orthogonal", "eva")
"""What ``init_lora_weights`` may be: other ways to begin (PiSSA, OLoRA, LoftQ ..) change the base's weights."""
_LOAD = f"{_WHERE}.load_adapters"

ModuleNames = Mapping[str, str] | Callable[[str], str] | None


def add_lora(
    network: Network, rank: int = 8, *, alpha: float | None = None, dropout: float = 0.0, layers: Any = "*",
    targets: Sequence[str] = (), seed: int | None = None, share: bool = True,
) -> Network:  # fmt: skip
    """Return a network that answers as ``network`` does and learns by adapters of ``rank`` alone.

    All but adapters is frozen, and those that other layers have already learn on.

    Args:
        network: Network.
        rank: Rank of the adapters.
        alpha: Strength: what is added is times alpha / rank; None: times 1.
        dropout: Share of the adapters' inputs that training drops.
        layers: Names, numbers or patterns of dense layers, attention and swiglu, nested ones too; one or a list; "*":
            all.
        targets: Names of these layers' matrices (``q``, ``k``, ``v``, ``o``, ``gate``, ``up``, ``down``, ``weight``;
            ``q_proj`` is ``q``); none: all.
        seed: Seed of the new network, which draws the adapters; None: the same.
        share: Whether the weights stay the network's own, and one of both works at a time; False: copies of them.

    Raises:
        ArgumentError: Not a network; no such layer, or one that has adapters; no layer has a target; ``share`` is no
            truth.
        SpecError: A rank, an alpha or a dropout that is unusable.

    >>> import loom
    >>> from loom.nn import structure
    >>> base = structure.network([structure.dense(6, activation="relu"), structure.dense(2)], input=4)
    >>> tuned = structure.add_lora(base, rank=2)
    >>> sorted(n for n in tuned.weights() if n not in base.weights())[:2]
    ['layers.0.weight_lora_a', 'layers.0.weight_lora_b']
    """
    where = f"{_WHERE}.add_lora"
    _require_network(network, where)
    chosen = _layers_to_adapt(network.spec, layers, where)
    named = _targets(targets, chosen, where)
    told: dict[str, Any] = {"rank": rank} | ({} if alpha is None else {"alpha": alpha})
    told |= {"dropout": dropout} if dropout else {}
    spec = network.spec
    document = to_document(spec)
    for key, layer in chosen.items():
        own = [short_name(m) for m in layer.matrices if short_name(m) in named] if named else []
        if not named or own:
            object_at(document, spec, key)["lora"] = told | ({"targets": own} if own else {})
    adapted = parse(document)
    document = to_document(adapted)
    _freeze_all_but(adapters_of(adapted), adapted, document, where)
    if seed is not None:
        document["seed"] = seed
    return _network(parse(document), network, share=flag(share, f"{where}, share"))


def _require_network(network: Any, where: str) -> None:
    if not isinstance(network, Network):
        raise ArgumentError(where, "not a network", expected="a loom.Network", got=type(network).__name__,
                            remedy="Pass loom.Network.load(..)")  # fmt: skip


def _layers_to_adapt(spec: NetworkSpec, layers: Any, where: str) -> dict[str, Adaptable]:
    """Return the layers that get adapters, by key."""
    given: list[Any] = list(layers) if is_list(layers) or is_tuple(layers) else [layers]
    keys = keys_of(spec, given, f"{where}, layers") if given else []
    wide = any(isinstance(g, str) and any(c in g for c in "*?[") for g in given)
    found: dict[str, Adaptable] = {}
    for part in spec.walk():
        if part.name not in keys:
            continue
        if isinstance(part.layer, Adaptable):
            found[part.name] = part.layer
        elif not wide:
            raise ArgumentError(f"{where}, layers", f"{part.name!r}, a {part.layer.kind} layer, has no adapters",
                                expected="dense, stitch, multi_head_attention or swiglu", got=part.layer.kind,
                                remedy="Name another, or a layer within it")  # fmt: skip
    if not found:
        raise ArgumentError(f"{where}, layers", "no such layer can have adapters", got=repr(layers)[:100],
                            expected="dense, stitch, multi_head_attention or swiglu layers",
                            remedy='Pass layers="*", or see [p.name for p in network.spec.walk()]')  # fmt: skip
    there = next((key for key, layer in found.items() if layer.lora is not None), None)
    if there is not None:
        raise ArgumentError(where, f"{there!r} has adapters already", expected="layers without",
                            got=repr(found[there].lora)[:100], remedy="Call merge_lora first")  # fmt: skip
    return found


def _freeze_all_but(learning: Mapping[str, Adaptable], spec: NetworkSpec, document: Any, where: str) -> None:
    """Freeze every layer without adapters, and thaw those with them, wherever they are."""
    for part in spec.walk():
        if isinstance(part.layer, Shared):
            continue
        told = object_at(document, spec, part.name)
        if part.name in learning:
            told.pop("frozen", None)
        elif not part.layer.parts(part.shape) or part.layer.own_weights(part.shape):
            _require_none_within(part.name, learning, where)
            told["frozen"] = True
        elif any(name.startswith(f"{part.name}.") for name in learning):
            told.pop("frozen", None)


def _require_none_within(key: str, chosen: Mapping[str, Adaptable], where: str) -> None:
    """See that no adapter is within a layer that is frozen, whose own weights would else be trained."""
    inner = next((name for name in chosen if name.startswith(f"{key}.")), None)
    if inner is not None:
        raise ArgumentError(f"{where}, layers", f"{inner!r} is within {key!r}, which has weights of its own",
                            expected="layers that no such layer holds", got=repr(key),
                            remedy="Leave it out: layers=[..]")  # fmt: skip


def _targets(targets: Any, chosen: Mapping[str, Adaptable], where: str) -> list[str]:
    named = [targets] if isinstance(targets, str) else list(items(targets, f"{where}, targets", "names of weights"))
    known = list(dict.fromkeys(short_name(m) for layer in chosen.values() for m in layer.matrices))
    named = [n.removesuffix("_proj") if isinstance(n, str) and n not in known else n for n in named]
    for name in named:
        if name not in known:
            raise ArgumentError(f"{where}, targets", f"no such layer has a weight {name!r}"[:200],
                                expected=", ".join(known), got=repr(name)[:100], remedy="Name these")  # fmt: skip
    return named


def _network(spec: NetworkSpec, base: Network, *, share: bool) -> Network:
    """Return a network of a document whose weights are a base's, shared or copied, as far as it has them."""
    held: Mapping[str, Any] = base.model.parameters | base.model.state if share else base.model.weights()
    wanted = spec.parameters() | spec.state()
    kept = NetworkWeights({n: w for n, w in held.items() if n in wanted})
    made = Network(spec, on=base.model.device, weights=kept)
    if share:
        made.model.share_turns([base.model])
    return made


@IN_FULL
def merge_lora(network: Network) -> Network:
    """Return a network without adapters whose weights have what they add: W + (alpha / rank) A B, on its device.

    None of its layers is frozen. It answers as ``network`` does, up to rounding.

    Args:
        network: Network.

    Raises:
        ArgumentError: Not a network, or one without adapters.
    """
    where = f"{_WHERE}.merge_lora"
    _require_network(network, where)
    found = _require_adapters(network, where)
    weights = dict(network.model.weights())
    document = to_document(network.spec)
    for key, layer in found.items():
        assert layer.lora is not None
        object_at(document, network.spec, key).pop("lora")
        for matrix in layer.adapted:
            own = [network.model.parameters[f"{key}.{n}"] for n in (matrix, *adapter_names(matrix))]
            wide, a, b = (w.astype(compute_type(w.dtype)) for w in own)
            merged = wide + tensor.matmul(a, b) * layer.lora.scale
            weights[f"{key}.{matrix}"] = merged.astype(own[0].dtype).host_elements()[0]
    for part in network.spec.walk():
        if part.layer.frozen and not isinstance(part.layer, Shared):
            object_at(document, network.spec, part.name).pop("frozen", None)
    spec = parse(document)
    wanted = spec.parameters() | spec.state()
    merged = NetworkWeights({n: w for n, w in weights.items() if n in wanted})
    return Network(spec, on=network.model.device, weights=merged)


def _require_adapters(network: Network, where: str) -> dict[str, Adaptable]:
    found = adapters_of(network.spec)
    if not found:
        raise ArgumentError(where, "the network has no adapters", expected="layers with lora", got="none",
                            remedy="Add some: structure.add_lora(network)")  # fmt: skip
    return found


# files


def _modules(network: Network, names: ModuleNames, where: str) -> dict[str, tuple[str, Adaptable, str]]:
    """Return of each adapted matrix its module's name in files: (key, layer, matrix)."""
    if not (names is None or is_mapping(names) or callable(names)):
        raise ArgumentError(f"{where}, names", "no way to name modules", expected="a dict or a function of names",
                            got=repr(names)[:100], remedy='Write {"layers.2": "lm_head"}')  # fmt: skip
    made: dict[str, tuple[str, Adaptable, str]] = {}
    for key, layer in _require_adapters(network, where).items():
        for matrix in layer.adapted:
            plain = key if len(layer.matrices) == 1 else f"{key}.{short_name(matrix)}_proj"
            told = names.get(plain, plain) if is_mapping(names) else names(plain) if callable(names) else plain
            if not isinstance(told, str) or told in made:
                raise ArgumentError(f"{where}, names", f"{plain!r} has no name of its own", expected="a name for each",
                                    got=repr(told)[:100], remedy="Give each module another name")  # fmt: skip
            made[told] = key, layer, matrix
    return made


def save_adapters(network: Network, path: str | os.PathLike[str], *, names: ModuleNames = None) -> None:
    """Write the adapters alone: a .safetensors file, or a folder as PEFT has it, with ``adapter_config.json``.

    Args:
        network: Network.
        path: File that ends so, or folder, in place of one there.
        names: Names there by names here (``layers.0``, ``layers.1.q_proj`` -> ``model.layers.0.self_attn.q_proj``), a
            mapping or a function; None: the names here.

    Raises:
        ArgumentError: Not a network, or one without adapters; unusable names.
        DTypeError: Not a path.
        FileError: Nothing can be written there.
    """
    where = f"{_WHERE}.save_adapters"
    _require_network(network, where)
    modules, target = _modules(network, names, where), path_to_write(path, f"{where}, path")
    held = network.weights()
    arrays: dict[str, Array] = {}
    for name, (key, _, matrix) in modules.items():
        for kind, own in zip("AB", adapter_names(matrix), strict=True):
            arrays[f"{_BEGIN}{name}.lora_{kind}.weight"] = np.ascontiguousarray(np.asarray(held[f"{key}.{own}"]).T)
    facts = _facts(modules)
    data = write_stored(arrays, {}, {"format": "pt", "loom.lora": json.dumps(facts)})
    if target.suffix == ".safetensors":
        write_file(target, data, where)
        return
    try:
        target.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FileError(where, f"the folder cannot be made ({error.strerror})", expected="a place for a folder",
                        got=str(target)[:200], remedy="Choose another place") from None  # fmt: skip
    write_file(target / _FILE, data, where)
    write_file(target / _CONFIG, (json.dumps(facts, indent=2) + "\n").encode(), where)


def _facts(modules: Mapping[str, tuple[str, Adaptable, str]]) -> dict[str, Any]:
    """Return what PEFT's configuration says of adapters: the first one's rank and alpha, and those that differ."""
    settings = {name: layer.lora for name, (_, layer, _) in modules.items() if layer.lora is not None}
    first = next(iter(settings.values()))
    alpha = {name: lora.scale * lora.rank for name, lora in settings.items()}
    begin = next(iter(alpha.values()))
    return {
        "peft_type": "LORA", "r": first.rank, "lora_alpha": begin, "lora_dropout": first.dropout, "bias": "none",
        "fan_in_fan_out": False, "target_modules": sorted(modules),
        "rank_pattern": {n: s.rank for n, s in settings.items() if s.rank != first.rank},
        "alpha_pattern": {n: a for n, a in alpha.items() if a != begin},
    }  # fmt: skip


def load_adapters(network: Network, source: str | os.PathLike[str] | bytes, *, names: ModuleNames = None) -> None:
    """Write a file's adapters into those of a network; where there is an error, nothing is written.

    Args:
        network: Network that has such adapters already (``add_lora`` of the same rank and layers).
        source: .safetensors (file or bytes) or a folder, PEFT's or Loom's.
        names: Names there by names here (``layers.0``, ``layers.1.q_proj`` -> ``model.layers.0.self_attn.q_proj``), a
            mapping or a function; None: the names here.

    Raises:
        ArgumentError: Not a network, or one without adapters; modules are missing or strange; another rank or strength.
        NotFinite: NaN or an infinity among them.
        FileError: The file cannot be read.
        StateError: The network is being trained.
    """
    where = f"{_WHERE}.load_adapters"
    _require_network(network, where)
    modules = _modules(network, names, where)
    data, told = _read(source, where)
    arrays, metadata = read_tensors(data, where)
    facts = told if told is not None else _as_facts(metadata.get("loom.lora", "{}"), where)
    found: dict[str, Array] = {}
    for name, (key, layer, matrix) in modules.items():
        assert layer.lora is not None
        _require_same_strength(facts, name, layer, where)
        for kind, own in zip("AB", adapter_names(matrix), strict=True):
            full = f"{_BEGIN}{name}.lora_{kind}.weight"
            array, weight = arrays.pop(full, None), network.model.parameters[f"{key}.{own}"]
            if array is None or array.T.shape != weight.shape:
                raise ArgumentError(where, f"the adapter {full!r} is not that of the layer {key!r}",
                                    expected=f"shape {weight.shape[::-1]}",
                                    got="nothing" if array is None else f"shape {array.shape}",
                                    remedy="Add adapters of its rank and layers, or pass names={..}")  # fmt: skip
            found[f"{key}.{own}"] = array.T
    _drop_weights_of_base(network, arrays, modules)
    if arrays:
        raise ArgumentError(where, f"the network has no adapter for {next(iter(arrays))!r}", expected=f"{len(found)}",
                            got=f"{len(arrays)} more", remedy="Adapt these too, or pass names")  # fmt: skip
    require_numbers(found, network.spec.dtype, where)
    with network.model.alone(where), network.model.lock:
        for own, array in found.items():
            network.model.parameters[own].assign(np.ascontiguousarray(array))
        network.training = None


def adapters_in(source: Any, where: str) -> dict[str, tuple[int, float | None]]:
    """Return rank and alpha (None: it is not told) of each module of a file or folder of adapters."""
    data, told = _read(source, where)
    arrays, metadata = read_tensors(data, where)
    facts = told if told is not None else _as_facts(metadata.get("loom.lora", "{}"), where)
    begin, end = _BEGIN, ".lora_A.weight"
    found: dict[str, tuple[int, float | None]] = {}
    for name, array in arrays.items():
        if name.startswith(begin) and name.endswith(end):
            module = name[len(begin) : -len(end)]
            alpha = _of_pattern(facts.get("alpha_pattern") or {}, module, facts.get("lora_alpha"))
            found[module] = array.shape[0], alpha
    if not found:
        raise ArgumentError(where, "there are no adapters", expected=f"tensors {begin}..{end}",
                            got=", ".join(list(arrays)[:3]), remedy="Check which file it is")  # fmt: skip
    return found


def _read(source: Any, where: str) -> tuple[bytes, dict[str, Any] | None]:
    """Return a file's bytes, and what stands beside it, if it is a folder."""
    if isinstance(source, bytes):
        data, facts = source, None
    else:
        place = Path(source) if isinstance(source, str) else path_of(source, f"{where}, source")
        try:
            told = file_bytes(place / _CONFIG, "loom.nn") if place.is_dir() else None
            data = file_bytes(place / _FILE if place.is_dir() else place, "loom.nn")
        except (OSError, ValueError) as error:
            raise FileError(where, f"the adapters cannot be read ({error})"[:300], expected="a .safetensors, a folder",
                            got=str(source)[:200], remedy="Check the path") from None  # fmt: skip
        facts = None if told is None else _as_facts(told, where)
    if not is_safetensors(data):
        raise ArgumentError(where, "not a safetensors file", remedy="Check which file it is")
    return data, facts


def _as_facts(text: str | bytes, where: str) -> dict[str, Any]:
    """Return what a file says of its adapters; ArgumentError for what is no JSON object of such facts."""
    try:
        read: Any = json.loads(text)
    except ValueError as error:
        read = error
    found: dict[str, Any] = dict(read) if is_mapping(read) else {"rank_pattern": read}
    if not all(is_mapping(found.get(key) or {}) for key in ("rank_pattern", "alpha_pattern")):
        raise ArgumentError(where, "what the file says of its adapters cannot be read", expected="a JSON object",
                            got=str(read)[:100], remedy="Save the adapters again")  # fmt: skip
    _require_plain(found, where)
    return found


def _require_plain(facts: Mapping[str, Any], where: str) -> None:
    """See that adapters are plain LoRA: whatever else their configuration asks for would be left out in silence."""
    other = {key: value for key, value in facts.items() if value and key not in _WITHOUT_MEANING}
    if facts.get("peft_type", "LORA") != "LORA":
        other["peft_type"] = facts["peft_type"]
    if facts.get("bias", "none") != "none":
        other["bias"] = facts["bias"]
    if facts.get("init_lora_weights") not in _FAITHFUL_STARTS:
        other["init_lora_weights"] = facts["init_lora_weights"]
    if other:
        raise ArgumentError(where, "the adapters are of another kind", expected="plain LoRA without biases",
                            got=", ".join(f"{k} {v!r}" for k, v in other.items())[:200],
                            remedy="Train plain ones, or merge them with PEFT and convert that model")  # fmt: skip


def _drop_weights_of_base(
    network: Network, arrays: dict[str, Array], modules: Mapping[str, tuple[str, Adaptable, str]]
) -> None:
    """Take out the base's own weights, which PEFT writes along with adapters of heads; they are the network's."""
    for name, (key, _, matrix) in modules.items():
        array = arrays.pop(f"{_BEGIN}{name}.base_layer.weight", None)
        if array is not None and not np.array_equal(array.T, np.asarray(network.weights()[f"{key}.{matrix}"])):
            raise ArgumentError(_LOAD, f"the adapters of {name!r} were trained beside other weights",
                                expected=f"those of {key!r}", got="others in base_layer.weight",
                                remedy="Load them into the model that they are for")  # fmt: skip


def _of_pattern(patterns: Mapping[str, Any], name: str, usual: Any) -> Any:
    """Return what PEFT's patterns say of a module: the first one whose expression the end of its name is."""
    for pattern, value in patterns.items():
        unusual = len(pattern) > 500 or re.search(r"\)[*+?{]|[*+}].*[*+}].*[*+}].*[*+}]", pattern)
        try:
            if unusual is None and re.match(rf"(.*\.)?({pattern})$", name):
                return value
        except re.error:
            unusual = True
        if unusual:
            raise ArgumentError(_LOAD, f"a pattern of modules is not read: {pattern[:60]!r}",
                                expected="a name or a simple regular expression", got=f"{len(pattern)} characters",
                                remedy="Write the names of modules in adapter_config.json")  # fmt: skip
    return usual


def _require_same_strength(facts: Mapping[str, Any], name: str, layer: Adaptable, where: str) -> None:
    """See that adapters are as strong here as in their file, if it says."""
    assert layer.lora is not None
    rank = _of_pattern(facts.get("rank_pattern") or {}, name, facts.get("r"))
    alpha = _of_pattern(facts.get("alpha_pattern") or {}, name, facts.get("lora_alpha"))
    own = layer.lora.rank, layer.lora.scale * layer.lora.rank
    if (rank, alpha) != own and rank is not None and alpha is not None:
        raise ArgumentError(where, f"the adapters of {name!r} have another rank or alpha",
                            expected=f"rank {own[0]}, alpha {own[1]:g}", got=f"rank {rank!r}, alpha {alpha!r}"[:100],
                            remedy="Pass those to add_lora")  # fmt: skip
