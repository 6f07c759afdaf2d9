"""Samples of files: ``digits`` of scikit-learn, .npz and .csv; their division for testing; texts of tokens as samples.

Layer: nn. Invariant: the same file gives the same samples in the same order; what is held out depends on their number
and a seed alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from loom.core.arrays import Array, read_array
from loom.core.errors import ArgumentError, EmptyError, ShapeError
from loom.core.given import flag, items
from loom.core.numbers import whole
from loom.core.optional import load
from loom.nn.train.losses import PADDING
from loom.nn.train.plan import order_of_epoch

__all__ = [
    "class_names",
    "column_names",
    "divide",
    "number_classes",
    "read_inputs",
    "read_samples",
    "read_targets",
    "token_windows",
]


_NAMES = (("x", "y"), ("X", "Y"), ("inputs", "targets"), ("images", "labels"), ("data", "target"))
_HOLD_OUT_EPOCH = 2**31 - 1
"""The last of the epochs' streams, which no training comes to."""
_MOST_TOKEN = 2**31 - 1


def read_samples(source: str, shape: tuple[int, ...] | None = None, classes: Sequence[str] = ()) -> tuple[Array, Array]:
    """Return inputs and targets of ``digits``, FILE.npz or FILE.csv; inputs take ``shape``, if they fit it.

    .npz: arrays x and y (or inputs and targets, images and labels, data and target). .csv: a row for each sample, its
    last column the target; a first row of names alone is left out. Whole numbers in the last column are classes; texts
    are classes too: numbered as ``classes`` has them, without it in alphabetical order. ArgumentError tells the row and
    column of what is no number, and of a text that is none of the classes.
    """
    x, y = read_targets(source, shape)
    return x, number_classes(y, classes or class_names(y), source)


def read_targets(source: str, shape: tuple[int, ...] | None = None) -> tuple[Array, Array]:
    """Return the same with the targets as they stand there: texts are not numbered."""
    if source == "digits":
        x, y = _digits()
    elif _path(source).suffix == ".npz":
        x, y = _pair(Path(source))
    else:
        rows = _rows(Path(source), least=2)
        x = _columns(Path(source), [(number, row[:-1]) for number, row in rows])
        y = _targets(Path(source), [(number, row[-1].strip()) for number, row in rows])
    _require_samples(source, x, y)
    return _reshape(x, shape), y


def class_names(targets: Array) -> tuple[str, ...]:
    """Return the texts among targets, each once, in alphabetical order; () for numbers."""
    return tuple(sorted(set(targets.tolist()))) if targets.dtype.kind == "U" else ()


def number_classes(targets: Array, classes: Sequence[str], source: str) -> Array:
    """Return texts as the numbers of their classes; numbers are returned as they are, unless they name classes.

    ArgumentError for a text that no class has.
    """
    places = {name: k for k, name in enumerate(classes)}
    if targets.dtype.kind != "U":
        cells = [f"{v:g}" for v in targets.tolist()] if targets.ndim == 1 and classes else []
        are_names = bool(cells) and set(cells) <= set(places)
        return np.array([places[c] for c in cells], np.int32) if are_names else targets
    for row, name in enumerate(targets.tolist(), 1):
        if name not in places:
            where, known = f"{source}, sample {row}", ", ".join(places) or "numbers"
            raise ArgumentError(where, "a class that the model does not know", expected=known, got=repr(name),
                                remedy="Name all classes, in the order of the outputs: --names a,b,...")  # fmt: skip
    return np.array([places[name] for name in targets.tolist()], np.int32)


def column_names(source: str) -> tuple[str, ...]:
    """Return the first row of a .csv, if it is one of names; else ()."""
    first = next(iter(_lines(_path(source))), None)
    return tuple(cell.strip() for cell in first[1]) if first is not None and _are_names(first[1]) else ()


def read_inputs(source: str, shape: tuple[int, ...]) -> Array:
    """Return the inputs of ``source`` as ``read_samples``, without asking for targets.

    A .csv may have as many columns as a sample has elements, an .npz the inputs alone.
    """
    if source != "digits" and _path(source).suffix == ".npz":
        found = _arrays(Path(source))
        name = next((x for x, _ in _NAMES if x in found), None)
        if name is not None:
            _require_samples(source, found[name], found[name])
            return _reshape(found[name], shape)
    elif source != "digits":
        rows = _rows(Path(source), least=1)
        if len(rows[0][1]) == int(np.prod(shape)):
            return _reshape(_columns(Path(source), rows), shape)
    return read_samples(source, shape)[0]


