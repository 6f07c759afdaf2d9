"""One call, one answer: patterns over arrays, each a recorded chain kept for the next call of its kind."""
