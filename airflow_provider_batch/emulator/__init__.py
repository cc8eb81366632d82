"""A local server that speaks the Batch Mode of the Gemini Developer API.

It is an imitation for tests and demonstrations: it answers on loopback only, calls no model and bills nothing.
Importing this package must stay cheap, because pytest imports it for every run. So only the server process imports
the HTTP libraries.
"""

from airflow_provider_batch.emulator.process import Emulator, running_emulator
from airflow_provider_batch.emulator.state.limits import Limits

__all__ = ["Emulator", "Limits", "answers", "options", "process", "pytest_plugin", "running_emulator", "wire"]
