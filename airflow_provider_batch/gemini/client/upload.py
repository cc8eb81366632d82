"""The resumable upload as a script: start a session, send blocks, ask where to go on after any trouble.

The protocol is Google's resumable upload with ``X-Goog-Upload-*`` headers. Invariant: the offset comes from the
server after every doubt, never from our own count. So a block is never sent twice unless the server does not have
it. And a lost final answer never makes a second file.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from airflow_provider_batch.errors import ApiError, InputError, ProtocolError
from airflow_provider_batch.gemini.client import answers
from airflow_provider_batch.gemini.client.calls import list_files
from airflow_provider_batch.gemini.client.exchange import ApiAnswer, ApiRequest, Lost, ReadBlock, Script
from airflow_provider_batch.gemini.client.repeats import MAX_TRIES, may_pass, once, pause, persist, wait_s
from airflow_provider_batch.gemini.client.rpc import rpc_error
from airflow_provider_batch.gemini.limits import LIMITS
from airflow_provider_batch.gemini.wire import File, UploadedFile

BLOCK_BYTES = 8 * 1024 * 1024
"""8 MiB, as the official SDK sends: a multiple of every granularity that Google documents elsewhere."""

MAX_FILE_PAGES = 1000
"""Pages of the file listing that are read at most: 100,000 files. That is far more than 20 GB and 48 h allow."""

JSONL_MIME = "application/jsonl"
FALLBACK_MIME = "text/plain"
"""Some servers refused ``application/jsonl`` as unsupported (python-genai issue 1547, cookbook issue 1008)."""


@dataclass(frozen=True)
class _Progress:
    """What the server said about a session: how far it is, and whether it made a file of it.

    A finished session does not always name its file again when it is asked.
    """

    offset: int
    is_final: bool = False
    file: File | None = None


def upload_file(
    size_bytes: int,
    display_name: str,
    mime_type: str | None = None,
    on_session: Callable[[str], object] = lambda _: None,
    name: str = "",
) -> Script[File]:
    """Upload ``size_bytes`` from the client's source and return the file as the server sees it.

    :param mime_type: None = ``application/jsonl``, or ``text/plain`` where the server refuses that.
    :param name: ``files/...`` that the file is to have: 1 to 40 small letters, digits and dashes. Empty = any.
    :param on_session: Called with the URL of each session as it begins, for :func:`resume_upload`.
    :raises ApiError: The server refused the file.
    :raises ApiUnreachableError: The line stayed down. Uploads cost nothing.
    """
    try:
        session = yield from start_upload(size_bytes, display_name, mime_type or JSONL_MIME, name)
        on_session(session)
        return (yield from _send(session, size_bytes, display_name, offset=0))
    except ApiError as error:
        if mime_type is not None or not _is_about_the_mime_type(error):
            raise
    session = yield from start_upload(size_bytes, display_name, FALLBACK_MIME, name)
    on_session(session)
    return (yield from _send(session, size_bytes, display_name, offset=0))


def _is_about_the_mime_type(error: ApiError) -> bool:
    # 200: the last chunk was answered with an error in place of the file (python-genai issue 1590).
    return error.http_status in (200, 400) and "mime" in error.detail.lower()


def resume_upload(session: str, size_bytes: int, display_name: str) -> Script[File]:
    """Go on with an upload that another process began: ask how far it came, send the rest.

    :param session: What :func:`start_upload` returned.
    :raises ApiError: The session does not exist any more. Start a new one. Uploads cost nothing.
    """
    progress = yield from _where(f"upload {display_name}", session, size_bytes)
    if progress.is_final:
        return progress.file or (yield from _find_file(f"upload {display_name}", display_name, size_bytes))
    return (yield from _send(session, size_bytes, display_name, progress.offset))


def start_upload(size_bytes: int, display_name: str, mime_type: str = JSONL_MIME, name: str = "") -> Script[str]:
    """Begin a session and return its URL. The URL is enough to write the file: keep it as a secret.

    :raises InputError: The file is larger than the API takes.
    """
    call = f"start upload {display_name}"
    if size_bytes > LIMITS.file_bytes:
        raise InputError(
            f"{size_bytes / 2**30:.2f} GiB are to be uploaded, and the API takes "
            f"{LIMITS.file_bytes / 2**30:.0f} GiB a file.",
            source=display_name,
            code="AGB-I20",
            remedy="Nothing was uploaded or spent. Split the input into several files, one task each.",
        )
    request = ApiRequest(
        call,
        "POST",
        "/upload/{v}/files",
        headers={
            "X-Goog-Upload-Protocol": "resumable",
            "X-Goog-Upload-Command": "start",
            "X-Goog-Upload-Header-Content-Length": str(size_bytes),
            "X-Goog-Upload-Header-Content-Type": mime_type,
        },
        json_body={
            "file": {"displayName": display_name, "mimeType": mime_type, **({"name": name} if name else {})}
        },
    )
    answer = answers.expect_ok(call, (yield from persist(request)))
    session = answer.headers.get("x-goog-upload-url", "")
    if not session:
        raise ProtocolError(
            f"The server began {call} without an X-Goog-Upload-URL header.",
            code="AGB-A10",
            remedy="Check the connection's host: a proxy may strip headers.",
        )
    return session


def _send(session: str, size_bytes: int, display_name: str, offset: int) -> Script[File]:
    call, failures = f"upload {display_name}", 0
    while True:
        size = min(BLOCK_BYTES, size_bytes - offset)
        outcome = yield from _send_block(call, session, offset, size, is_last=offset + size == size_bytes)
        progress = _read_progress(call, outcome, size_bytes, if_taken=offset + size)
        if progress is None:
            progress = yield from _where(call, session, size_bytes)
        if progress.is_final:
            return progress.file or (yield from _find_file(call, display_name, size_bytes))
        failures = 0 if progress.offset > offset else failures + 1
        if failures >= MAX_TRIES:
            if may_pass(outcome):
                answers.expect_ok(call, outcome)
            raise ProtocolError(
                f"The server does not take more than {offset} of {size_bytes} bytes of {call}.",
                code="AGB-A10",
                remedy="Run the task again: an upload costs nothing.",
            )
        offset = progress.offset
        if failures:
            yield from pause(wait_s(failures))


def _send_block(call: str, session: str, offset: int, size: int, *, is_last: bool) -> Script[ApiAnswer | Lost]:
    block = yield ReadBlock(offset, size)
    if not isinstance(block, bytes) or len(block) != size:
        raise ProtocolError(
            f"The source of {call} gave fewer bytes at offset {offset} than its size promised.",
            code="AGB-I22",
            remedy="Another program wrote to the file while it was sent. Write to a temporary name, then "
            "rename the file.",
        )
    headers = {
        "X-Goog-Upload-Command": "upload, finalize" if is_last else "upload",
        "X-Goog-Upload-Offset": str(offset),
    }
    return (yield from once(_on_session(call, session, headers, block)))


def _where(call: str, session: str, size_bytes: int) -> Script[_Progress]:
    """Ask the session how far it is, after an outcome that does not say."""
    request = _on_session(call, session, {"X-Goog-Upload-Command": "query"}, b"")
    outcome = yield from persist(request)
    progress = _read_progress(call, outcome, size_bytes, if_taken=None)
    if progress is None:
        answers.expect_ok(call, outcome)
        raise ProtocolError(
            f"The server does not say how much of {call} it has.",
            code="AGB-A10",
            remedy="Run the task again: an upload costs nothing.",
        )
    return progress


def _find_file(call: str, display_name: str, size_bytes: int) -> Script[File]:
    """The file of a session whose last answer was lost, by the name and size that we gave it."""
    token, pages = "", 0
    while pages < MAX_FILE_PAGES:
        page = yield from list_files(token)
        for file in page.items:
            if (file.display_name, file.size_bytes) == (display_name, size_bytes):
                return file
        token, pages = page.next_page_token, pages + 1
        if not token:
            break
    raise ProtocolError(
        f"The server says that {call} is complete, but lists no file of that name and size.",
        code="AGB-A10",
        remedy="Run the task again: an upload costs nothing.",
    )


def _on_session(call: str, session: str, headers: Mapping[str, str], content: bytes) -> ApiRequest:
    """A request to the session's URL, which is its own credential: our key is not sent along."""
    return ApiRequest(call, "POST", session, headers=headers, content=content, with_credentials=False)


