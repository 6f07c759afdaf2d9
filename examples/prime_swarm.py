"""A swarm: sixteen units count the primes of a range each, launched together; the counts are added up.

``LOOM_DEVICE=vulkan python examples/prime_swarm.py`` runs it on a GPU, where it becomes one submission.
"""

import numpy as np

import loom
from loom.kernels.sieve.words import sieve_count, sieve_init, sieve_mark

UNITS, WORDS, N = 16, 2048, 10_000_000
primes = loom.gpu_primes(3, 3_164).astype(np.uint32)  # up to the root of N
per_unit = -(-N // (64 * WORDS * UNITS))  # segments of 64 WORDS numbers

units, programs = [], []
for number in range(UNITS):
    unit = loom.boot(registers=WORDS + 2, globals=primes.size)
    unit.write(primes)
    segments = np.arange(number * per_unit, (number + 1) * per_unit, dtype=np.uint32)
    with unit.repeat(per_unit, params=segments.reshape(-1, 1)) as turn:
        (segment,) = turn.params
        unit.dispatch(sieve_init, [segment, WORDS, N % 2**24, N // 2**24], groups=32)
        unit.dispatch(sieve_mark, [segment, WORDS, 0, primes.size], groups=32)
        unit.dispatch(sieve_count, [WORDS, WORDS], groups=32)
    units.append(unit)
    programs.append(unit.build())

for submission in loom.swarm(programs).launch():
    submission.wait()

counts = [unit.read(WORDS + 1, 1).item() for unit in units]
print("per unit:", counts)
print(f"primes below {N}: {sum(counts)}")
assert sum(counts) == 664_579
