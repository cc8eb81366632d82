"""Sends rows: begins a ledger, uploads media files, creates jobs, and sends again what is left over."""

__all__ = [
    "before_calls",
    "create_job",
    "end_jobs",
    "media",
    "rounds",
    "spec",
    "start",
]
