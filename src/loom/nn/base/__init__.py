"""Parts that networks of every kind stand on: weights of a seed, watches, locks, digests, foreign names."""
