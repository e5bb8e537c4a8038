"""`dsc serve` from the command line: it says where the page is, serves it, and ends quietly."""

import json
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.archives import build_archive


@contextmanager
def started(*words: str) -> Iterator[tuple[dict[str, Any], "subprocess.Popen[str]"]]:
    """Run `dsc serve --json` and yield what it says first."""
    command = [sys.executable, "-m", "dsc", "serve", *words, "--json"]
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, text=True, **pipes) as process:
        assert process.stdout is not None
        said = ""
        for line in process.stdout:
            said += line
            if line.startswith("}"):
                break
        try:
            yield json.loads(said), process
        finally:
            process.kill()


def test_it_serves_until_ctrl_c(tmp_path: Path) -> None:
    build_archive(tmp_path / "a", 4)
    with started(str(tmp_path / "a"), "--port", "0") as (said, process):
        assert said["samples"] == 4
        assert said["url"].startswith("http://127.0.0.1:")
        with urllib.request.urlopen(said["url"]) as page:
            assert b"main.js" in page.read()
        with urllib.request.urlopen(f"{said['url']}api/archive") as described:
            assert json.load(described)["samples"] == 4
        process.send_signal(signal.SIGINT)
        _, notes = process.communicate(timeout=30)
        assert process.returncode == 0
        assert notes == "stopped\n"


def test_other_machines_are_warned_of(tmp_path: Path) -> None:
    build_archive(tmp_path / "a", 4)
    with started(str(tmp_path / "a"), "--port", "0", "--host", "0.0.0.0") as (said, process):
        assert said["url"].startswith("http://localhost:")
        assert process.stderr is not None
        assert "everybody who reaches this machine" in process.stderr.readline()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("nowhere",), "there is no such directory"),
        (("a", "--host", "no.such.host.invalid"), "nothing can listen there"),
        (("a", "--root", "nowhere"), "unknown source"),
    ],
)
def test_wrong_calls_end_with_a_message(
    tmp_path: Path, words: tuple[str, ...], message: str
) -> None:
    build_archive(tmp_path / "a", 4)
    command = [sys.executable, "-m", "dsc", "serve", *words]
    ran = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert ran.returncode == 2
    assert message in ran.stderr
