"""Rows in the API's own form: requests to send and to check, responses to read."""

__all__ = ["checks", "dialect", "embeddings", "form", "requests", "results", "schema"]
