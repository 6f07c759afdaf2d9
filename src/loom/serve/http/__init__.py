"""The server: application, socket, who may speak to it, the page. Layer: serve."""

from loom.core.optional import require

require("starlette", "loom serve")
require("uvicorn", "loom serve")
require("h11", "loom serve")
