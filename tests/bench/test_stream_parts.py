"""The parts that `dsc bench stream` is made of: its server, its archives, its tables."""

import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest

import dsc
from dsc._bench.server import Traffic, serve
from dsc._bench.stream.archives import PACK, SHARD, write_archive
from dsc._bench.stream.children import ChildError, child
from dsc._bench.stream.sizes import QUICK
from dsc._bench.stream.synthetic import SyntheticArchive
from dsc._bench.stream.tables import markdown, rate_text
from dsc._pipeline.choose.codec_set import CodecSet
from dsc._sources.rendered.sample import sample_tasks
from dsc._storage.read.archive import Archive
from dsc.errors import UsageError

TASKS = sample_tasks()[:2]
DATA = bytes(range(256)) * 40


def codecs() -> CodecSet:
    return CodecSet.from_spec("png", TASKS)


def payloads(count: int) -> list[dict[str, bytes]]:
    return [
        {task.name: f"{task.name} {k}".encode() * (k % 5 + 1) for task in TASKS}
        for k in range(count)
    ]


def get(url: str, limits: str = "") -> tuple[int, bytes, str]:
    headers = {"Range": f"bytes={limits}"} if limits else {}
    with urllib.request.urlopen(urllib.request.Request(url, headers=headers)) as answer:
        return answer.status, answer.read(), answer.headers.get("Content-Range", "")


