"""Starts the processes in which libraries are measured, asks them, and never waits for ever."""

import contextlib
import json
import os
import select
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from dsc.errors import DscError

LIMIT_S = 300.0
SINGLE_THREAD = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
LOCAL_S3 = {
    "AWS_ACCESS_KEY_ID": "local",
    "AWS_SECRET_ACCESS_KEY": "local",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
}


class ChildError(DscError, RuntimeError):
    """A call that failed in the process that measures; the text is for the table."""


class Child:
    """One process; see `child`."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - closed in `close`
        self._process = subprocess.Popen(
            [sys.executable, "-m", "dsc._bench.stream.child"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            env={**os.environ, **SINGLE_THREAD, **environment},
        )

    def ask(self, call: str, limit_s: float = LIMIT_S, **arguments: Any) -> Any:
        """Make a call and wait for its answer.

        Raises
        ------
        ChildError
            When it fails, takes too long, or the process dies.
        """
        line = json.dumps({"call": call, **arguments}) + "\n"
        if self._process.stdin is None or self._process.poll() is not None:
            raise ChildError(f"the process ended: {self._last_words()}")
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write(line.encode())
            self._process.stdin.flush()
        answer = self._answer(limit_s)
        if "error" in answer:
            raise ChildError(str(answer["error"]))
        return answer["ok"]

    def _answer(self, limit_s: float) -> dict[str, Any]:
        end, data = time.monotonic() + limit_s, b""
        pipe = self._process.stdout
        while pipe is not None and not data.endswith(b"\n"):
            ready, _, _ = select.select([pipe], [], [], max(end - time.monotonic(), 0.0))
            part = os.read(pipe.fileno(), 1 << 16) if ready else b""
            if not part:
                self._process.kill()
                problem = "the process ended" if ready else f"no answer in {limit_s:.0f} s"
                raise ChildError(f"{problem}: {self._last_words()}")
            data += part
        found: dict[str, Any] = json.loads(data)
        return found

    def _last_words(self) -> str:
        self._errors.seek(0, os.SEEK_END)
        self._errors.seek(max(self._errors.tell() - 2000, 0))
        lines = self._errors.read().decode("utf-8", "replace").strip().splitlines()
        return lines[-1][:200] if lines else "it said nothing"

    def close(self) -> None:
        """End the process."""
        if self._process.stdin is not None:
            with contextlib.suppress(BrokenPipeError):
                self._process.stdin.close()
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()
        self._errors.close()


@contextmanager
def child(environment: Mapping[str, str] | None = None) -> Iterator[Child]:
    """Yield a process to measure in, and end it.

    Parameters
    ----------
    environment
        Variables beside those of this process.
    """
    started = Child(environment or {})
    try:
        yield started
    finally:
        started.close()


def s3_environment(url: str) -> dict[str, str]:
    """Return what lets S3 clients read from a server on loopback."""
    return {**LOCAL_S3, "S3_ENDPOINT_URL": url, "AWS_ENDPOINT_URL": url}
