"""Random words of a record: those of the counter (block, number, step, stream), whatever the shape and the device."""

from __future__ import annotations

import numpy as np
import pytest

from loom import tensor
from loom.core.philox import philox
from loom.tensor.ops.random import random_words

SEED, NUMBER, STREAM = 0xFEDC_BA98_7654_3210, 9, 0x4C570002


@pytest.mark.parametrize("on", ["cpu", "interp"])
@pytest.mark.parametrize("shape", [(), (0, 3), (1,), (5,), (3, 7, 13), (4099,)])
def test_words_of_the_counter(on: str, shape: tuple[int, ...]) -> None:
    found = random_words(shape, SEED, NUMBER, tensor.array([77], "i64", on=on), STREAM).numpy()
    size = int(np.prod(shape))
    words = philox(np.arange(-(-size // 4), dtype=np.uint64), NUMBER, 77, STREAM, SEED)
    assert found.tobytes() == np.stack(words, 1).reshape(-1)[:size].astype(np.uint32).tobytes()
    assert found.shape == shape


def test_each_step_draws_anew_in_one_kernel() -> None:
    step = tensor.input("step", (1,), "u32")
    drawn = [random_words((6,), SEED, n, step, STREAM) for n in (1, 2)]
    program = tensor.compile(drawn, on="cpu")
    assert program.dispatches == 2
    seen = []
    for at in (0, 1):
        program.run(step=[at])
        seen += [tuple(words.tolist()) for words in program.read()]
    assert len(set(seen)) == 4


@pytest.mark.parametrize("each", [1, 2, 3, 4, 7, 10])
def test_later_words_are_those_of_their_places(each: int, on: str) -> None:
    """Of every rest of the place by 4, and of sizes that end within a block."""
    step = tensor.array([9], "u32", on=on)
    whole = random_words((25, each), SEED, NUMBER, step, STREAM).numpy()
    first = tensor.input("first", (), "u32")
    for size in (1, 2, 6):
        program = tensor.compile([random_words((size, each), SEED, NUMBER, step, STREAM, after=(first, each))], on=on)
        for at in range(6):
            program.run(first=np.uint32(at * 3))
            assert program.read()[0].tobytes() == whole[at * 3 : at * 3 + size].tobytes()
