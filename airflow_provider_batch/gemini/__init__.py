"""The Gemini Developer API over HTTP, and nothing else."""

__all__ = ["calling", "client", "limits", "prices", "rows", "service", "webhooks", "wire"]
