"""SmolLM2-135M-Instruct against transformers with the same weights, dequantised: texts, and logits along them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import loom.models
from loom.models import LanguageModel
from loom.models.files import open_checkpoint
from unit.formats.published import smollm2
from unit.models.architectures.peers import away
from unit.models.architectures.test_llama import smollm2_of_transformers

PROMPTS = [
    "Once upon a time", "The capital of France is", "def fibonacci(n):", "Water boils at", "In 1969, the first",
    "The three primary colours are", "Dear Sir or Madam,", "List of planets: Mercury,", "Été comme hiver,",
    "To be, or not to be:",
]  # fmt: skip


@pytest.mark.slow
def test_greedy_texts_are_those_of_transformers() -> None:
    torch: Any = pytest.importorskip("torch")
    theirs = smollm2_of_transformers(open_checkpoint(smollm2()))
    with loom.models.load(smollm2()) as model:
        assert isinstance(model, LanguageModel)
        streams = [model.generate_stream(p, temperature=0, max_tokens=64) for p in PROMPTS]
        for prompt, stream in zip(PROMPTS, streams, strict=True):
            ids = model.tokenizer.encode(prompt)
            with torch.no_grad():
                whole = theirs.generate(torch.tensor([ids]), attention_mask=torch.ones(1, len(ids)), max_new_tokens=64,
                                        do_sample=False, eos_token_id=2, pad_token_id=2)  # fmt: skip
                logits = theirs(whole).logits[0]
            text = whole[0].tolist()
            assert [*stream.generation.tokens] == [t for t in text[len(ids) :] if t != 2], prompt
            assert away(model.logits(np.array(text)), logits) < 2e-5, prompt
