"""Plans as rows that GPUs are handed: what the three drivers of GPUs do alike."""
