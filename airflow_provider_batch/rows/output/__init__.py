"""The type of the answers: its JSON Schema to send, and the check of each answer."""

__all__ = ["fences", "schemas", "type"]
