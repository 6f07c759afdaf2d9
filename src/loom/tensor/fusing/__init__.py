"""Which kernels a program has: groups of operations, copies that are made once, what need not be made again."""
