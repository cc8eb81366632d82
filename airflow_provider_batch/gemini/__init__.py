"""The Gemini Developer API over HTTP, and nothing else."""
