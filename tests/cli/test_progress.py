"""Progress is shown seldom enough for a log, and numbers are spelled so that they can be read."""

import pytest

from dsc._cli.printing.progress import ProgressMeter, by_info, later
from dsc._cli.printing.text import bytes_text, ratio_text, seconds_text


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
    with later("compress", "samples") as report:
        by_info(report)(3, 9, {"samples_resumed": 2})
    assert noted == [(3, 2)]


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


def test_durations_and_ratios() -> None:
    assert [seconds_text(s) for s in (0.42, 12.3, 185, 7620)] == [
        "0.4 s",
        "12 s",
        "3 min 05 s",
        "2 h 07 min",
    ]
    assert [ratio_text(r) for r in (None, 0.5, 7.891, 12.34)] == ["–", "0.50 ×", "7.89 ×", "12.3 ×"]
