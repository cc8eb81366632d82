"""Checks rows before they are sent: keys, findings, and the spools of each job."""

__all__ = ["keys", "shards", "staging"]
