"""Columns of tables: their types, names, conditions and schema."""
