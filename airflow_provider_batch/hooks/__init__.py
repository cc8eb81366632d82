"""Airflow hooks."""

__all__ = ["gemini"]
