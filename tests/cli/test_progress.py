"""Progress is shown seldom enough for a log, and numbers are spelled so that they can be read."""

import math
import os
import pty
import subprocess
import sys
from contextlib import suppress

import pytest

from dsc._cli.printing import progress
from dsc._cli.printing.progress import ProgressMeter, by_info, trying, whole
from dsc._cli.printing.text import bytes_text, counted, ratio_text, seconds_text


def test_a_log_gets_a_line_each_few_seconds_and_one_at_the_end() -> None:
    meter = ProgressMeter("compress", "samples", 100.0)
    lines = [meter.line(done, 1000, 100.0 + done / 50) for done in range(0, 1001)]
    shown = [(done, line) for done, line in enumerate(lines) if line is not None]
    assert [done for done, _ in shown] == [250, 500, 750, 1000]
    assert shown[0][1] == "compress: 250 of 1000 samples (25 %), 50.0 samples/s, ETA 15 s"
    assert shown[-1][1] == "compress: 1000 of 1000 samples (100 %), 50.0 samples/s, in 20 s"


def test_what_an_earlier_run_left_does_not_flatter_the_rate() -> None:
    meter = ProgressMeter("fetch", "bytes", 0.0)
    assert meter.line(8_000_000, 10_000_000, 0.0) is None
    line = meter.line(9_000_000, 10_000_000, 10.0)
    assert line == "fetch: 9.00 MB of 10.0 MB (90 %), 100 kB/s, ETA 10 s"


def test_a_rate_counts_from_where_the_work_began_not_from_the_first_report() -> None:
    meter = ProgressMeter("compress", "samples", 0.0)
    assert meter.line(0, 1000, 0.0, kept=0) is None
    meter.line(100, 1000, 60.0, kept=0)  # four workers end their first shards at once
    meter.line(200, 1000, 60.1, kept=0)
    line = meter.line(400, 1000, 80.0, kept=0)
    assert line == "compress: 400 of 1000 samples (40 %), 5.0 samples/s, ETA 2 min 00 s"


def test_what_an_earlier_run_left_is_in_no_rate_however_long_it_took_to_find() -> None:
    meter = ProgressMeter("compress", "samples", 0.0)
    for at, found in enumerate((100, 200, 300, 400)):
        meter.line(found, 1000, 4.0 * at, kept=found)
    assert meter.line(400, 1000, 12.0, kept=400) is None
    meter.line(440, 1000, 16.0, kept=400)
    line = meter.line(600, 1000, 32.0, kept=400)
    assert line == "compress: 600 of 1000 samples (60 %), 10.0 samples/s, ETA 40 s"


def test_where_all_was_there_no_rate_is_made_up() -> None:
    meter = ProgressMeter("compress", "samples", 0.0)
    assert meter.line(9, 9, 0.0, kept=9) == "compress: 9 of 9 samples (100 %), in 0.0 s"


def test_the_first_report_of_a_short_work_may_be_its_last() -> None:
    meter = ProgressMeter("verify", "files", 0.0)
    assert meter.line(8, 8, 0.5) == "verify: 8 of 8 files (100 %), 16.0 files/s, in 0.5 s"


def test_work_that_turns_out_to_be_more_goes_on() -> None:
    meter = ProgressMeter("try codecs", "candidates", 0.0)
    assert meter.line(4, 4, 8.0) is not None
    assert meter.line(6, 6, 12.0) is not None
    assert meter.line(6, 6, 13.0) is None


def test_a_command_counts_what_it_did_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    noted: list[tuple[int, int | None]] = []
    monkeypatch.setattr(
        ProgressMeter, "note", lambda self, done, kept, now_s: noted.append((done, kept))
    )
    with whole("compress", "samples", "looking at the data") as shown:
        by_info(shown.report)(3, 9, {"samples_resumed": 2})
    assert noted == [(3, 2)]


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now_s = 50.0
        monkeypatch.setattr(progress.time, "monotonic", lambda: self.now_s)

    def wait(self, seconds: float) -> None:
        self.now_s += seconds


