"""``python waits_driver.py CONTENDER URL WAITS INTERVAL_S``: so many waits of one trigger class in one event loop.

Run as a file in the environment that has the trigger: it knows nothing of this package, so that everybody is
measured by the same code. It does what Airflow's triggerer does (create each trigger from its serialised
arguments, a task for each, a greenback portal in each) and prints figures as JSON. Terms:

- *stall*: how late a task is that wants to run every 5 ms. *Own* leaves out the time that this thread stood in the
  machine's queue of runnable threads meanwhile, for which other processes are to blame. *Lean* leaves out Python's
  garbage collector, too, whose longest run is *gc*: it looks at everything that Airflow has in memory.
- *busy*: the share of time that the loop was not waiting for events, so nobody else could run in it.
- *start*: how much longer the loop was busy while all but the first were started and looked for the first time.
- *memory*: resident, over what it was when one trigger of the class was waiting, for each wait.
"""

from __future__ import annotations

import asyncio
import gc
import importlib
import json
import os
import random
import resource
import selectors
import sys
import time
import urllib.request
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

BEAT_S = 0.005
QUIET_INTERVALS = 0.1
"""For how long the loop is watched before there are any triggers, in intervals."""

SETTLE_INTERVALS = 0.2
"""After the last start, until the first looks are over."""

FIRST_S = 3.0
"""After so many seconds the first trigger has imported, connected and looked."""

WINDOW_INTERVALS = 2.1
"""Long enough for a whole interval from the beginning of a listing to the beginning of another."""

PATIENCE_INTERVALS = 2
MOST_FINISHED = 200
MEMORY_LIMIT_MIB = 4096
JOB = "job-number"
DAY_S = 86400


def contenders(url: str, interval_s: int) -> dict[str, tuple[str, dict[str, Any], dict[str, str]]]:
    """For each: trigger class, the arguments that its operator gives it, what it needs in the environment."""
    now = time.time()
    note = {"dag_id": "nightly_labels", "task_id": "label", "run_id": "scheduled__2026-11-24", "map_index": 7}
    return {
        "ours": (
            "airflow_provider_batch.triggers.gemini.GeminiBatchTrigger",
            {
                "conn_id": "waits",
                "deadline": now + DAY_S,
                "job_names": [f"batches/{JOB}"],
                "poll_interval": float(interval_s),
                "ledger": f"file:///data/labels/2026-11-24/{JOB}/_ledger/0123456789abcdef",
                "waiting_task": note,
                "cancel_note": "cancel-1",
            },
            _connection("gemini", url),
        ),
        "google": (
            "airflow.providers.google.cloud.triggers.gen_ai.GenAIGeminiCreateBatchJobTrigger",
            {
                "project_id": "none",
                "location": "none",
                "model": "gemini-2.5-flash",
                "input_source": f"files/{JOB}",
                "gemini_api_key": "none",
                "polling_interval": interval_s,
            },
            # It has no connection; the SDK in it takes the address from here.
            {"GOOGLE_GEMINI_BASE_URL": url},
        ),
        "openai": (
            "airflow.providers.openai.triggers.openai.OpenAIBatchTrigger",
            {"conn_id": "waits", "batch_id": JOB, "poll_interval": interval_s, "timeout": DAY_S},
            _connection("openai", f"{url}/v1"),
        ),
        "anthropic": (
            "airflow.providers.anthropic.triggers.batch.AnthropicBatchTrigger",
            {"conn_id": "waits", "batch_id": JOB, "poll_interval": interval_s, "end_time": now + DAY_S},
            _connection("anthropic", url),
        ),
        "common_ai": (
            "airflow.providers.common.ai.triggers.llm_batch.LLMBatchTrigger",
            {
                "llm_conn_id": "waits",
                "adapter": "openai",
                "batch_id": JOB,
                "poll_interval": interval_s,
                "end_time": now + DAY_S,
                "timeout": DAY_S,
                "cancel_on_kill": True,
                "cancel_on_timeout": True,
            },
            _connection("pydanticai", f"{url}/v1"),
        ),
        "nothing": ("waits_driver.Nothing", {"name": JOB}, {}),
    }


