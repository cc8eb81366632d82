"""TaskFlow decorators."""

__all__ = ["gemini"]
