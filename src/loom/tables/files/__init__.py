"""Files of tables: connections to SQLite, seals, and what is written."""
