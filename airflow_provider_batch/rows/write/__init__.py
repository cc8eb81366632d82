"""How landed rows are written for those who read them."""

__all__ = ["parquet", "sql"]
