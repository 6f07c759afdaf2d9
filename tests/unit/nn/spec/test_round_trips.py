"""Round trips of random networks, broken documents, and the schema against its file and a validator of its own."""

from __future__ import annotations

import copy
import json
import runpy
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from loom.core.errors import SpecError
from loom.nn.spec import NetworkSpec, json_schema, parse, to_document, to_json
from unit.nn.spec.networks import networks
from unit.nn.spec.test_generations import ALIASES, SEED_PARALLEL, first

ROOT = Path(__file__).parents[4]
QUICK = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))


def told_or_read(document: Any) -> None:
    """Parse a document: any exception but SpecError, and any text that names no place, is a failure."""
    error: SpecError | None = None
    try:
        parse(document)
    except SpecError as caught:
        error = caught
    if error is not None:
        assert error.problems
        assert all(p.path.startswith("$") and p.what for p in error.problems)
        assert all(str(p) in str(error) for p in error.problems[:50]) or len(error.problems) == 1


@QUICK
@given(networks())
def test_a_network_survives_its_text(network: NetworkSpec) -> None:
    text = to_json(network)
    again = parse(text)
    assert again == network
    assert to_json(again) == text
    assert list(again.parameters().items()) == list(network.parameters().items())


OTHERS = [None, -1, 0, 1, 2, 10**30, "x", "relu", [], {}, [1], True, 0.5]


def broken(document: Any, random: Any) -> Any:
    """Return a copy with one value replaced or left out, anywhere."""
    document = copy.deepcopy(document)
    at: Any = document
    while True:
        key = random.choice(list(at) if isinstance(at, dict) else range(len(at)))
        if not isinstance(at[key], (dict, list)) or not at[key] or random.random() < 0.2:
            break
        at = at[key]
    if random.random() < 0.3 and isinstance(at, dict):
        del at[key]
    else:
        at[key] = random.choice(OTHERS)
    return document


@QUICK
@given(networks(), st.randoms(use_true_random=False))
def test_a_broken_document_is_told_or_read(network: NetworkSpec, random: Any) -> None:
    told_or_read(broken(to_document(network), random))


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(list(ALIASES)), st.sampled_from(list(ALIASES)), st.randoms(use_true_random=False))
def test_a_broken_older_document_is_told_or_read(one: str, other: str, random: Any) -> None:
    document = first(ALIASES[one], SEED_PARALLEL, ALIASES[other])
    if random.random() < 0.3:
        document = {"rows": 1, "cols": 1, "depth": 1, "layers_per_cell": 3, "layers": document["layers"]}
    told_or_read(broken(broken(document, random), random))


@pytest.mark.parametrize(("name", "text"), [("network.schema.json", "schema"), ("network.md", "guide")])
def test_what_is_said_of_layers_is_up_to_date(name: str, text: str) -> None:
    written = runpy.run_path(str(ROOT / "tools/formats.py"))[text]()
    assert (ROOT / "docs/formats" / name).read_text() == written, "run python tools/formats.py"


def test_the_schema_is_one_and_accepts_what_is_written() -> None:
    jsonschema = pytest.importorskip("jsonschema")
    schema = json_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    validator = jsonschema.Draft202012Validator(schema)

    @settings(max_examples=8, deadline=None, suppress_health_check=list(HealthCheck))
    @given(networks())
    def accepts(network: NetworkSpec) -> None:
        validator.validate(to_document(network))

    accepts()
    good = {"format": "loom/1", "input": {"shape": [4]}, "layers": [{"type": "dense", "output_size": 2}, {"$ref": "a"}]}
    assert validator.is_valid(good)
    for key, value in (("type", "dens"), ("output_size", 0), ("activation", "rellu"), ("strange", 1)):
        bad = copy.deepcopy(good)
        bad["layers"][0][key] = value  # type: ignore[index]
        assert not validator.is_valid(bad), key
    assert not validator.is_valid(good | {"nodes": {}})
    assert not validator.is_valid({k: v for k, v in good.items() if k != "format"})


def test_the_documents_of_the_guide_are_valid() -> None:
    jsonschema = pytest.importorskip("jsonschema")
    validator = jsonschema.Draft202012Validator(json_schema())
    parts = (ROOT / "docs/formats/network.md").read_text().split("```json\n")[1:]
    documents = [json.loads(part.split("```")[0]) for part in parts]
    for document in documents:
        if document.get("format"):
            validator.validate(document)
        parse(document)
    assert len(documents) >= 3


def test_the_example_of_the_guide_runs() -> None:
    (example,) = [p.split("```")[0] for p in (ROOT / "docs/formats/network.md").read_text().split("```python\n")[1:]]
    exec(compile(example, "network.md", "exec"), {})
