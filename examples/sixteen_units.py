"""Sixteen units sieve side by side; the CPU boots them, launches all, polls, and adds up."""

import loom
from loom.flow import loom_boot, loom_build, loom_dispatch, loom_launch, loom_poll, loom_read, loom_write
from loom.kernels.sieve.words import sieve_count, sieve_init, sieve_mark

n = 100_000_000
words = 8192
n_hi, n_lo = divmod(n, 2**24)
primes = loom.gpu_primes(3, 10_001).astype("uint32")  # up to the root of n
segments = -(-n // (words * 64))

units, programs = [], []
for i in range(16):
    unit = loom_boot(1.0, 8194.0, 4096.0)
    loom_write(unit, 0.0, primes)
    for seg in range(i, segments, 16):
        loom_dispatch(unit, sieve_init, [seg, words, n_lo, n_hi], 32.0)
        loom_dispatch(unit, sieve_mark, [seg, words, 0, len(primes)], 32.0)
        loom_dispatch(unit, sieve_count, [words, words], 32.0)
    prog = loom_build(unit)
    loom_launch(prog)  # returns at once
    units.append(unit)
    programs.append(prog)

while min(loom_poll(prog) for prog in programs) < 0.5:
    pass

counts = [int(loom_read(unit, 0.0, words + 1, 1, dtype=loom.u32)[0]) for unit in units]
print("per unit:", counts)
print(f"primes below {n}: {sum(counts)}")
assert sum(counts) == 5_761_455
