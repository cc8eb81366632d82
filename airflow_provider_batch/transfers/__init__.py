"""Airflow operators that move results elsewhere."""

__all__ = ["gemini"]
