"""The commands of ``loom``, one a file. Each imports what it needs when it runs."""
