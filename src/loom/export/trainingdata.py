"""The samples that an exported network was frozen with, as the packages' examples read them.

Layer: export. Invariant: with them, in their order, every export trains to the digest of its manifest.
"""

from __future__ import annotations

from pathlib import Path

from loom.core.errors import ArgumentError
from loom.export.delivery import Export, deliver
from loom.export.network import FrozenNetwork
from loom.nn.train.scalars import flag

__all__ = ["export_samples", "write_samples"]


def export_samples(net: FrozenNetwork, out: str | Path, *, overwrite: bool = False) -> Export:
    """Write the samples that a network was frozen with into ``out``: x.bin and target.bin, or NAME.bin of each input
    and target_NAME.bin of each target; elements as C has them, row by row.

    Args:
        net: Network that was frozen with samples.
        out: Folder of the files.
        overwrite: Whether files in the folder are written over that no export wrote, or that were changed since.

    Returns:
        Export: the files.

    Raises:
        ArgumentError: A network that was frozen without; ``overwrite`` is no truth.
        FileError: Files are there that no export wrote, or that were changed since; nothing is written then.
    """
    replaced = flag("loom.export, overwrite", overwrite)
    return deliver(lambda folder: write_samples(net, folder), out, overwrite=replaced)


def write_samples(net: FrozenNetwork, folder: Path) -> Export:
    """Write the samples into a folder, whatever is there."""
    samples = net.samples
    if samples is None:
        raise ArgumentError(
            "loom.export, samples",
            "the export does not train",
            expected="data=(x, y)",
            got="none",
            remedy="Pass samples when it is frozen, or --data",
        )
    inputs, targets = [n for n, _, _ in net.inputs], [n for n, _ in net.targets]
    names = ["x"] if len(inputs) == 1 else inputs
    names += ["target"] if len(targets) == 1 else [f"target_{n}" for n in targets]
    files: list[Path] = []
    for name, array in zip(names, (*samples.x, *samples.y), strict=True):
        files.append(folder / f"{name}.bin")
        files[-1].write_bytes(array.astype(array.dtype.newbyteorder("<"), order="C").tobytes())
    return Export(tuple(files))
