"""Keeps credentials out of texts of others. A server, or a gateway before it, may repeat a key in its answer.

A key is known by its own text, not by how keys look. Keys of AI Studio and of gateways have had several forms.
"""

from __future__ import annotations

import re
import threading
from collections import OrderedDict

BLANK = "***"

SHORTEST = 8
"""Characters. A shorter text, such as a key for a local imitation of the API, would blank parts of words."""

MOST = 256
"""Credentials that are remembered: tokens are replaced by the hour."""

_ENTITIES = {"<": ("lt",), ">": ("gt",), "&": ("amp",), '"': ("quot",), "'": ("apos",), "+": ("plus",)}

_LOCK = threading.Lock()
_KNOWN: OrderedDict[str, re.Pattern[str]] = OrderedDict()


def conceal(secret: str) -> None:
    """Blank this credential from now on, in every error of this process.

    :param secret: An API key or a token.
    """
    if len(secret) < SHORTEST:
        return
    with _LOCK:
        if secret not in _KNOWN:
            _KNOWN[secret] = re.compile("".join(map(_forms, secret)))
        _KNOWN.move_to_end(secret)
        while len(_KNOWN) > MOST:
            _KNOWN.popitem(last=False)


def blanked(text: str) -> str:
    """The text without any credential that is known, as it stands or escaped for a URL, JSON or HTML."""
    for pattern in tuple(_KNOWN.values()):
        text = pattern.sub(BLANK, text)
    return text


def _forms(character: str) -> str:
    """A character as it stands, or as it is escaped."""
    code = ord(character)
    named = "".join(f"|&{name};" for name in _ENTITIES.get(character, ()))
    escapes = rf"(?i:%{code:02x}|\\u{code:04x}|&#x0*{code:x};|&#0*{code};{named})"
    return rf"(?:\\?{re.escape(character)}|{escapes})"
