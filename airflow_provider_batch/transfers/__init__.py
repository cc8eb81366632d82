"""Airflow operators that move results elsewhere."""
