"""What rows are answered with: a text, a value of a schema, or what another server says."""

__all__ = ["instances", "results", "schema_check", "single", "texts", "upstream"]
