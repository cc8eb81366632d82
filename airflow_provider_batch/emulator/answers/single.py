"""The answer source for single calls: the same as for rows of a batch, asked in threads."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor

from airflow_provider_batch.emulator.answers.texts import AnswerFunction, answer_row
from airflow_provider_batch.emulator.wire.json import Message

_FEWEST_THREADS = 4


class SingleAnswers:
    """Answers one request at a time, without holding up the event loop.

    :param function: the user's answers, or None for the built-in ones.
    :param workers: how many of them are asked for at the same time.
    """

    def __init__(self, function: AnswerFunction | None, workers: int) -> None:
        self._function = function
        self._threads = ThreadPoolExecutor(max(workers, _FEWEST_THREADS), thread_name_prefix="single-answer")

    async def to(self, request: Message, model: str, timeout_s: float) -> dict[str, object] | None:
        """Return ``{"response": ...}`` or ``{"error": ...}``, or None when the time is up.

        :param model: ``models/...``.
        :param timeout_s: in real seconds. The speed of the emulator's clock does not matter, as the source is
            real.
        """
        loop = asyncio.get_running_loop()
        asked = loop.run_in_executor(self._threads, self._answer, request, model)
        done, _ = await asyncio.wait({asked}, timeout=timeout_s)
        return asked.result() if done else None

    def _answer(self, request: Message, model: str) -> dict[str, object]:
        try:
            return answer_row(request, None, model, self._function)
        except Exception as problem:  # noqa: BLE001 - what a user's function returned may be anything
            return {"error": {"code": 13, "message": f"{type(problem).__name__}: {problem}"}}

    def stop(self) -> None:
        """Ask no more: what has no thread yet is given up."""
        self._threads.shutdown(wait=False, cancel_futures=True)