def _read_progress(
    call: str, outcome: ApiAnswer | Lost, size_bytes: int, *, if_taken: int | None
) -> _Progress | None:
    """What the answer tells about the session. None if it tells nothing and the session must be asked.

    :param if_taken: The offset that a plain success means, None for a query, which must name the offset.
    """
    if isinstance(outcome, Lost):
        return None
    status = outcome.headers.get("x-goog-upload-status", "")
    if status == "final":
        if rpc_error(outcome.body):
            raise answers.api_error(call, outcome)
        file = answers.read(UploadedFile, call, outcome).file if outcome.body else None
        if file is not None and file.size_bytes not in (0, size_bytes):
            raise ProtocolError(
                f"The server has {file.size_bytes} of {size_bytes} bytes of {call} and calls it complete.",
                code="AGB-A10",
                remedy="No job was created. Run the task again: an upload costs nothing.",
            )
        return _Progress(size_bytes, is_final=True, file=file)
    if status == "active" and "x-goog-upload-size-received" in outcome.headers:
        return _Progress(_received(call, outcome, size_bytes))
    if status == "active" and outcome.status == 200 and if_taken is not None and if_taken < size_bytes:
        return _Progress(if_taken)
    if status == "cancelled" or not may_pass(outcome):
        answers.expect_ok(call, outcome)
    return None


def _received(call: str, answer: ApiAnswer, size_bytes: int) -> int:
    text = answer.headers["x-goog-upload-size-received"]
    if not text.isdigit() or int(text) > size_bytes:
        raise ProtocolError(
            f"The server claims to have {text!r} of {size_bytes} bytes of {call}.",
            code="AGB-A10",
            remedy="Run the task again: an upload costs nothing.",
        )
    return int(text)
