"""The two spellings of the protocol's names: ``generationConfig`` and ``generation_config``."""

from __future__ import annotations


def camel_case(name: str) -> str:
    """A field's name in the spelling of the API's reference."""
    if "_" not in name[1:]:
        return name
    first, *rest = name.split("_")
    return first + "".join(word[:1].upper() + word[1:] for word in rest)
