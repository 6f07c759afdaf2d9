"""Tier 2: a sieve recorded dispatch by dispatch, then launched, polled and read.

A segment of 8192 words holds the odd numbers below 524,288; the 53 odd primes below 256 sieve up to 65,536.
"""

import loom
from loom.flow import loom_boot, loom_build, loom_dispatch, loom_launch, loom_poll, loom_read, loom_write
from loom.kernels.sieve.words import sieve_count, sieve_init, sieve_mark

seg, words, count_off = 0, 8192, 8192
n_hi, n_lo = divmod(65_536, 2**24)
my_primes = loom.gpu_primes(3, 256).astype("uint32")

# Boot a unit: the bitmap, the segment's count and the total in registers, the primes in globals
unit = loom_boot(1.0, 8194, 4096)
loom_write(unit, 0.0, my_primes)

# Record the pattern
loom_dispatch(unit, sieve_init, [seg, words, n_lo, n_hi], 32.0)
loom_dispatch(unit, sieve_mark, [seg, words, 0, 53], 32.0)
loom_dispatch(unit, sieve_count, [words, count_off], 32.0)

# Build once, launch, and do something else until it is done
prog = loom_build(unit)
loom_launch(prog)
while loom_poll(prog) < 0.5:
    pass

result = loom_read(unit, 0.0, 0.0, 8194, dtype=loom.u32)
print("primes below 65,536:", result[count_off])
print("first word of the bitmap:", bin(result[0]))
assert result[count_off] == 6542
assert result[0] == sum(1 << (n // 2) for n in range(1, 64, 2) if n in my_primes or n == 1)  # bit 0 is 2
