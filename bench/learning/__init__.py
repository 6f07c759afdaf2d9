"""Networks, models and training."""
