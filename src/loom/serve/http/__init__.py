"""The server: application, socket, who may speak to it, the page. Layer: serve."""
