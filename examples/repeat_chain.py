"""95,370 dispatches in one submission: 19,074 segments of 5 dispatches, recorded in five lines.

These are the proportions of the sieve to 10^10, on segments of 16 words (1,024 numbers) instead of 8,192.
"""

import time

import numpy as np

import loom
from loom.kernels.sieve.words import sieve_count, sieve_init, sieve_mark

segments, words = 19_074, 16
n_hi, n_lo = divmod(segments * words * 64, 2**24)
primes = loom.gpu_primes(3, 4_420).astype(np.uint32)  # up to the root of 19,531,776

with loom.boot(registers=words + 2, globals=len(primes)) as unit:
    unit.write(primes)
    with unit.repeat(segments, params=np.arange(segments, dtype=np.uint32).reshape(-1, 1)) as turn:
        (seg,) = turn.params
        unit.dispatch(sieve_init, [seg, words, n_lo, n_hi])
        unit.dispatch(sieve_mark, [seg, words, 0, 53], groups=4)
        unit.dispatch(sieve_mark, [seg, words, 53, 167], groups=4)
        unit.dispatch(sieve_mark, [seg, words, 167, len(primes)], groups=4)
        unit.dispatch(sieve_count, [words, words])
    program = unit.build()
    assert program.dispatches == 95_370

    start = time.perf_counter()
    program.run()
    seconds = time.perf_counter() - start
    total = int(unit.read(words + 1, 1)[0])

print(f"{program.dispatches} dispatches in {seconds:.2f} s, {seconds / program.dispatches * 1e6:.1f} us each")
print("primes found:", total)
assert total == loom.gpu_prime_count(segments * words * 64)
