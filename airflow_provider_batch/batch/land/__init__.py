"""Lands what came back: one row for each key, published so that readers see all or nothing."""

__all__ = ["foreign_job", "match_rows", "publish"]
