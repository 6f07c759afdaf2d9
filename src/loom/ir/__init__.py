"""The intermediate representation: what a kernel is, what its operations mean, how it is written.

``ops`` is the table of operations, ``kernel`` the structure, ``builder`` makes it, ``frontend`` compiles
Python to it, ``verify`` accepts or refuses it, ``text`` prints and parses it, ``interp`` defines it.
"""
