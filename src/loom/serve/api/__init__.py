"""OpenAI's interface over models: what requests mean, what answers say. Layer: serve."""

from loom.core.extras import require

require("starlette", "loom serve")