def test_a_command_is_shown_from_its_start_and_its_time_is_all_of_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clock = Clock(monkeypatch)
    with whole("compress", "samples", "looking at the data") as shown:
        clock.wait(2)
        assert capsys.readouterr().err == ""  # what is refused at once is told alone
        shown.report(0, 8, 0)
        assert capsys.readouterr().err == "compress: looking at the data\n"
        for done in range(1, 9):  # the first four while sizes are chosen
            clock.wait(0.25)
            shown.report(done, 8, 0)
        assert capsys.readouterr().err == ""
        clock.wait(1)  # the commit
    assert capsys.readouterr().err == "compress: 8 of 8 samples (100 %), 2.7 samples/s, in 5.0 s\n"


SHOWN = """
from dsc._cli.printing.progress import trying, whole

with whole("compress", "samples", "looking at the data") as shown:
    print("for the pipe")
    trying(shown)(2, 2, 9.0)
    shown.report(8, 8, 0)
"""


def test_a_terminal_has_bars_from_the_start_and_a_pipe_beside_it_what_was_printed() -> None:
    ours, theirs = pty.openpty()
    with os.fdopen(ours, "rb", buffering=0) as terminal:
        env = os.environ | {"COLUMNS": "120", "TERM": "xterm"}
        command = [sys.executable, "-c", SHOWN]
        ran = subprocess.run(command, stdout=subprocess.PIPE, stderr=theirs, env=env, check=True)
        os.close(theirs)
        seen = b""
        with suppress(OSError):  # a terminal that nobody writes to any more
            while data := terminal.read(4096):
                seen += data
    assert ran.stdout == b"for the pipe\n"
    assert b"for the pipe" not in seen
    assert seen.index(b"looking at the data") < seen.index(b"2 of 2 candidates")
    assert b"8 of 8 samples" in seen


def test_a_command_that_fails_or_had_nothing_to_do_tells_no_end(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with whole("compress", "samples", "looking at the data") as shown:
        shown.report(0, 8, 0)
    with suppress(ValueError), whole("compress", "samples", "looking") as shown:
        shown.report(0, 8, 0)
        shown.report(8, 8, 0)
        raise ValueError
    assert capsys.readouterr().err == "compress: looking at the data\ncompress: looking\n"


def test_a_part_of_a_command_is_told_with_its_own_time(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clock = Clock(monkeypatch)
    with whole("compress", "samples", "looking") as shown:
        clock.wait(3)
        tried = trying(shown)
        tried(0, 4, 120.0)
        clock.wait(6)
        tried(2, 4, 114.0)
        clock.wait(6)
        tried(4, 4, math.inf)
        assert capsys.readouterr().err.splitlines() == [
            "try codecs: at most 2 min 00 s left",
            "try codecs: 2 of 4 candidates (50 %), 0.3 candidates/s, at most 1 min 54 s left",
        ]


def test_the_end_is_told_once() -> None:
    meter = ProgressMeter("verify", "files", 0.0)
    assert meter.line(3, 3, 1.0) is not None
    assert meter.line(3, 3, 9.0) is None


def test_nothing_to_do_is_no_division_by_zero() -> None:
    assert ProgressMeter("fetch", "bytes", 0.0).line(0, 0, 0.0) is not None


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 B"), (999, "999 B"), (1000, "1.00 kB"), (12_345, "12.3 kB"), (999_600, "1.00 MB")],
)
def test_bytes_have_three_digits(count: int, text: str) -> None:
    assert bytes_text(count) == text


def test_one_thing_is_not_several() -> None:
    assert [counted(n, "sample") for n in (0, 1, 2)] == ["0 samples", "1 sample", "2 samples"]


def test_durations_and_ratios() -> None:
    assert [seconds_text(s) for s in (0.42, 12.3, 185, 7620)] == [
        "0.4 s",
        "12 s",
        "3 min 05 s",
        "2 h 07 min",
    ]
    assert [ratio_text(r) for r in (None, 0.5, 7.891, 12.34)] == ["–", "0.50 ×", "7.89 ×", "12.3 ×"]
