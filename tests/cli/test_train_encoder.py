"""``dsc train --freeze-decoder`` from the command line: the whole way, and the words of errors."""

from pathlib import Path

from dsc._codecs.learned.codec_file import decoder_part
from tests.cli.conftest import Command
from tests.training.toy import write_views

QUICK = ("--steps", 2, "--batch", 2, "--crop", 64, "--device", "cpu", "--tasks", "rgb")


def test_an_encoder_is_trained_and_its_codec_file_used(dsc: Command, tmp_path: Path) -> None:
    views = write_views(tmp_path / "views", depth=False)
    first = dsc("train", "independent", "--model-size", "tiny", "--data", views, *QUICK,
                "--out", tmp_path / "first")  # fmt: skip
    assert first.code == 0, first.err
    start = tmp_path / "first" / "independent.safetensors"
    words = ("train", "independent", "--data", views, *QUICK, "--start", start)
    refused = dsc(*words, "--out", tmp_path / "refused")
    assert refused.code == 2
    assert "add --freeze-decoder" in refused.err
    ran = dsc(*words, "--freeze-decoder", "--out", tmp_path / "second")
    assert ran.code == 0, ran.err
    made = tmp_path / "second" / "independent.safetensors"
    assert decoder_part(made.read_bytes()) == decoder_part(start.read_bytes())
    words = ("compress", "folder", "--root", views, "--codec", made, "--out", tmp_path / "archive")
    used = dsc(*words)
    assert used.code == 0, used.err
