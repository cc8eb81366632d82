"""Waits for jobs: one poller for all who wait in an event loop, and what to do after each look."""

__all__ = ["endings", "poller", "watch", "webhook_notes"]
