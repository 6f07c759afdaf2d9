"""Elements put elsewhere: compaction, gathering, joining, counting into bins."""
