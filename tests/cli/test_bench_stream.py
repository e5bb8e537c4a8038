"""`dsc bench stream`: what it writes, that it goes on where it stopped, and what it refuses."""

import json
from pathlib import Path
from typing import Any

import pytest

from dsc._bench.stream import run
from tests.cli.conftest import Command

pytest.importorskip("matplotlib", reason="pip install 'dsc[bench]'")
pytest.importorskip("PIL", reason="pip install pillow")
TRAFFIC = {
    "samples": 10,
    "required": {"payload": 90, "stored": 100},
    "rows": [{"name": "dsc, in order", "sent": 101, "requests": 2, "total": 900}],
}
NO_GPU = {"device": None, "workers": 2, "rows": []}


class Counted:
    """Stands for the parts: counts how often each is measured; the second can fail."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.fails = False

    def makers(self, shop: object, only: object) -> dict[str, Any]:
        return {"traffic": self.traffic, "gpu": self.gpu}

    def traffic(self) -> dict[str, Any]:
        self.calls.append("traffic")
        return TRAFFIC

    def gpu(self) -> dict[str, Any]:
        self.calls.append("gpu")
        if self.fails:
            raise KeyboardInterrupt
        return NO_GPU


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> Counted:
    made = Counted()
    monkeypatch.setattr(run, "_makers", made.makers)
    return made


def test_one_command_writes_tables_plots_and_figures(
    dsc: Command, tmp_path: Path, counted: Counted
) -> None:
    out = tmp_path / "bench"
    ran = dsc("bench", "stream", "--out", out, "--quick", "--json")
    assert ran.code == 0, ran.err
    found = ran.json()
    assert found["parts"] == {"traffic": TRAFFIC, "gpu": NO_GPU}
    assert found["parts"] == json.loads((out / "stream.json").read_text())["parts"]
    assert {Path(name).name for name in found["files"]} == {
        "stream.md", "stream.json", "stream-bytes.png", "stream-bytes.svg"
    }  # fmt: skip
    assert all(Path(name).stat().st_size for name in found["files"])
    assert "| dsc, in order | 0.00 | 1.010 |" in (out / "stream.md").read_text()
    assert found["environment"]["versions"]["torch"]


def test_what_is_measured_is_not_measured_again_unless_asked(
    dsc: Command, tmp_path: Path, counted: Counted
) -> None:
    words = ("bench", "stream", "--out", tmp_path / "bench", "--quick")
    counted.fails = True
    assert dsc(*words).code != 0
    counted.fails = False
    assert dsc(*words).code == 0
    assert counted.calls == ["traffic", "gpu", "gpu"]
    ran = dsc(*words)
    assert counted.calls == ["traffic", "gpu", "gpu"]
    assert "## Bytes: depth alone, of four tasks" in ran.out
    assert dsc(*words, "--rounds", 3).code == 0  # another measurement
    assert dsc(*words, "--fresh").code == 0
    assert counted.calls[3:] == ["traffic", "gpu"] * 2


@pytest.mark.parametrize("parts", ["smell", "traffic,smell", ","])
def test_unknown_parts_are_refused_before_anything_is_made(
    dsc: Command, tmp_path: Path, parts: str
) -> None:
    ran = dsc("bench", "stream", "--out", tmp_path / "bench", "--parts", parts)
    assert ran.code == 2
    assert "traffic, speed, gpu, scale, faults" in ran.err
    assert not (tmp_path / "bench").exists()


def test_the_help_names_every_part(dsc: Command) -> None:
    ran = dsc("bench", "stream", "--help")
    assert ran.code == 0
    assert "traffic,speed,gpu,scale,faults" in ran.out.replace("\n", "")
