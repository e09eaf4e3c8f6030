"""A real Chromium without a window, spoken to over a pipe in its own protocol (Chrome DevTools); nothing but Python.

``with Chromium() as page: page.open(path); page.run("document.title")``
"""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

NAMES = "chromium", "chromium-browser", "google-chrome", "google-chrome-stable"
PATIENCE = 60.0  # seconds for one answer


def chromium() -> str | None:
    """The browser of this machine: CHROMIUM, else the first that is found."""
    return os.environ.get("CHROMIUM") or next((found for name in NAMES if (found := shutil.which(name))), None)


class Chromium:
    """A browser with one page; ``console`` holds what it complained about, ``requests`` the addresses it asked for."""

    def __init__(self, width: int = 1200, height: int = 900) -> None:
        self.console: list[str] = []
        self.requests: list[str] = []
        self.size = width, height
        self.count = 0

    def __enter__(self) -> Chromium:
        program = chromium()
        assert program is not None
        self.folder = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        to_browser, self.write = os.pipe()
        self.read, from_browser = os.pipe()
        options = ["--headless=new", "--no-sandbox", "--disable-gpu", "--remote-debugging-pipe", "--no-first-run",
                   "--disable-background-networking", f"--user-data-dir={self.folder.name}"]  # fmt: skip

        def pipes() -> None:
            a, b = os.dup(to_browser), os.dup(from_browser)
            os.dup2(a, 3)
            os.dup2(b, 4)

        self.process = subprocess.Popen(
            [program, *options], close_fds=False, preexec_fn=pipes, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        os.close(to_browser)
        os.close(from_browser)
        os.set_blocking(self.read, False)
        self.rest = b""
        self.session = ""
        target = self.ask("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network", "DOM"):
            self.ask(f"{domain}.enable")
        self.look("light")
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self.ask("Browser.close", browser=True)
        except (OSError, TimeoutError):
            self.process.kill()
        self.process.wait(30)
        os.close(self.write)
        os.close(self.read)
        self.folder.cleanup()

    # ------------------------------------------------------------------ the protocol

    def ask(self, method: str, browser: bool = False, **params: Any) -> dict[str, Any]:
        """Send a command and wait for its answer; what else arrives is noted."""
        self.count += 1
        number = self.count
        command = {"id": number, "method": method, "params": params}
        if self.session and not browser:
            command["sessionId"] = self.session
        os.write(self.write, json.dumps(command).encode() + b"\0")
        return self.wait(lambda message: message.get("id") == number)

    def wait(self, wanted: Any) -> dict[str, Any]:
        """The first message of this kind: its result or its parameters."""
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            *whole, self.rest = self.rest.split(b"\0")
            for t, each in enumerate(whole):
                message = json.loads(each)
                self.note(message)
                if wanted(message):
                    self.rest = b"\0".join([*whole[t + 1 :], self.rest])
                    if "error" in message:
                        raise RuntimeError(message["error"])
                    return message.get("result", message.get("params", {}))
            try:
                self.rest += os.read(self.read, 1 << 20)
            except BlockingIOError:
                time.sleep(0.01)
        raise TimeoutError("the browser does not answer")

    def note(self, message: dict[str, Any]) -> None:
        kind, said = message.get("method"), message.get("params", {})
        if kind == "Runtime.exceptionThrown":
            self.console.append(json.dumps(said["exceptionDetails"])[:400])
        elif kind == "Log.entryAdded" and said["entry"]["level"] in ("error", "warning"):
            self.console.append(said["entry"]["text"])
        elif kind == "Runtime.consoleAPICalled" and said["type"] in ("error", "warning", "assert"):
            self.console.append(json.dumps(said["args"])[:400])
        elif kind == "Network.requestWillBeSent":
            self.requests.append(said["request"]["url"])

    # ------------------------------------------------------------------ what a test does

    def look(self, scheme: str, media: str = "screen") -> None:
        """Light or dark, on the screen or in print."""
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self.ask("Emulation.setEmulatedMedia", media=media, features=features)
        width, height = self.size
        self.ask("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)

    def open(self, path: Path) -> None:
        """Load a file and wait until it is there."""
        self.ask("Page.navigate", url=path.absolute().as_uri())
        self.wait(lambda message: message.get("method") == "Page.loadEventFired")

    def run(self, script: str) -> Any:
        """The value of an expression in the page."""
        found = self.ask("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in found:
            raise RuntimeError(json.dumps(found["exceptionDetails"])[:400])
        return found["result"].get("value")

    def point(self, selector: str) -> None:
        """Move the mouse to the middle of the first element that fits."""
        self.run(f"document.querySelector({selector!r}).scrollIntoView({{block: 'center', inline: 'center'}})")
        found = f"document.querySelector({selector!r}).getBoundingClientRect()"
        box = self.run(f"(r => [r.x + r.width/2, r.y + r.height/2])({found})")
        self.ask("Input.dispatchMouseEvent", type="mouseMoved", x=box[0], y=box[1])

    def press(self, key: str) -> None:
        """Press and release one key."""
        code = {"Tab": 9, "Enter": 13, "Escape": 27}[key]
        for kind in ("keyDown", "keyUp"):
            self.ask("Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=code)

    def picture(self, path: Path, whole: bool = True) -> None:
        """Write what is seen, or the whole page, as PNG."""
        found = self.ask("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        path.write_bytes(base64.b64decode(found["data"]))