def _connection(kind: str, host: str) -> dict[str, str]:
    return {"AIRFLOW_CONN_WAITS": json.dumps({"conn_type": kind, "host": host, "password": "benchmark"})}


class Nothing:
    """Waits for ever: what a trigger costs that does nothing, which no other can be below."""

    def __init__(self, name: str) -> None:
        # For the garbage collector's sake: what everybody has in memory.
        importlib.import_module("airflow.triggers.base")
        self.name = name

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """As a trigger."""
        return "waits_driver.Nothing", {"name": self.name}

    async def run(self) -> AsyncIterator[Any]:
        """Never ends."""
        await asyncio.Event().wait()
        yield None


class Selector(selectors.DefaultSelector):
    """Adds up the time in which the loop has nothing to do."""

    idle_s = 0.0

    def select(self, timeout: float | None = None) -> list[Any]:
        """Wait for events."""
        began = time.perf_counter()
        try:
            return super().select(timeout)
        finally:
            self.idle_s += time.perf_counter() - began


@dataclass
class Span:
    """What was seen of the loop between two moments."""

    seconds: float = 0.0
    cpu_percent: float = 0.0
    busy_percent: float = 0.0
    stalls_ms: list[float] = field(default_factory=list)
    own_max_ms: float = 0.0
    lean_max_ms: float = 0.0
    gc_max_ms: float = 0.0

    def figures(self) -> dict[str, float]:
        """For JSON."""
        stalls = sorted(self.stalls_ms) or [0.0]
        return {
            "seconds": self.seconds,
            "cpu_percent": self.cpu_percent,
            "busy_percent": self.busy_percent,
            "stall_max_ms": stalls[-1],
            "stall_p999_ms": stalls[int(len(stalls) * 0.999)],
            "own_max_ms": self.own_max_ms,
            "lean_max_ms": self.lean_max_ms,
            "gc_max_ms": self.gc_max_ms,
        }


class Watcher:
    """Beats every 5 ms in the loop, and measures between :meth:`begin` and :meth:`end`."""

    def __init__(self, selector: Selector) -> None:
        self._selector = selector
        self._span = Span()
        self._marks = (0.0, 0.0, 0.0)
        self._beating = asyncio.ensure_future(self._beat())
        self._collecting = self._collected_s = 0.0
        gc.callbacks.append(self._collected)

    async def begin(self) -> None:
        """Forget what was seen before."""
        # The beat that is under way belongs to what was before.
        await asyncio.sleep(4 * BEAT_S)
        self._span = Span()
        self._marks = (time.perf_counter(), time.process_time(), self._selector.idle_s)

    def end(self) -> Span:
        """What was seen since."""
        began, cpu, idle = self._marks
        span, self._span = self._span, Span()
        span.seconds = time.perf_counter() - began
        span.cpu_percent = (time.process_time() - cpu) / span.seconds * 100
        span.busy_percent = 100 - (self._selector.idle_s - idle) / span.seconds * 100
        return span

    async def _beat(self) -> None:
        with Path("/proc/thread-self/schedstat").open("rb", buffering=0) as file:  # noqa: ASYNC230
            before, queued_before, collected_before = time.perf_counter(), _queued_s(file), self._collected_s
            while True:
                await asyncio.sleep(BEAT_S)
                now, queued, collected = time.perf_counter(), _queued_s(file), self._collected_s
                late, span = now - before - BEAT_S, self._span
                own = late - (queued - queued_before)
                span.stalls_ms.append(late * 1000)
                span.own_max_ms = max(span.own_max_ms, own * 1000)
                span.lean_max_ms = max(span.lean_max_ms, (own - (collected - collected_before)) * 1000)
                before, queued_before, collected_before = now, queued, collected

    def _collected(self, phase: str, _: Any) -> None:
        # Computing only: others' share is left out elsewhere.
        now = time.thread_time()
        if phase == "stop":
            self._collected_s += now - self._collecting
            self._span.gc_max_ms = max(self._span.gc_max_ms, (now - self._collecting) * 1000)
        self._collecting = now


