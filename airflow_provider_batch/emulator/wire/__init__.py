"""How calls come in and go out: identification, faults, refusals, the JSON of the API."""

__all__ = ["auth", "context", "errors", "gate", "json", "paging", "related", "tiers"]
