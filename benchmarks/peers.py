"""How others land a result file; run in the peers' own environment, which knows nothing of this package.

``python peers.py serve FILE`` serves a file as OpenAI's batch API does and prints its address. ``python peers.py
common_ai URL OUT ROWS`` and ``python peers.py google_genai URL OUT FILE_NAME`` land and print figures as JSON.
"""

from __future__ import annotations

import json
import socket
import sys
import time
from pathlib import Path


def serve(path: str) -> None:
    """The two calls that the openai client makes for results, with the server that the emulator runs on."""
    import uvicorn
    from starlette.applications import Starlette
    from starlette.responses import FileResponse, JSONResponse
    from starlette.routing import Route

    batch = {
        "id": "b",
        "object": "batch",
        "status": "completed",
        "output_file_id": "f",
        "endpoint": "/v1/chat/completions",
        "input_file_id": "i",
        "completion_window": "24h",
        "created_at": 1,
    }
    FileResponse.chunk_size = 1 << 20
    routes = [
        Route("/v1/batches/{id}", lambda _: JSONResponse(batch)),
        Route("/v1/files/{id}/content", lambda _: FileResponse(path)),
    ]
    listening = socket.create_server(("127.0.0.1", 0))
    print(f"http://127.0.0.1:{listening.getsockname()[1]}/v1", flush=True)
    uvicorn.Server(uvicorn.Config(Starlette(routes=routes), log_level="warning")).run(sockets=[listening])


def common_ai(url: str, out: str, rows: str) -> None:
    """What ``LLMBatchOperator`` does when its batch is finished, for answers that are texts."""
    from airflow.providers.common.ai.batch.openai import OpenAIBatchAdapter
    from airflow.providers.common.ai.batch.output_schema import build_output_spec
    from airflow.providers.common.ai.batch.results import stream_results_to_jsonl
    from airflow.sdk import ObjectStoragePath

    adapter = OpenAIBatchAdapter(api_key="none", base_url=url)

    def land() -> None:
        counts, _ = stream_results_to_jsonl(
            adapter=adapter,
            batch_id="b",
            output_spec=build_output_spec(str),
            request_count=int(rows),
            custom_id_prefix="row",
            destination=ObjectStoragePath(out),
        )
        assert counts["success"] == int(rows), counts

    _measured(land)


def google_genai(url: str, out: str, name: str) -> None:
    """The result file by the SDK, each line as the SDK's own type, its text and tokens written down."""
    from google import genai
    from google.genai import types

    client = genai.Client(api_key="none", http_options={"base_url": url})
    client.models.list()

    def land() -> None:
        data = client.files.download(file=name)
        with Path(out).open("w") as target:
            for line in data.decode().split("\n"):
                if not line:
                    continue
                row = json.loads(line)
                answer = types.GenerateContentResponse.model_validate(row["response"])
                usage = answer.usage_metadata.model_dump(exclude_none=True)
                landed = {"key": row["key"], "text": answer.text, "usage": usage}
                target.write(json.dumps(landed) + "\n")

    _measured(land)


def _measured(land) -> None:
    idle, began = _peak_mib(), time.perf_counter()
    land()
    seconds = time.perf_counter() - began
    json.dump({"seconds": seconds, "idle_mib": idle, "peak_mib": _peak_mib()}, sys.stdout)


def _peak_mib() -> float:
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1024


if __name__ == "__main__":
    {"serve": serve, "common_ai": common_ai, "google_genai": google_genai}[sys.argv[1]](*sys.argv[2:])