def _path(source: str) -> Path:
    """Return the path of a file that can be read as samples; ArgumentError if it is none."""
    path = Path(source)
    if path.suffix not in (".npz", ".csv"):
        raise ArgumentError("--data", "not known", expected="digits, FILE.npz or FILE.csv", got=repr(source),
                            remedy="Name a file by its ending")  # fmt: skip
    if not path.is_file():
        raise ArgumentError("--data", "no such file", expected="an .npz or .csv file", got=repr(source),
                            remedy="Check the path")  # fmt: skip
    return path


def _require_samples(source: str, x: Array, y: Array) -> None:
    if x.ndim == 0 or y.ndim == 0 or len(x) != len(y):
        raise ShapeError(source, "inputs and targets are not of the same samples",
                         expected="arrays of one first size", got=f"{x.shape} and {y.shape}",
                         remedy="The first axis of both counts samples")  # fmt: skip


def _reshape(x: Array, shape: tuple[int, ...] | None) -> Array:
    fits = shape is not None and x.shape[1:] != shape and prod(x.shape[1:]) == prod(shape)
    return x.reshape(len(x), *shape) if fits and shape is not None else x


def _digits() -> tuple[Array, Array]:
    """Return the 1797 pictures of 8 x 8 handwritten digits, from 0 to 1, and their classes."""
    samples: Any = load("sklearn.datasets", "--data digits", otherwise="or pass a file")
    x, y = samples.load_digits(return_X_y=True)
    return (x / 16.0).astype(np.float32), y.astype(np.int32)  # exact: the pictures have 17 shades


def _arrays(path: Path) -> dict[str, Array]:
    """Return all arrays of an .npz file."""
    from loom.formats.raw_arrays import read_npz  # few trainings read files

    try:
        return read_npz(path)
    except ValueError as error:
        raise ArgumentError(
            str(path), f"not an .npz file of numbers ({error})", remedy="Write it with np.savez"
        ) from None


def _pair(path: Path) -> tuple[Array, Array]:
    found = _arrays(path)
    for x, y in _NAMES:
        if x in found and y in found:
            return found[x], found[y]
    raise ArgumentError(
        str(path),
        "the arrays are not named as samples",
        expected="x and y",
        got=", ".join(found) or "none",
        remedy="Write it with np.savez(path, x=..., y=...)",
    )


_Row = tuple[int, list[str]]
"""The number of a line and its cells."""


def _lines(path: Path) -> list[_Row]:
    """Return the lines of a .csv that are not empty; ArgumentError for a quote that does not end."""
    from loom.formats.csv_cells import RecordError, file_encoding, read_records

    rows: list[_Row] = []
    number = 0
    try:
        records = read_records(str(path), ",", file_encoding(str(path), str(path)))
        for number, (_, cells) in enumerate(records, 1):
            rows += [(number, cells)] if cells else []
        return rows
    except UnicodeError as error:
        raise ArgumentError(
            str(path), f"not a table of text ({error})", remedy="Save it as UTF-8 with commas"
        ) from None
    except RecordError as error:
        raise ArgumentError(f"{path}, row {number + 1}", f"its cells cannot be told apart ({error})",
                            expected="quotes around whole cells, each with its end, doubled inside of them",
                            remedy="Correct the quotes of this row") from None  # fmt: skip


def _are_names(row: list[str]) -> bool:
    """Tell whether a row names columns: every cell is a text with a letter in it, none stands for a missing number."""
    cells = [cell.strip() for cell in row]
    return all(
        not _is_number(c) and c.lower() not in _MISSING and any(map(str.isalpha, c)) for c in cells
    ) and len(set(cells)) == len(cells)  # fmt: skip


_MISSING = ("", "?", "-", "na", "n/a", "nan", "null", "none", "missing")
"""What stands for a number that is not known."""


def _rows(path: Path, *, least: int) -> list[_Row]:
    """Return the lines of a .csv, all of the same number of columns, ``least`` or more, without one of names."""
    rows = _lines(path)
    if rows and _are_names(rows[0][1]):
        rows = rows[1:]
    if not rows:
        raise EmptyError(
            str(path), "no samples", expected="at least 1 row of numbers", got="none", remedy="Check the file"
        )
    width = len(rows[0][1])
    if width < least:
        raise ArgumentError(f"{path}, row {rows[0][0]}", "too few columns", expected=f"at least {least}", got=width,
                            remedy="Put commas between them, the target last")  # fmt: skip
    for number, row in rows:
        if len(row) != width:
            raise ArgumentError(
                f"{path}, row {number}",
                "another number of columns",
                expected=width,
                got=len(row),
                remedy="Give each row the same columns, the target last",
            )
    return rows


def _columns(path: Path, rows: list[_Row]) -> Array:
    return np.array([[_number(path, number, c, cell) for c, cell in enumerate(row, 1)] for number, row in rows])


