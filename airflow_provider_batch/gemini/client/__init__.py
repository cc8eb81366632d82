"""The client: one script for each call, performed by a blocking and an asynchronous shell. Only here is httpx."""
