"""The door test: what two public names for one question answer, call by call."""
