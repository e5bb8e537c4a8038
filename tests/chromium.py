"""A headless Chromium, driven over the DevTools protocol through a pipe; needs no package."""

import base64
import itertools
import json
import os
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
FLAGS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--mute-audio",
    "--no-first-run", "--disable-extensions", "--disable-background-networking",
    "--disable-dev-shm-usage", "--force-color-profile=srgb", "--remote-debugging-pipe",
)  # fmt: skip
# the browser reads descriptor 3 and writes 4
HAND_OVER = """
import os, sys
its_in, its_out = (os.dup(os.dup(os.dup(int(one)))) for one in sys.argv[1:3])
os.dup2(its_in, 3)
os.dup2(its_out, 4)
os.execv(sys.argv[3], sys.argv[3:])
"""
PATIENCE_S = 60.0


def find_chromium() -> str | None:
    """The browser that ``DSC_CHROMIUM`` names, or else one on the path."""
    named = os.environ.get("DSC_CHROMIUM")
    return named or next(filter(None, map(shutil.which, NAMES)), None)


class Tab:
    """One page of the browser."""

    def __init__(self, browser: "Chromium", session: str) -> None:
        self._browser, self._session = browser, session
        self.requests: list[str] = []
        self.errors: list[str] = []
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.send(f"{domain}.enable")

    def send(self, method: str, **parameters: Any) -> dict[str, Any]:
        return self._browser.send(method, self._session, **parameters)

    def take(self, event: dict[str, Any]) -> None:
        """Note what the page asks for, and what goes wrong in it."""
        method, told = event["method"], event["params"]
        if method == "Network.requestWillBeSent":
            self.requests.append(told["request"]["url"])
        elif method == "Runtime.exceptionThrown":
            details = told["exceptionDetails"]
            self.errors.append(details.get("exception", {}).get("description", details["text"]))
        elif method == "Log.entryAdded" and told["entry"]["level"] == "error":
            self.errors.append(f"{told['entry']['text']} {told['entry'].get('url', '')}")

    def run(self, script: str) -> Any:
        """The value of an expression, awaited where it is a promise."""
        found = self.send(
            "Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True
        )
        if "exceptionDetails" in found:
            raise AssertionError(found["exceptionDetails"]["exception"]["description"])
        return found["result"].get("value")

    def until(self, script: str) -> None:
        """Wait until an expression is true."""
        end = time.monotonic() + PATIENCE_S
        while not self.run(f"!!({script})"):
            assert time.monotonic() < end, f"never: {script}; {self.errors}"
            time.sleep(0.03)

    def rest(self, seconds: float) -> None:
        """Let the page go on for a while."""
        self.run(f"new Promise(done => setTimeout(done, {1000 * seconds}))")

    def open(self, url: str) -> None:
        self.send("Page.navigate", url=url)
        self.until("document.readyState === 'complete'")

    def size(self, width: int, height: int, dark: bool = False) -> None:
        self.send(
            "Emulation.setDeviceMetricsOverride",
            width=width, height=height, deviceScaleFactor=1, mobile=False,
        )  # fmt: skip
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.send("Emulation.setEmulatedMedia", features=[scheme])

    def press(self, key: str, text: str = "") -> None:
        codes = {"Enter": 13, "Escape": 27, "End": 35, "Home": 36, "ArrowLeft": 37,
                 "ArrowUp": 38, "ArrowRight": 39, "ArrowDown": 40, " ": 32}  # fmt: skip
        common: dict[str, Any] = {"key": key, "windowsVirtualKeyCode": codes.get(key, 0)}
        if len(key) == 1:
            common |= {"text": text or key, "windowsVirtualKeyCode": ord(key.upper())}
        elif key == "Enter":
            common |= {"text": "\r"}
        self.send("Input.dispatchKeyEvent", type="keyDown", **common)
        self.send("Input.dispatchKeyEvent", type="keyUp", **common)

    def mouse(self, kind: str, x: float, y: float, **more: Any) -> None:
        self.send("Input.dispatchMouseEvent", type=kind, x=x, y=y, **more)

    def picture(self, path: Path | None = None) -> bytes:
        """A PNG of what is seen."""
        data = base64.b64decode(self.send("Page.captureScreenshot", format="png")["data"])
        if path is not None:
            path.write_bytes(data)
        return data


class Chromium:
    """A browser process."""

    def __init__(self, program: str, profile: Path) -> None:
        ours_out, its_in = os.pipe()[::-1]
        its_out, ours_in = os.pipe()[::-1]
        self._out, self._in, self._left = ours_out, ours_in, b""
        self._numbers = itertools.count(1)
        self.tabs: dict[str, Tab] = {}

        self._process = subprocess.Popen(
            [sys.executable, "-c", HAND_OVER, str(its_in), str(its_out), program, *FLAGS,
             f"--user-data-dir={profile}", "about:blank"],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            pass_fds=(its_in, its_out),
        )  # fmt: skip
        os.close(its_in)
        os.close(its_out)

    def send(self, method: str, session: str | None = None, **parameters: Any) -> dict[str, Any]:
        number = next(self._numbers)
        message: dict[str, Any] = {"id": number, "method": method, "params": parameters}
        if session is not None:
            message["sessionId"] = session
        os.write(self._out, json.dumps(message).encode() + b"\0")
        while True:
            found = self._receive()
            if found.get("id") == number:
                if "error" in found:
                    raise AssertionError(f"{method}: {found['error']}")
                result: dict[str, Any] = found["result"]
                return result
            tab = self.tabs.get(found.get("sessionId", ""))
            if tab is not None and "method" in found:
                tab.take(found)

    def _receive(self) -> dict[str, Any]:
        while b"\0" not in self._left:
            ready, _, _ = select.select([self._in], [], [], PATIENCE_S)
            data = os.read(self._in, 1 << 20) if ready else b""
            if not data:
                raise AssertionError("the browser ended, or does not answer")
            self._left += data
        line, _, self._left = self._left.partition(b"\0")
        found: dict[str, Any] = json.loads(line)
        return found

    def tab(self) -> Tab:
        target = self.send("Target.createTarget", url="about:blank")["targetId"]
        session = self.send("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        tab = self.tabs[session] = Tab.__new__(Tab)
        tab.__init__(self, session)  # type: ignore[misc]
        return tab

    def close(self) -> None:
        with suppress(AssertionError, OSError):
            self.send("Browser.close")
        os.close(self._out)
        os.close(self._in)
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


@contextmanager
def chromium(program: str, profile: Path) -> Iterator[Callable[[], Tab]]:
    """Run a browser; what is yielded opens a tab."""
    browser = Chromium(program, profile)
    try:
        yield browser.tab
    finally:
        browser.close()
