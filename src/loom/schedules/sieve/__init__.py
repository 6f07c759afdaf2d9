"""The prime sieve: in stretches, a lane each, or by classes, whose lanes are threads; ``plan`` chooses."""
