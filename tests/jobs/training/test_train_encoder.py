"""``--freeze-decoder``: a run that trains an encoder alone keeps the decoder, byte for byte."""

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest
import torch

from dsc._codecs.learned.codec_file import decoder_part, default_weights, export_codec
from dsc._jobs.training.run import TrainProgress
from dsc._jobs.training.train import start_of, train
from dsc._training.config import TrainConfig
from dsc._training.data.datasets import parse_data
from dsc._training.loop import Trainer
from dsc._training.networks import make_network
from dsc._training.session import Machine
from dsc.errors import CodecError, UsageError
from tests.training.toy import write_views

FINE = Machine(device="cpu", log_every=1)


@pytest.fixture(scope="session")
def views(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_views(tmp_path_factory.mktemp("views"))


@pytest.fixture(scope="session")
def codec_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(3)
    network = make_network("independent", ("rgb", "depth"), "tiny")
    network.initialise({n: torch.rand(8, c, 64, 64) - 0.5 for n, c in network.channels.items()})
    path = tmp_path_factory.mktemp("codec") / "own.safetensors"
    path.write_bytes(export_codec(network, {"made": "for a test"}))
    return path


def encoder_config(views: Path, start: Path | None, **values: Any) -> TrainConfig:
    given: dict[str, Any] = {
        "kind": "independent",
        "data": (parse_data(str(views)),),
        "steps": 4,
        "batch": 2,
        "crop": 64,
        "freeze_decoder": True,
        "start": None if start is None else start_of(start, freeze_decoder=True),
    }
    return TrainConfig.make(**{**given, **values})


@pytest.mark.parametrize("average", ["ema", "sma", "none"])
def test_the_codec_file_has_a_new_encoder_and_the_same_decoder(
    views: Path, codec_file: Path, tmp_path: Path, average: str
) -> None:
    report = train(encoder_config(views, codec_file, average=average), tmp_path, machine=FINE)
    began, made = codec_file.read_bytes(), Path(str(report.codec)).read_bytes()
    assert made != began
    assert decoder_part(made) == decoder_part(began)
    assert report.check is not None
    assert json.loads((tmp_path / "card.json").read_text())["config"]["freeze_decoder"]
    total = sum(
        p.numel() for p in make_network("independent", ("rgb", "depth"), "tiny").parameters()
    )
    assert 0 < report.about.parameters < 0.7 * total


def test_a_run_that_was_stopped_ends_as_one_that_was_not_and_needs_no_start_file(
    views: Path, codec_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dsc._jobs.training.run.SLICE_S", 0.0)
    copied = tmp_path / "copied.safetensors"
    copied.write_bytes(codec_file.read_bytes())
    config = encoder_config(views, copied)
    whole = train(config, tmp_path / "whole", machine=FINE)
    pressed: list[int] = []

    def stop(made: TrainProgress) -> None:
        if made.done >= 2 and not pressed:
            pressed.append(made.done)
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt, match="goes on from there"):
        train(config, tmp_path / "cut", machine=FINE, tell=stop)
    copied.unlink()
    cut = train(config, tmp_path / "cut", machine=FINE)
    assert (cut.row and cut.row.loss) == (whole.row and whole.row.loss)
    files = [Path(str(report.codec)) for report in (whole, cut)]
    encoders = [path.read_bytes() for path in files]
    assert len(encoders[0]) == len(encoders[1])
    assert weights_of(encoders[0]) == weights_of(encoders[1])


def weights_of(data: bytes) -> bytes:
    """Return a codec file without its header, whose card holds seconds."""
    return data[8 + int.from_bytes(data[:8], "little") :]


def test_a_decoder_that_moved_is_never_exported(views: Path, codec_file: Path) -> None:
    from dsc._training.export import export
    from dsc._training.frozen import start_of as frozen_start

    began = codec_file.read_bytes()
    trainer = Trainer(encoder_config(views, codec_file), start=frozen_start(began), loaders=0)
    with torch.no_grad():
        trainer.network.gain["rgb"].log_gain += 0.5
    with pytest.raises(CodecError, match=r"frozen decoder have changed .gain\.rgb"):
        export(trainer.network, trainer.data, {}, trainer.codec)


def test_without_a_start_the_codec_that_ships_is_trained(views: Path, tmp_path: Path) -> None:
    config = encoder_config(views, None, steps=1, tasks=("rgb",))
    report = train(config, tmp_path, machine=FINE)
    shipped = default_weights("independent")
    made = Path(str(report.codec)).read_bytes()
    assert decoder_part(made) == decoder_part(shipped)
    assert start_of(tmp_path, freeze_decoder=True)[0] == str(report.codec)


def test_starts_that_do_not_fit_are_refused(views: Path, codec_file: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="add --freeze-decoder"):
        start_of(codec_file)
    with pytest.raises(UsageError, match=r"there is no codec file \(\*.safetensors\)"):
        start_of(tmp_path, freeze_decoder=True)
    wrong = encoder_config(views, codec_file, kind="chained")
    with pytest.raises(UsageError, match="a independent, not a chained"):
        train(wrong, tmp_path / "wrong", machine=FINE)
    with pytest.raises(UsageError, match="single-task has none"):
        encoder_config(views, None, kind="single-task", quality=50)
    part = tmp_path / "decoder.safetensors"
    part.write_bytes(decoder_part(codec_file.read_bytes()))
    with pytest.raises(CodecError, match="give the whole codec file"):
        train(encoder_config(views, part), tmp_path / "part", machine=FINE)
