"""Sends rows: begins a ledger, uploads media files, creates jobs, and sends again what is left over."""

__all__ = ["create_job", "end_jobs", "rounds", "start"]
