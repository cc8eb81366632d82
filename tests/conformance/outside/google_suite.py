"""A pytest plugin that points the tests of the google-genai wheel at an emulator.

Those tests expect files and jobs of a project of Google's; they are made here under the same names. Tests of the
other platform (Vertex AI) are left out.
"""

from __future__ import annotations

import os
import time
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

import google.genai
import msgspec
import pytest
from google.genai import types

from airflow_provider_batch.emulator import running_emulator
from airflow_provider_batch.emulator.state.records import BatchRecord, FileRecord, Kind
from airflow_provider_batch.emulator.state.store import Store
from tests.conformance.outside.exceptions import EXCEPTIONS

SUITE = Path(google.genai.__file__).parent / "tests"
PICTURES = ("google.png", "google.jpg", "story.pdf", "animal.mp4", "pixel.m4a")
ASK = b'{"key": "a", "request": {"contents": [{"parts": [{"text": "hi"}]}]}}\n'
EMBED = b'{"key": "a", "request": {"content": {"parts": [{"text": "hi"}]}}}\n'
INLINE_EMBED = b'{"request": {"content": {"parts": [{"text": "hi"}]}}}\n'
VIDEO = b"\0\0\0\x18ftypmp42"
PROJECT, VIDEOS = "batches-and-files", "videos"
FILES = {
    "s0pa54alni6w": ASK,
    "mq9e3mg3u2y5": EMBED,
    "vjvu9fwk2qj8": b"x",
    "1g583ke2xdsn": b"x",
    "n1gls7dyh90q": b"x",
}
JOBS: dict[str, tuple[Kind, bytes, str | None]] = {
    "0yew7plxupyybd7appsrq5vw7w0lp3l79lab": ("generate", ASK, "files/s0pa54alni6w"),
    "70h2jo0ic2t1zejyl0p4jgi8mk1gj0wvjusv": ("generate", ASK, "files/s0pa54alni6w"),
    "z2p8ksus4lyxt25rntl3fpd67p2niw4hfij5": ("generate", ASK, "files/s0pa54alni6w"),
    "wdx71o8cgbzoa6gg3be1mg7g8ulrhapcjgo3": ("embed", INLINE_EMBED, None),
    "507oatd242het8ox60pwsmn7tcmtkrj8itff": ("embed", EMBED, "files/mq9e3mg3u2y5"),
}
MODELS = {"generate": "models/gemini-2.5-flash", "embed": "models/gemini-embedding-001"}


def pytest_configure(config: pytest.Config) -> None:
    """Start an emulator with what the tests expect, in a folder with the pictures that they upload."""
    stack = ExitStack()
    config.add_cleanup(stack.close)
    folder = Path(stack.enter_context(TemporaryDirectory()))
    for data in (folder / "tests" / "data", SUITE / "data"):
        data.mkdir(parents=True, exist_ok=True)
        for name in PICTURES:
            (data / name).write_bytes(b"not looked into")
    _fill(folder / "emulator")
    keys = [f"{project}={project}" for project in (PROJECT, VIDEOS)]
    emulator = stack.enter_context(running_emulator(folder / "emulator", api_keys=keys))
    os.chdir(folder)
    os.environ |= {
        "GOOGLE_GENAI_REPLAYS_DIRECTORY": str(folder / "replays"),
        "GOOGLE_GENAI_HTTP_CLIENT": "httpx",
    }
    config.stash[_ADDRESS] = emulator.base_url


_ADDRESS = pytest.StashKey[str]()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what is of the other platform, give the others the address, and expect the known failures."""
    kept = []
    for item in items:
        given = item.callspec.params if hasattr(item, "callspec") else {}
        if given.get("use_vertex"):
            continue
        if "http_options" in given:
            options = types.HttpOptions.model_validate(given["http_options"] or {})
            given["http_options"] = options.model_copy(update={"base_url": config.stash[_ADDRESS]})
        if reason := EXCEPTIONS.get(_name(item)):
            item.add_marker(pytest.mark.xfail(reason=reason, strict=True))
        kept.append(item)
    config.hook.pytest_deselected(items=[item for item in items if item not in kept])
    items[:] = kept
    missing = set(EXCEPTIONS) - {_name(item) for item in kept}
    if missing:
        raise pytest.UsageError(f"Known failures that the suite does not have: {sorted(missing)}")


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Take a project whose only file is a video to where the newest file must be one."""
    os.environ["GOOGLE_API_KEY"] = VIDEOS if item.path.name == "test_download.py" else PROJECT


def _name(item: pytest.Item) -> str:
    return f"{item.path.relative_to(SUITE)}::{getattr(item, 'originalname', item.name)}"


def _fill(data_dir: Path) -> None:
    store, now = Store(data_dir), time.time()
    for file_id, content in FILES.items():
        _keep(store, _file(file_id, now), content)
    video = _file("generated-video", now)
    kept = {"project": VIDEOS, "mime_type": "video/mp4", "source": "GENERATED"}
    _keep(store, msgspec.structs.replace(video, **kept), VIDEO)
    for job_id, (kind, content, file_name) in JOBS.items():
        store.input_path(job_id).write_bytes(content)
        store.save_batch(_job(job_id, kind, file_name, now))


def _keep(store: Store, file: FileRecord, content: bytes) -> None:
    store.file_path(file.id).write_bytes(content)
    store.save_file(msgspec.structs.replace(file, size_bytes=len(content)))


def _file(file_id: str, now: float) -> FileRecord:
    return FileRecord(
        id=file_id,
        project=PROJECT,
        display_name="",
        mime_type="application/jsonl",
        size_bytes=0,
        sha256="",
        created_at=now,
        active_at=now,
    )


def _job(job_id: str, kind: Kind, file_name: str | None, now: float) -> BatchRecord:
    return BatchRecord(
        id=job_id,
        project=PROJECT,
        kind=kind,
        model=MODELS[kind],
        display_name="test_batch",
        priority=None,
        input_file=file_name,
        rows=1,
        created_at=now,
        starts_at=now,
        finishes_at=now,
    )
