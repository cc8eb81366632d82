"""Airflow operators."""

__all__ = ["embeddings", "fetch", "gemini", "options"]
