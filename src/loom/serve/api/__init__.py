"""OpenAI's interface over models: what requests mean, what answers say. Layer: serve."""

from loom.core.optional import require

require("starlette", "loom serve")
