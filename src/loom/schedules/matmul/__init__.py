"""How matrix products are recorded, of any shape, type and precision."""

from loom.schedules.matmul.products import is_better_turned, reads_both_ways, record_gathered, record_matmul
from loom.schedules.matmul.recording import Multiplication

__all__ = ["Multiplication", "is_better_turned", "reads_both_ways", "record_gathered", "record_matmul"]
