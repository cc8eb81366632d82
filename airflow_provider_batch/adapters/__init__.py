"""What speaks the language of other packages."""

__all__ = ["common_ai"]
