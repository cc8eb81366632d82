"""The page "Gemini batches" in Airflow's UI: what Airflow's database, ledgers and the API say, put together."""

__all__ = ["app", "webhooks"]
