"""Answers for the demo: word lists, not a language model. They make the demo's table worth a look.

The emulator calls :func:`answer` for every row; see ``docs/emulator.md``.
"""

from __future__ import annotations

import json
import re
from typing import Any

from airflow_provider_batch.emulator.answers.instances import instance_of
from airflow_provider_batch.emulator.wire.json import field, repeated

GOOD = frozenset(
    "amazing best better easy easily excellent fast fine flawless fun good great happy incredible love loves "
    "nice perfect perfectly pleased recommend recommended reliable satisfied simple smooth solid superb well "
    "works worth beautiful clear comfortable compact awesome fantastic impressive wonderful sharp "
    "sleek convenient".split()
)
BAD = frozenset(
    "annoying awful bad broke broken cheap complaint complaints crap dead defective difficult disappointed "
    "disappointing error fail failed fails flimsy hard hate horrible issue junk lack lacks lousy poor poorly "
    "problem problems refuse return returned slow stopped stuck terrible trouble unfortunately useless waste weak "
    "worse worst wrong".split()
)
TURNS = frozenset({"not", "no", "never", "don't", "doesn't", "isn't", "won't", "can't", "without", "hardly"})


def answer(request: dict[str, Any], key: str | None) -> str:
    """A value of the request's schema, with a label where that asks for one; without a schema a short echo."""
    parts = repeated(repeated(request, "contents")[-1], "parts")
    text = " ".join(part["text"] for part in parts if part.get("text"))
    words = re.findall(r"[A-Za-z']+", text.rsplit(":", 1)[-1])
    echo = " ".join(words[:5]) or "nothing to say"
    config = field(request, "generationConfig", {})
    schema = field(config, "responseJsonSchema") or field(config, "responseSchema")
    if schema is None:
        return echo
    return json.dumps(_labelled(instance_of(schema, echo), schema, sentiment(text)))


def _labelled(value: Any, schema: dict[str, Any], label: str) -> Any:
    """The value, with the label where the schema has it among the values to choose from."""
    if label in (schema.get("enum") or ()):
        return label
    if not isinstance(value, dict):
        return value
    properties = schema.get("properties", {})
    return {name: _labelled(item, properties.get(name, {}), label) for name, item in value.items()}


def sentiment(text: str) -> str:
    """Counts good and bad words; a negation just before a word turns it."""
    words = re.findall(r"[a-z']+", text.lower())
    score = 0
    for index, word in enumerate(words):
        value = (word in GOOD) - (word in BAD)
        score += -value if TURNS & set(words[max(0, index - 2) : index]) else value
    return "positive" if score > 0 else "negative" if score < 0 else "neutral"
