"""What Airflow asks a provider at start-up. Imports nothing, as every Airflow process calls it."""

from __future__ import annotations

_HOOK = "airflow_provider_batch.hooks.gemini"


def get_provider_info() -> dict[str, object]:
    """The provider's description, in the form of Airflow's ``provider_info.schema.json``."""
    integration = "Google Gemini Batch Mode"
    return {
        "package-name": "airflow-provider-batch",
        "name": "Gemini Batch",
        "description": "Run many LLM requests as one batch job of the Gemini API and land the results.",
        "integrations": [
            {
                "integration-name": integration,
                "external-doc-url": "https://ai.google.dev/gemini-api/docs/batch-api",
                "tags": ["ai", "service"],
            }
        ],
        "hooks": [{"integration-name": integration, "python-modules": [_HOOK]}],
        "operators": [
            {
                "integration-name": integration,
                "python-modules": [
                    "airflow_provider_batch.operators.gemini",
                    "airflow_provider_batch.operators.embeddings",
                    "airflow_provider_batch.operators.fetch",
                ],
            }
        ],
        "sensors": [
            {"integration-name": integration, "python-modules": ["airflow_provider_batch.sensors.gemini"]}
        ],
        "triggers": [
            {
                "integration-name": integration,
                "python-modules": [
                    "airflow_provider_batch.triggers.gemini",
                    "airflow_provider_batch.triggers.events",
                ],
            }
        ],
        "task-decorators": [
            {"name": "gemini_batch", "class-name": "airflow_provider_batch.decorators.gemini.gemini_batch_task"}
        ],
        "extra-links": [
            "airflow_provider_batch.links.gemini.GeminiBatchLink",
            "airflow_provider_batch.links.gemini.GeminiResultsLink",
        ],
        "connection-types": [_connection_type()],
        "cli": ["airflow_provider_batch.cli.airflow_commands.get_commands"],
    }


def _connection_type() -> dict[str, object]:
    return {
        "connection-type": "gemini",
        "hook-class-name": f"{_HOOK}.GeminiBatchHook",
        "hook-name": "Google Gemini (Batch Mode)",
        "ui-field-behaviour": {
            "hidden-fields": ["schema", "port", "login"],
            "relabeling": {"password": "API key", "host": "Base URL"},
            "placeholders": {
                "host": "empty = https://generativelanguage.googleapis.com",
                "password": "key from Google AI Studio",
            },
        },
        "conn-fields": {
            "auth_type": _field(
                "Authentication",
                "api_key: key in the password. oauth_token: bearer token in the password. "
                "adc: Application Default Credentials of the worker.",
                enum=["api_key", "oauth_token", "adc"],
                default="api_key",
            ),
            "quota_project": _field(
                "Quota project", "Google Cloud project to charge the quota to. Only with oauth_token and adc."
            ),
            "api_version": _field("API version", "", enum=["v1beta", "v1"], default="v1beta"),
            "account": _field(
                "Account name",
                "Whose credential it is, in place of a digest of the key. Keep it when the key is rotated.",
            ),
            "deployment": _field(
                "Deployment name", "Tells apart two Airflows that run the same DAGs with the same credential."
            ),
            "prices": _field("Price file", "Path or URI of a price file in place of the package's own."),
            "max_enqueued_tokens": _count(
                "Enqueued tokens", "About how many input tokens one task may have enqueued. Empty = no limit."
            ),
            "requests_per_minute": _count(
                "Requests a minute", "Single calls that leave each worker machine in a minute. Empty = 60."
            ),
            "tokens_per_minute": _count(
                "Tokens a minute",
                "Input tokens of single calls that leave each worker machine in a minute. Empty = 250,000.",
            ),
            "webhook_secret": {
                "label": "Webhook secret",
                "description": "What creating a webhook returned. Then its deliveries end waits within seconds.",
                "schema": {"type": ["string", "null"], "format": "password"},
            },
            "trust_env": {
                "label": "Use proxy variables",
                "description": "Let HTTPS_PROXY and the like steer the connection that carries the key.",
                "schema": {"type": ["boolean", "null"], "default": False},
            },
        },
    }


def _count(label: str, description: str) -> dict[str, object]:
    return {
        "label": label,
        "description": description,
        "schema": {"type": ["integer", "null"], "minimum": 1},
    }


def _field(
    label: str, description: str, enum: list[str] | None = None, default: str | None = None
) -> dict[str, object]:
    schema: dict[str, object] = {"type": ["string", "null"]}
    if enum:
        schema |= {"enum": enum, "default": default}
    return {"label": label, "description": description, "schema": schema}
