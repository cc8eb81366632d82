"""What ``make demo`` and ``make airflow`` run."""