def _queued_s(file: Any) -> float:
    """How long this thread has stood in the queue of runnable threads, seconds."""
    file.seek(0)
    return int(file.read(80).split()[1]) / 1e9


class Triggers:
    """Starts triggers as the triggerer does and writes down when they fire."""

    def __init__(self, classpath: str, arguments: dict[str, Any]) -> None:
        module, _, name = classpath.rpartition(".")
        self._class = getattr(importlib.import_module(module), name)
        serialised = self._class(**arguments).serialize()
        assert serialised[0] == classpath, serialised
        self._arguments = json.dumps(serialised[1])
        self._tasks: list[asyncio.Task[None]] = []
        self.fired: dict[int, tuple[float, Any]] = {}

    async def start(self, number: int) -> None:
        """Start the wait for one job."""
        await asyncio.sleep(0)
        arguments = json.loads(self._arguments.replace(JOB, f"job{number}"))
        await asyncio.sleep(0)
        trigger = self._class(**arguments)
        self._tasks.append(asyncio.create_task(self._run(number, trigger)))

    async def _run(self, number: int, trigger: Any) -> None:
        import greenback

        await greenback.ensure_portal()
        async for event in trigger.run():
            self.fired[number] = (time.time(), event.payload)


async def measure(contender: str, url: str, waits: int, interval_s: int, selector: Selector) -> dict[str, Any]:
    """Start, wait, let some jobs end, look."""
    classpath, arguments, _ = contenders(url, interval_s)[contender]
    server = Server(url)
    await server.post("/control/jobs", {"count": waits})
    triggers, watcher = Triggers(classpath, arguments), Watcher(selector)
    gc.collect()
    await watcher.begin()
    await asyncio.sleep(QUIET_INTERVALS * interval_s)
    quiet = watcher.end()

    await triggers.start(0)
    await asyncio.sleep(FIRST_S)
    gc.collect()
    idle_mib = _rss_mib()

    await watcher.begin()
    for number in range(1, waits):
        await triggers.start(number)
        if number % 100 == 0 and _rss_mib() > MEMORY_LIMIT_MIB:
            return {"contender": contender, "waits": waits, "too_large_mib": _rss_mib(), "started": number}
    await asyncio.sleep(SETTLE_INTERVALS * interval_s)
    starting = watcher.end()
    start_busy_s = starting.seconds * (starting.busy_percent - quiet.busy_percent) / 100

    await watcher.begin()
    began = time.time()
    ends = _ends(waits, began, interval_s)
    await server.post("/control/finish", ends)
    peak_mib = await _until_noticed(triggers, ends, began, interval_s)
    steady = watcher.end()
    asked, per_interval = await _asked(server, began, began + steady.seconds, interval_s)
    return {
        "contender": contender,
        "waits": waits,
        "interval_s": interval_s,
        "cpu_percent": steady.cpu_percent - quiet.cpu_percent,
        "quiet": quiet.figures(),
        "starting": starting.figures(),
        "start_ms": start_busy_s * 1000 / max(1, waits - 1),
        "started_s": starting.seconds,
        "steady": steady.figures(),
        "rss_mib": peak_mib,
        "kib_per_wait": (peak_mib - idle_mib) * 1024 / max(1, waits - 1),
        "requests_per_interval": per_interval,
        "kinds": asked["kinds"],
        "page_size": asked["page_size"],
        **_noticed(triggers, ends),
    }


