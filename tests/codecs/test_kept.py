"""`keep`: frames stay as their video has them, and come back as the source reads them."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import dsc
from dsc._codecs.sequence.kept import KeepCodec
from dsc._pipeline.choose.codec_set import CodecSet
from dsc._schemas import Quality, Task
from dsc._schemas.coded_frame import CodedFrame, Packet
from dsc._schemas.group import GroupHeader, link_all
from dsc._sources.lerobot.video import VideoFile
from dsc._sources.registry import open_source
from dsc._storage.read.archive import Archive
from dsc.errors import (
    BitstreamError,
    CodecError,
    MissingPackageError,
    SampleError,
    UsageError,
)
from tests.cli.conftest import run_dsc
from tests.lerobot import TOP, Made, make, picture, write_video

av = pytest.importorskip("av", reason="videos are read by PyAV")
pytest.importorskip("pyarrow")
os.environ.setdefault("SVT_LOG", "1")  # SVT-AV1 writes a banner otherwise

RGB = Task(name="rgb", kind="image", dtype="uint8", channels=3)
CLOSED: dict[str, dict[str, Any]] = {
    "av1 of lerobot": {"codec": "libsvtav1", "g": 2, "crf": 30, "preset": 12},
    "av1 with hidden frames": {"codec": "libaom-av1", "g": 16, "crf": 20, "cpu_used": 8},
    "h264 with B-frames": {"codec": "libx264", "g": 12, "bf": 3, "crf": 18},
    "hevc with B-frames": {
        "codec": "libx265",
        "g": 10,
        "crf": 18,
        "x265_params": "open-gop=0:bframes=3:log-level=none",
    },
    "vp9": {"codec": "libvpx-vp9", "g": 16, "crf": 30, "b": 0},
}
REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "open GOP of H.264": (
        {"g": 12, "bf": 3, "x264_params": "open-gop=1"}, "cannot be decoded by themselves",
    ),
    "open GOP of HEVC": (
        {"codec": "libx265", "g": 10, "x265_params": "open-gop=1:bframes=4:log-level=none"},
        r"an open GOP\), which cannot be kept; use --codec TASK=av1-seq",
    ),
    "intra refresh": ({"x264_params": "intra-refresh=1:keyint=10"}, "by themselves"),
    "a long GOP": (
        {"g": 300, "bf": 0, "x264_params": "scenecut=0"}, "64 packets behind its key frame",
    ),
    "another codec": ({"codec": "mpeg4"}, "frames of mpeg4 cannot be kept"),
}  # fmt: skip


def compressed(root: Path, made: Made, *more: Any) -> tuple[str, Any]:
    data = make(root / "data", made)
    words = ("--codec", "top=keep", "--pack", 32, *more)
    return data, run_dsc("compress", "lerobot", "--root", data, "--out", root / "dsc", *words)


@pytest.mark.parametrize("version", ["v2.1", "v3.0"])
@pytest.mark.parametrize("video", CLOSED)
def test_frames_come_back_as_the_source_reads_them(video, version, tmp_path):
    made = Made(version=version, lengths=(40, 33, 16), video=CLOSED[video])
    data, ran = compressed(tmp_path, made)
    assert ran.code == 0, ran.err
    source, dataset = open_source("lerobot", data), dsc.open(tmp_path / "dsc", ["top"], native=True)
    for n in np.random.default_rng(0).permutation(len(source)).tolist():
        assert np.array_equal(dataset[n]["top"], source.read(n, ["top"]).arrays["top"]), n
    batches = dsc.stream(tmp_path / "dsc", "top", 8)
    assert sum(len(batch["top"]) for batch in batches) == len(source)
    assert run_dsc("verify", tmp_path / "dsc", "--deep").code == 0


def test_packets_are_in_the_archive_as_they_lie_in_the_video(tmp_path):
    data, ran = compressed(tmp_path, Made(video=CLOSED["av1 of lerobot"]))
    assert ran.code == 0, ran.err
    videos = sorted((Path(data) / "videos").rglob("*.mp4"))
    packets = []
    for path in videos:
        with av.open(str(path)) as file:
            packets += [bytes(one) for one in file.demux(video=0) if one.dts is not None]
    tars = b"".join(path.read_bytes() for path in (tmp_path / "dsc/top").glob("*.tar"))
    assert all(packet in tars for packet in packets)
    found = Archive.open(str(tmp_path / "dsc")).manifest.totals["top"].payload_bytes
    assert found < sum(map(len, packets)) + 40 * len(packets)


@pytest.mark.parametrize("video", REFUSED)
def test_what_cannot_be_kept_is_refused_with_a_reason(video, tmp_path):
    options, said = REFUSED[video]
    frames = [picture(0, n % 50) + np.uint8(n % 3) for n in range(90)]
    path = tmp_path / "x.mp4"
    write_video(path, frames, **options)
    found = VideoFile(lambda: str(path), "x.mp4")
    with pytest.raises((SampleError, CodecError), match=said):
        keep(found)


def keep(video: VideoFile) -> None:
    """Keep a video in groups that begin anywhere."""
    for start in range(0, 90, 6):
        samples = [{"rgb": bytes_of(video.coded(n))} for n in range(start, start + 6)]
        KeepCodec([RGB]).encode_group(samples, Quality())


def bytes_of(frame: CodedFrame) -> np.ndarray:
    return np.frombuffer(frame.pack(), np.uint8)


def coded(tmp_path: Path, places: Sequence[int]) -> tuple[VideoFile, list[dict[str, bytes]]]:
    path = tmp_path / "x.mp4"
    write_video(path, [picture(0, n) for n in range(40)], g=12, bf=3, crf=18)
    video = VideoFile(lambda: str(path), "x.mp4")
    samples = [{"rgb": bytes_of(video.coded(n))} for n in places]
    return video, KeepCodec([RGB]).encode_group(samples, Quality())


def test_a_packet_is_in_one_payload_of_a_group(tmp_path):
    video, payloads = coded(tmp_path, range(5, 21))
    heads = [GroupHeader.unpack(one["rgb"]) for one in payloads]
    frames = [
        CodedFrame.unpack(one["rgb"][head.size :])
        for one, head in zip(payloads, heads, strict=True)
    ]
    numbers = [packet.decoded for frame in frames for packet in frame.packets]
    assert len(numbers) == len(set(numbers))
    assert sorted(head.order for head in heads) == list(range(16))
    linked = link_all(payloads, [("rgb",)])
    for at in (15, 0, 7):
        [found] = KeepCodec([RGB]).decode_batch([linked[at]], ["rgb"], 1 << 20)
        assert np.array_equal(found["rgb"], video.rgb(5 + at))


def test_some_samples_of_a_group_may_lack_the_task(tmp_path):
    path = tmp_path / "x.mp4"
    write_video(path, [picture(0, n) for n in range(16)], g=8, bf=2, crf=18)
    video = VideoFile(lambda: str(path), "x.mp4")
    samples = [{"rgb": bytes_of(video.coded(n))} if n % 3 else {} for n in range(16)]
    payloads = link_all(KeepCodec([RGB]).encode_group(samples, Quality()), [("rgb",)])
    found = KeepCodec([RGB]).decode_batch(payloads, ["rgb"], 1 << 20)
    for n, one in enumerate(found):
        assert ("rgb" in one) == bool(n % 3)
        if n % 3:
            assert np.array_equal(one["rgb"], video.rgb(n))


def test_a_larger_picture_than_allowed_is_not_decoded(tmp_path):
    _, payloads = coded(tmp_path, range(4))
    linked = link_all(payloads, [("rgb",)])
    with pytest.raises(BitstreamError, match="at most 100"):
        KeepCodec([RGB]).decode_batch([linked[3]], ["rgb"], 100)


def test_damage_is_a_bitstream_error_or_another_picture_never_a_crash(tmp_path):
    _, payloads = coded(tmp_path, range(6))
    rng = np.random.default_rng(0)
    for _ in range(150):
        data = [bytearray(one["rgb"]) for one in payloads]
        one = data[int(rng.integers(6))]
        one[int(rng.integers(len(one)))] ^= 1 << int(rng.integers(8))
        linked = link_all([{"rgb": bytes(each)} for each in data], [("rgb",)])
        for payload in linked:
            try:
                [found] = KeepCodec([RGB]).decode_batch([payload], ["rgb"], 1 << 20)
            except BitstreamError:
                continue
            assert found["rgb"].shape == (48, 64, 3)


@pytest.mark.parametrize(
    "data",
    [b"", b"\x09" * 9, CodedFrame("av1", 4, 4, (Packet(0, 0, b"ab"),)).pack()[:-1]],
)
def test_bytes_that_are_no_frame_are_refused(data):
    with pytest.raises(ValueError, match=r"no frame|cut"):
        CodedFrame.unpack(data)


def test_other_sources_and_promises_are_refused(tmp_path):
    with pytest.raises(CodecError, match="keep takes frames as a video has them"):
        KeepCodec([RGB]).encode_batch([{"rgb": picture(0, 0)}], Quality())
    with pytest.raises(UsageError, match="keeps images of 8 bits and three channels, not depth"):
        CodecSet.from_spec("d=keep", [Task(name="d", kind="depth", dtype="uint16", unit_m=0.001)])
    ran = run_dsc(
        "compress", "taskonomy", "--views", 2, "--codec", "rgb=keep", "--out", tmp_path / "a"
    )
    assert ran.code != 0
    assert "sample has no videos; use av1-seq" in " ".join(ran.err.split())
    for promise in (("--target", "top=38dB"), ("--max-error", "top=2")):
        _, ran = compressed(tmp_path / promise[0][2:], Made(lengths=(3,)), *promise)
        assert ran.code != 0
        assert f"{promise[0]} top" in ran.err


def test_a_picture_in_parquet_is_no_video(tmp_path):
    data = make(tmp_path / "data", Made(images=True, cameras=()))
    with pytest.raises(SampleError, match="no video, so it cannot be kept"):
        open_source("lerobot", data).coded(0, "image")  # type: ignore[attr-defined]


def test_an_archive_that_keeps_frames_grows(tmp_path):
    made = Made(lengths=(20, 6), video=CLOSED["av1 of lerobot"])
    data, ran = compressed(tmp_path, made)
    assert ran.code == 0, ran.err
    more = make(tmp_path / "more", Made(lengths=(20, 6, 9), video=CLOSED["av1 of lerobot"]))
    ran = run_dsc("append", tmp_path / "dsc", "lerobot", "--root", more)
    assert ran.code == 0, ran.err
    dataset, source = dsc.open(tmp_path / "dsc", ["top"], native=True), open_source("lerobot", more)
    assert len(dataset) == 35
    assert np.array_equal(dataset[34]["top"], source.read(34, ["top"]).arrays["top"])
    assert TOP in str(next((Path(data) / "videos").iterdir()))


def test_any_number_of_workers_writes_the_same_bytes(tmp_path):
    made = Made(lengths=(40, 33, 16), video=CLOSED["h264 with B-frames"])
    data = make(tmp_path / "data", made)
    found = []
    for workers in (1, 2):
        out = tmp_path / str(workers)
        words = ("--codec", "top=keep", "--pack", 8, "--shard-size", 32, "--workers", workers)
        assert run_dsc("compress", "lerobot", "--root", data, "--out", out, *words).code == 0
        files = sorted(path for path in out.rglob("*") if path.is_file())
        found.append({str(path.relative_to(out)): path.read_bytes() for path in files})
    assert found[0] == found[1]


def test_without_pyav_it_is_said_what_to_install(tmp_path, monkeypatch):
    _, ran = compressed(tmp_path, Made(lengths=(3,), video=CLOSED["av1 of lerobot"]))
    assert ran.code == 0, ran.err
    monkeypatch.setitem(sys.modules, "av", None)
    dataset = dsc.open(tmp_path / "dsc", ["top", "state"], native=True)
    with pytest.raises(MissingPackageError, match=r"codec 'keep' needs av.*'dsc\[video\]'"):
        dataset[1]
    assert dsc.open(tmp_path / "dsc", ["state"])[1]["state"].shape == (3,)
