"""OpenAI's interface over models: what requests mean, what answers say. Layer: serve."""
