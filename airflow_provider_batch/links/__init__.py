"""What a task shows of its batch in Airflow's UI."""

__all__ = ["gemini"]
