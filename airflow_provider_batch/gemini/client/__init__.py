"""The client: one script for each call, performed by a blocking and an asynchronous shell. Only here is httpx."""

__all__ = ["answers", "asynchronous", "auth", "blocking", "calls", "exchange", "repeats", "single", "transport"]
