"""Which kinds of files an upload may have. Google has no list. This one is a choice.

Taken are all text, images, sound and video. Taken are also the kinds of ``application/`` that the guides of the
Gemini API name for prompts and for batches. The guide's own ``jsonl`` is taken, too, though it is no MIME type.
Google's own tests have ``bad/mime_type`` refused. ``png`` and ``application/cu-seeme`` were reported as refused
(crush issue 995, python-genai issue 744).
"""

from __future__ import annotations

import re

DEFAULT_MIME = "application/octet-stream"

_WHOLE_KINDS = re.compile(r"(text|image|audio|video)/[a-z0-9][a-z0-9!#$&^_.+-]*")
_OTHERS = {
    "jsonl",
    DEFAULT_MIME,
    *(
        f"application/{name}"
        for name in (
            "javascript",
            "json",
            "json-lines",
            "jsonl",
            "jsonlines",
            "msword",
            "pdf",
            "rtf",
            "typescript",
            "vnd.openxmlformats-officedocument.presentationml.presentation",
            "vnd.openxmlformats-officedocument.spreadsheetml.sheet",
            "vnd.openxmlformats-officedocument.wordprocessingml.document",
            "x-ipynb+json",
            "x-javascript",
            "x-jsonlines",
            "x-ndjson",
            "x-python",
            "x-python-code",
            "x-typescript",
            "xml",
        )
    ),
}


def is_supported(mime_type: str) -> bool:
    """Say whether an upload of this type is taken. Parameters such as ``charset`` do not matter."""
    kind = mime_type.partition(";")[0].strip().lower()
    return kind in _OTHERS or _WHOLE_KINDS.fullmatch(kind) is not None
