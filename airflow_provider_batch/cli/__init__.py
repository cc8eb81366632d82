"""``airflow-batch``, and ``airflow gemini-batch`` where Airflow takes commands from providers.

The commands and their options are in ``parsers``, what they do is a module for each kind. What one command needs
is imported when it runs. The reason is that every ``airflow`` command imports the list of ours.
"""

from airflow_provider_batch.cli.running import main

__all__ = ["airflow_commands", "main"]
