"""The version of Loom, read by the build and by caches."""

__version__ = "0.1.0.dev0"
