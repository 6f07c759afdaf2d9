"""Networks of the first and second generation (DNVM), read into ``loom/1`` (``reader.read_older``), and written.

Layer: nn. Invariant: what a document says is done, where the original implementation did something else; whatever a
conversion changes or leaves out is a warning.
"""
