"""The data plane: rows in, rows out, for any vendor. Nothing here grows with the number of rows."""

__all__ = [
    "causes",
    "check",
    "dialect",
    "frames",
    "manifest",
    "media",
    "money",
    "output",
    "prompt",
    "read",
    "results",
    "storage",
    "templates",
    "write",
]
