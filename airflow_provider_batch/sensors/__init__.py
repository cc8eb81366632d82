"""Airflow sensors."""

__all__ = ["gemini"]
