"""Arrow streams in and out, by the structs of the C interface."""
