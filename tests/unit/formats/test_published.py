"""Published weights are opened in milliseconds, unread, and have the numbers that the formats' own libraries read."""

from __future__ import annotations

import time

import gguf
import numpy as np
import pytest
import safetensors

from loom.models.files import open_checkpoint
from unit.formats.published import minilm, smollm2


def test_smollm2_opens_at_once() -> None:
    path = smollm2()
    start = time.perf_counter()
    found = open_checkpoint(path)
    took = time.perf_counter() - start
    assert took < 0.5  # 20 ms, of which its texts take most; gguf's reader takes seconds
    assert (found.kind, len(found.tensors), found.parameters) == ("gguf", 272, 134_515_008)
    assert found.metadata["general.architecture"] == "llama"
    assert found.metadata["llama.block_count"] == 30
    assert found.metadata.count_of("tokenizer.ggml.tokens") == len(found.metadata["tokenizer.ggml.tokens"]) == 49_152
    assert found.tensors["token_embd.weight"].shape == (49_152, 576)


def test_minilm_opens_at_once() -> None:
    start = time.perf_counter()
    found = open_checkpoint(minilm())
    assert time.perf_counter() - start < 0.2  # 4 ms
    assert found.config["model_type"] == "bert"
    assert found.text("1_Pooling/config.json").startswith("{")
    with safetensors.safe_open(minilm() / "model.safetensors", "numpy") as theirs:
        assert set(theirs.keys()) == set(found.tensors)
        for name in theirs.keys():  # noqa: SIM118 -- it is no mapping
            assert (theirs.get_tensor(name) == found.tensors[name].values()).all()


@pytest.mark.slow
def test_smollm2_is_what_gguf_reads() -> None:
    found = open_checkpoint(smollm2())
    theirs = gguf.GGUFReader(smollm2())
    for tensor in theirs.tensors:
        want = gguf.quants.dequantize(tensor.data, tensor.tensor_type)
        got = found.tensors[tensor.name].read()
        assert got.shape == want.shape
        assert (got.view(np.uint32) == want.view(np.uint32)).all(), tensor.name
    for key, field in theirs.fields.items():
        if not key.startswith("GGUF."):
            assert field.contents() == found.metadata[key], key
