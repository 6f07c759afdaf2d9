"""What tests of tables share: a database of a few people, in memory and in a file."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from loom.tables import Database

PEOPLE: list[dict[str, Any]] = [
    {"name": "Ada", "age": 36, "height": 1.65, "city": "London"},
    {"name": "Bob", "age": 25, "height": None, "city": "Oslo"},
    {"name": "Cyd", "age": None, "height": 1.80, "city": "Rome"},
    {"name": "Dan", "age": 25, "height": 1.75, "city": "Oslo"},
    {"name": "Eve", "age": 61, "height": 1.70, "city": None},
]


@pytest.fixture(params=["memory", "file"])
def db(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    """Give an empty database."""
    with Database(tmp_path / "app.odb" if request.param == "file" else None) as made:
        yield made


@pytest.fixture
def people(db: Database) -> Any:
    """Give a table of five people."""
    table = db.table("people", name=str, age=int, height=float, city=str)
    table.insert_many(PEOPLE)
    return table
