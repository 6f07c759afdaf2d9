"""The command line: argument parsing and printing only. Nothing here is imported by ``import loom``."""
