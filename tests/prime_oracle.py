"""Tells primes by a test that shares nothing with a sieve."""

from __future__ import annotations


def is_prime(n: int) -> bool:
    """Miller and Rabin with the first 13 prime bases, which decide every n below 3.3 * 10^24."""
    bases = (2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41)
    if n < 2 or any(n % b == 0 for b in bases):
        return n in bases
    shift = (n - 1 & 1 - n).bit_length() - 1
    for base in bases:
        x = pow(base, n - 1 >> shift, n)
        if x not in (1, n - 1) and all((x := x * x % n) != n - 1 for _ in range(shift - 1)):
            return False
    return True
