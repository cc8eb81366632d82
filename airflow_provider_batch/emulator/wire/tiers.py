"""The service tier of a single call: the one that is asked for, and how an answer names the served one.

The SDK sends ``serviceTier`` in small letters, and the guide's command for flex ``service_tier`` in capital ones.
The guide's page of priority inference names the header of an answer. The SDK reads the field of ``usageMetadata``.
"""

from __future__ import annotations

from typing import Final

from airflow_provider_batch.emulator.state.records import Tier
from airflow_provider_batch.emulator.wire.errors import ApiError, invalid
from airflow_provider_batch.emulator.wire.json import Message, field

TIER_HEADER: Final = "x-gemini-service-tier"

_ENUM = "type.googleapis.com/google.ai.generativelanguage.v1beta.ServiceTier"
# The first is the SDK's word for a field that is left out.
_TIERS: dict[str, Tier] = {
    "unspecified": "standard",
    "standard": "standard",
    "flex": "flex",
    "priority": "priority",
}


def asked_tier(message: Message) -> Tier:
    """Return the tier that a request asks for. Standard where it names none.

    :raises ApiError: 400 for a word that is no tier.
    """
    asked = field(message, "serviceTier", "standard")
    tier = _TIERS.get(asked.lower()) if isinstance(asked, str) else None
    if tier is None:
        raise _no_such_tier(asked)
    return tier


def without_tier(message: Message) -> Message:
    """Return the request as it stands in a row of a batch."""
    return {name: value for name, value in message.items() if name not in ("serviceTier", "service_tier")}


def with_tier(response: Message, tier: Tier) -> Message:
    """Return the response with the tier that was served in its usage."""
    return {**response, "usageMetadata": {**(response.get("usageMetadata") or {}), "serviceTier": tier}}


def _no_such_tier(asked: object) -> ApiError:
    # As the API words a wrong word of safety_settings[0].threshold.
    quoted = f'"{asked}"' if isinstance(asked, str) else str(asked)
    reason = f"Invalid value at 'service_tier' ({_ENUM}), {quoted}"
    violation = {"field": "service_tier", "description": reason}
    return invalid(
        reason, [{"@type": "type.googleapis.com/google.rpc.BadRequest", "fieldViolations": [violation]}]
    )
