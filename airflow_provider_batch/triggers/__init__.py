"""Airflow triggers."""

__all__ = ["events", "gemini"]