def test_the_server_counts_every_byte_that_it_sends_and_no_other(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(DATA)
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a").write_bytes(DATA)
    with serve(tmp_path / "in") as (url, traffic):
        assert get(f"{url}/a") == (200, DATA, "")
        assert get(f"{url}/a", "10-19") == (206, DATA[10:20], f"bytes 10-19/{len(DATA)}")
        assert get(f"{url}/a", "-7")[1] == DATA[-7:]
        assert get(f"{url}/a", f"{len(DATA) - 3}-999999")[1] == DATA[-3:]
        assert (traffic.bodies, traffic.total()) == (4, len(DATA) + 10 + 7 + 3)
        for path, limits, code in (("b", "", 404), ("../a", "", 404), ("a", "99999-", 416)):
            with pytest.raises(urllib.error.HTTPError) as caught:
                get(f"{url}/{path}", limits)
            assert caught.value.code == code
        assert (traffic.bodies, traffic.total()) == (7, len(DATA) + 20)


def test_the_server_makes_as_many_faults_as_it_says(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(DATA)
    found = []
    with serve(tmp_path, Traffic(cut_every=3, fail_every=4)) as (url, traffic):
        for _ in range(12):
            try:
                found.append(len(get(f"{url}/a")[1]))
            except urllib.error.HTTPError as error:
                found.append(error.code)
            except OSError:
                found.append(-1)
            except Exception as error:  # http.client.IncompleteRead
                found.append(len(error.partial))  # type: ignore[attr-defined]
    whole, half = len(DATA), len(DATA) // 2
    assert found == [whole, whole, half, 500, whole, half, whole, 500, half, whole, whole, 500]
    assert (traffic.made["cut"], traffic.made["fail"]) == (3, 3)


def test_an_archive_repeats_its_bitstreams_in_turn(tmp_path: Path) -> None:
    given = payloads(5)
    write_archive(tmp_path / "a", TASKS, codecs(), given, SHARD + 70, 64)
    archive = dsc.open(tmp_path / "a")
    assert len(archive) == SHARD + 70
    assert archive.manifest.totals["rgb"].stored_bytes == sum(
        path.stat().st_size for path in (tmp_path / "a" / "rgb").iterdir()
    )
    for index in (0, 63, 64, SHARD - 1, SHARD, SHARD + 69):
        (found,) = archive.payloads([index])
        assert {k: bytes(v or b"") for k, v in found.items()} == given[index % 5]


def test_a_synthetic_archive_has_the_bytes_that_a_written_one_would_have(tmp_path: Path) -> None:
    given, samples = payloads(PACK), 2 * SHARD + PACK
    write_archive(tmp_path / "a", TASKS, codecs(), given, samples, 64)
    made = SyntheticArchive(TASKS, codecs(), given, samples, 64)
    for path in sorted(tmp_path.glob("a/*/*.tar*")):
        name, data = str(path.relative_to(tmp_path / "a")), path.read_bytes()
        assert made.size(name) == len(data)
        assert made.read(name, 0, len(data)) == data
        for start, stop in ((0, 1), (511, 513), (700, 9000), (len(data) - 1030, len(data))):
            assert made.read(name, start, stop) == data[start:stop], name
    assert made.size("rgb/train-rgb-000003.tar") is None
    assert made.size("keys/train-keys-000000.jsonl") is None


def test_ten_million_samples_open_over_http_and_every_pack_checks_out() -> None:
    made = SyntheticArchive(TASKS, codecs(), payloads(PACK), 10_000_000, 64)
    with serve(made) as (url, traffic):
        archive = Archive.open(url)
        assert len(archive) == 10_000_000
        last = len(archive.shards) - 1
        for shard, pack in ((0, 0), (4321, 7), (last, archive.n_packs(last) - 1)):
            found = archive.read_pack(shard, "rgb", pack)
            assert found.first_index == shard * SHARD + pack * PACK
            assert bytes(found.payloads[9] or b"") == payloads(PACK)[9]["rgb"]
        assert traffic.total() < 12_000_000


def test_a_synthetic_archive_of_broken_packs_is_refused() -> None:
    with pytest.raises(UsageError, match="1000 samples"):
        SyntheticArchive(TASKS, codecs(), payloads(PACK), 1000, 64)


def test_a_call_that_fails_hangs_or_dies_is_an_error_with_the_reason() -> None:
    read = {"library": "floppy", "where": "", "fields": []}
    with child() as process:
        with pytest.raises(ChildError, match=r"UsageError: library 'floppy'; known: dsc"):
            process.ask("read_all", read=read)
        with pytest.raises(ChildError, match="no answer in 0 s"):
            process.ask("device_name", device="cuda", limit_s=0.0)
        with pytest.raises(ChildError, match="ended"):
            process.ask("read_all", read=read)


def parts() -> dict[str, Any]:
    def rate(one: float, two: float) -> dict[str, Any]:
        rates = {"rates": [one], "rate": one, "ratio": 5.5, "cpu_rate": one, "cpu_ratio": 6.5}
        return {"1": rates, "2": rates | {"rate": two}}

    absent = {"name": "litdata", "error": "not installed (pip install litdata)"}
    return {
        "traffic": {
            "samples": 10,
            "required": {"payload": 90, "stored": 100},
            "rows": [
                {"name": "dsc, in order", "sent": 103, "requests": 2, "total": 900},
                {"name": "webdataset", "sent": 900, "requests": 1, "total": 900},
                absent,
            ],
        },
        "raw": {"baseline": "webdataset", "rows": [{"name": "dsc bytes", **rate(9, 9)}, absent]},
        "rgb": {
            "baseline": "webdataset",
            "rows": [
                {"name": "webdataset, JPEG, PIL", **rate(3000, 1000)},
                {"name": "dsc pixels, av1 (default)", **rate(1000, 2000)},
                absent,
            ],
        },
        "gpu": {"device": None, "workers": 2, "rows": []},
        "scale-1024": {"samples": 1024, "manifest_bytes": 5, "error": "failed: no memory"},
        "faults": {
            "samples": 100,
            "rows": [
                {
                    "name": "none", "delivered": 97, "twice": 0, "wrong": 0, "seconds": 1.0,
                    "report": {"n_skipped": 2, "reads": {"retries": 4}},
                    "requests": 5, "dropped": 1, "failed": 0,
                },
            ],
        },
    }  # fmt: skip


def test_tables_say_what_was_missed_what_is_faster_and_what_was_not_measured() -> None:
    where = {"cpu": "a CPU", "cpus": 2, "python": "3", "versions": {"dsc": "1"}, "load": 0.5}
    text = markdown(parts(), QUICK.to_json(), where)
    assert "The bar for dsc is 1.02: missed" in text  # 1.03 were sent
    assert "| webdataset | 0.00 | 9.000 |" in text
    assert text.count("not installed (pip install litdata)") == 3
    assert "5.5 times as fast as webdataset (6.5 by processor time); the bar is 5: kept" in text
    assert (
        "- On one core, webdataset, JPEG, PIL is 3.0 times as fast as dsc pixels, av1 (default)."
        in text
    )
    assert (
        "- On 2 workers, dsc pixels, av1 (default) is 2.0 times as fast as webdataset, JPEG, PIL."
        in text
    )
    assert "Not measured: torch finds no CUDA device" in text
    assert "| 1,024 | failed: no memory |" in text
    assert "| none | 97 | 0 | 0 | 2 | 1 | 4 | 0 | 1 | 1.0 |" in text  # one sample is lost


def test_pictures_show_what_there_is_and_leave_out_what_is_not(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    from dsc._bench.stream.plots import draw_all

    names = {path.name for path in draw_all(parts(), tmp_path)}
    assert names == {f"stream-{n}.{kind}" for n in ("bytes", "speed") for kind in ("png", "svg")}
    svg = (tmp_path / "stream-bytes.svg").read_bytes()
    draw_all(parts(), tmp_path)
    assert (tmp_path / "stream-bytes.svg").read_bytes() == svg
    assert draw_all({}, tmp_path) == []


@pytest.mark.parametrize(
    ("rate", "text"),
    [(433_765.4, "434,000"), (1234.5, "1,230"), (999.4, "999"), (41.38, "41.4"), (7.256, "7.26")],
)
def test_rates_have_three_digits(rate: float, text: str) -> None:
    assert rate_text(rate) == text
