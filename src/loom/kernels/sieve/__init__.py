"""The sieve of Eratosthenes."""
