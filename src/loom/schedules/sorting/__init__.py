"""Orders: sorts by few workers and by many threads, values moved to those of their key. Layer: schedules."""