def _targets(path: Path, rows: list[tuple[int, str]]) -> Array:
    cells = [cell for _, cell in rows]
    if not all(map(_is_number, cells)):
        for number, cell in rows:
            if cell.lower() in _MISSING:
                raise ArgumentError(f"{path}, row {number}", "the target is missing", expected="a number or a class",
                                    got=repr(cell), remedy="Leave the row out")  # fmt: skip
        return np.array(cells)
    found = np.array([float(c) for c in cells])
    is_whole = np.isfinite(found).all() and (found == np.floor(found)).all() and (np.abs(found) < 2**31).all()
    return found.astype(np.int32) if is_whole else found


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _number(path: Path, row: int, column: int, cell: str) -> float:
    try:
        return float(cell)
    except ValueError:
        remedy = "Only targets may be texts; a first row of names has no number"
        if row == 1:
            remedy += " and has a name for each column, all different (pandas: to_csv(index=False))"
        raise ArgumentError(f"{path}, row {row}, column {column}", "not a number", expected="a number", got=repr(cell),
                            remedy=remedy) from None  # fmt: skip


def divide(x: Array, y: Array, share: float, seed: int = 0) -> tuple[tuple[Array, Array], tuple[Array, Array] | Any]:
    """Return samples to train with and those held out: ``share`` (0 up to 1) of them, chosen by the seed; of 0 None."""
    if not 0 <= share < 1:
        raise ArgumentError("--hold-out", "not a share", expected="0 up to but not including 1", got=share,
                            remedy="Pass for example 0.2")  # fmt: skip
    count = int(len(x) * share)
    if count == 0:
        return (x, y), None
    order = order_of_epoch(len(x), seed, _HOLD_OUT_EPOCH)
    out, kept = np.sort(order[:count]), np.sort(order[count:])
    return (x[kept], y[kept]), (x[out], y[out])


# tokens


def token_windows(texts: Iterable[Any], length: int, *, pack: bool = False, pad: int = 0) -> tuple[Array, Array]:
    """Return inputs and targets, (windows, length) of i32 each, for ``train(x, y, loss="next_token")``.

    A text longer than ``length`` + 1 is several windows, which begin where the one before ended. The rest of a window
    is ``pad``, with the target -100, which no loss counts. ``pack``: all texts one after the other, so that only the
    last window has any (tokens then see those of texts before; end each with a token of its own).

    Args:
        texts: Sequences of whole numbers, of two at least.
        length: Tokens of a window.
        pack: Whether all texts go one after the other, so that only the last window has filling.
        pad: Token that fills windows up.

    Raises:
        ArgumentError: Not sequences of whole numbers from 0; a length below 1; ``pack`` is no truth.
        EmptyError: There are no texts, or none has two tokens.

    >>> x, y = token_windows([[5, 6, 7, 8], [1, 2]], 3)
    >>> x.tolist(), y.tolist()
    ([[5, 6, 7], [1, 0, 0]], [[6, 7, 8], [2, -100, -100]])
    >>> token_windows([[5, 6, 7, 8], [1, 2]], 3, pack=True)[1].tolist()
    [[6, 7, 8], [1, 2, -100]]
    """
    where = "loom.nn.train.token_windows"
    size = whole(length, f"{where}, length", least=1, most=_MOST_TOKEN)
    filler = whole(pad, f"{where}, pad", least=0, most=_MOST_TOKEN)
    read = [_tokens(text, i, where) for i, text in enumerate(items(texts, f"{where}, texts", "sequences of tokens"))]
    if not read:
        raise EmptyError(where, "there are no texts", expected="at least 1", got=0, remedy="Pass a list of sequences")
    joined = [np.concatenate(read)] if flag(pack, f"{where}, pack") else read
    parts = [text[at : at + size + 1] for text in joined for at in range(0, len(text) - 1, size)]
    if not parts:
        raise EmptyError(where, "no text has two tokens", expected="a token and its next one", got="shorter texts",
                         remedy="Pass longer texts")  # fmt: skip
    x, y = np.full((len(parts), size), filler, np.int32), np.full((len(parts), size), PADDING, np.int32)
    for row, part in enumerate(parts):
        x[row, : len(part) - 1], y[row, : len(part) - 1] = part[:-1], part[1:]
    return x, y


def _tokens(text: Any, number: int, where: str) -> Array:
    """Return the tokens of a text."""
    place = f"{where}, text {number}"
    found = read_array(text if isinstance(text, np.ndarray) else items(text, place, "tokens"), place)[0]
    if found.ndim != 1 or (found.size and found.dtype.kind not in "iu") or ((found < 0) | (found > _MOST_TOKEN)).any():
        raise ArgumentError(place, "no tokens", expected="whole numbers from 0, one after another",
                            got=repr(found)[:100], remedy="Encode the text first")  # fmt: skip
    return found.astype(np.int32)