async def _asked(server: Server, since: float, until: float, interval_s: int) -> tuple[dict[str, Any], float]:
    """What was asked for, and the requests in an interval: from listing to listing, if there are any."""
    asked = await server.get(f"/control/requests?since={since}&until={until}")
    listings, whole = asked["listings"], asked
    if len(listings) > 1:
        since, until = listings[0], listings[-1]
        whole = await server.get(f"/control/requests?since={since}&until={until}")
    return asked, sum(whole["kinds"].values()) / (until - since) * interval_s


def _ends(waits: int, began: float, interval_s: int) -> dict[str, float]:
    """Some jobs end at random times within an interval, the same ones in each run."""
    chance = random.Random(waits)
    numbers = chance.sample(range(waits), min(MOST_FINISHED, max(1, waits // 2)))
    return {str(number): began + chance.uniform(0.5, interval_s) for number in numbers}


async def _until_noticed(triggers: Triggers, ends: dict[str, float], began: float, interval_s: int) -> float:
    """Wait for the window, and longer while something was not noticed; the largest memory meanwhile."""
    peak_mib = 0.0
    soonest, latest = began + WINDOW_INTERVALS * interval_s, max(ends.values()) + PATIENCE_INTERVALS * interval_s
    while (now := time.time()) < latest and (now < soonest or len(triggers.fired) < len(ends)):
        peak_mib = max(peak_mib, _rss_mib())
        await asyncio.sleep(0.25)
    return peak_mib


def _noticed(triggers: Triggers, ends: dict[str, float]) -> dict[str, Any]:
    delays = {
        number: fired - ends[str(number)] for number, (fired, _) in triggers.fired.items() if str(number) in ends
    }
    good = sorted(delay for delay in delays.values() if delay >= 0)
    payloads = [payload for number, (_, payload) in triggers.fired.items() if delays.get(number, -1) >= 0]
    outcomes = Counter(str(payload.get("status") or payload.get("outcome")) for payload in payloads)
    return {
        "finished": len(ends),
        "noticed": sum(outcomes[word] for word in ("finished", "success")),
        "wrong_events": len(triggers.fired) - sum(outcomes[word] for word in ("finished", "success")),
        "notice_median_s": good[len(good) // 2] if good else None,
        "notice_max_s": good[-1] if good else None,
        "sample_of_wrong": next(_wrong(triggers, delays), None),
    }


def _wrong(triggers: Triggers, delays: dict[int, float]) -> Iterator[str]:
    for number, (_, payload) in triggers.fired.items():
        word = payload.get("status") or payload.get("outcome")
        if delays.get(number, -1) < 0 or word not in ("finished", "success"):
            yield str(payload)[:300]


class Server:
    """The control calls, in a thread of their own: that of the loop's executor may have a queue."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._pool = ThreadPoolExecutor(1)

    async def post(self, path: str, body: object) -> Any:
        """A POST with a JSON body."""
        return await self._call(path, json.dumps(body).encode())

    async def get(self, path: str) -> Any:
        """A GET."""
        return await self._call(path, None)

    async def _call(self, path: str, body: bytes | None) -> Any:
        def call() -> Any:
            with urllib.request.urlopen(self._url + path, body, timeout=60) as answer:
                return json.load(answer)

        return await asyncio.get_running_loop().run_in_executor(self._pool, call)


def _rss_mib() -> float:
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / 2**20


def main() -> None:
    """Measure one contender and print its figures."""
    contender, url, waits, interval_s = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    os.environ.update(contenders(url, interval_s)[contender][2])
    sys.modules["waits_driver"] = sys.modules["__main__"]
    selector = Selector()
    loop = asyncio.SelectorEventLoop(selector)
    asyncio.set_event_loop(loop)
    figures = loop.run_until_complete(measure(contender, url, waits, interval_s, selector))
    print(json.dumps(figures), flush=True)
    # Thousands of clients would be closed one after the other.
    os._exit(0)


if __name__ == "__main__":
    main()
