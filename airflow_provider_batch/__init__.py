"""Airflow provider for the Batch Mode of the Gemini API: one JSONL file in, parsed results out.

Importing this package imports nothing else; name the module you need.
"""

__version__ = "0.1.0"
