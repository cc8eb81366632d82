"""Headless Chromium, driven over its own debugging protocol: no driver, no download."""

from __future__ import annotations

import base64
import itertools
import json
import os
import shutil
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from websockets.sync.client import ClientConnection, connect

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
PATIENCE_S = 20.0


def chromium() -> str | None:
    """Where the browser is, None if this machine has none."""
    return next((path for name in NAMES if (path := shutil.which(name))), None)


class BrowserError(AssertionError):
    """What was waited for did not come, or a script failed."""


class Tab:
    """A page, with what it logged and what it asked the network for."""

    def __init__(self, line: ClientConnection) -> None:
        self._line = line
        self._numbers = itertools.count(1)
        self.logged: list[str] = []
        self.requested: list[str] = []
        for domain in ("Page", "Runtime", "Network", "Log", "DOM"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """One command of the protocol."""
        number = next(self._numbers)
        self._line.send(json.dumps({"id": number, "method": method, "params": params}))
        while True:
            said = json.loads(self._line.recv(timeout=60))
            if said.get("id") == number:
                if "error" in said:
                    raise BrowserError(f"{method}: {said['error']}")
                return dict(said["result"])
            self._note(said)

    def _note(self, said: dict[str, Any]) -> None:
        params = said.get("params", {})
        if said.get("method") == "Runtime.exceptionThrown":
            self.logged.append(str(params["exceptionDetails"]))
        elif said.get("method") == "Log.entryAdded" and params["entry"]["level"] == "error":
            self.logged.append(f"{params['entry']['text']} {params['entry'].get('url', '')}")
        elif said.get("method") == "Network.requestWillBeSent":
            self.requested.append(params["request"]["url"])

    def run(self, code: str) -> Any:
        """The value of an expression, or of its promise."""
        said = self.call("Runtime.evaluate", expression=code, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in said:
            raise BrowserError(f"{code}: {said['exceptionDetails']}")
        return said["result"].get("value")

    def until(self, code: str, patience_s: float = PATIENCE_S) -> Any:
        """Wait until an expression is true."""
        deadline = time.monotonic() + patience_s
        while True:
            try:
                if value := self.run(code):
                    return value
            except BrowserError:
                # A page that is being left has no context for a moment.
                if time.monotonic() > deadline:
                    raise
            if time.monotonic() > deadline:
                raise BrowserError(f"never true: {code}\n{self.run('document.body.innerText')[:2000]}")
            time.sleep(0.05)

    def go(self, url: str) -> None:
        """Open an address and wait until it is loaded."""
        self.call("Page.navigate", url=url)
        self.until(
            f"location.href.startsWith({json.dumps(url.split('?')[0])}) && document.readyState == 'complete'"
        )

    def size(self, width: int, height: int, *, phone: bool = False) -> None:
        """The size of the window."""
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=2 if phone else 1,
            mobile=phone,
        )

    def dark(self, wanted: bool = True) -> None:
        """What the system prefers."""
        value = "dark" if wanted else "light"
        self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": value}])

    def cookie(self, url: str, name: str, value: str) -> None:
        """Set a cookie, as a login does."""
        self.call("Network.setCookie", url=url, name=name, value=value, httpOnly=True, sameSite="Lax")

    def shot(self, path: Path, *, whole: bool = False) -> None:
        """A picture of the window, or of the whole page."""
        path.parent.mkdir(parents=True, exist_ok=True)
        said = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        path.write_bytes(base64.b64decode(said["data"]))

    def press(self, key: str) -> None:
        """A key, such as ``Tab``."""
        for kind in ("keyDown", "keyUp"):
            text = {"text": "\r"} if key == "Enter" and kind == "keyDown" else {}
            code = {"Tab": 9, "Enter": 13}[key]
            self.call("Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=code, **text)


@contextmanager
def browser() -> Iterator[Tab]:
    """A browser with one empty tab and a profile of its own."""
    program = chromium()
    assert program
    folder = Path(tempfile.mkdtemp(prefix="agb-chromium-"))
    command = [program, "--headless=new", "--remote-debugging-port=0", f"--user-data-dir={folder}"]
    # Without a sandbox of its own, as containers run it by root and let it make none.
    command += ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run", "--hide-scrollbars"]
    command += ["--no-proxy-server", "--disable-background-networking", "--lang=en-GB", "about:blank"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=dict(os.environ))
    try:
        with connect(_tab(folder), max_size=None, open_timeout=20, proxy=None) as line:
            yield Tab(line)
    finally:
        process.terminate()
        process.wait(10)
        shutil.rmtree(folder, ignore_errors=True)


def _tab(folder: Path) -> str:
    """The address of the first tab."""
    deadline = time.monotonic() + 30
    note = folder / "DevToolsActivePort"
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    while True:
        try:
            port = note.read_text().split()[0]
            with opener.open(f"http://127.0.0.1:{port}/json/list", timeout=5) as answer:
                tabs = [one for one in json.load(answer) if one["type"] == "page"]
            return str(tabs[0]["webSocketDebuggerUrl"])
        except (OSError, IndexError):
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)
