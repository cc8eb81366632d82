"""The calls of the API, one module per resource, and the control calls under their own prefix."""

__all__ = ["batches", "content", "control", "files", "models", "upload", "webhooks"]
