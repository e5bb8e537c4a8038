"""How exemplars are kept, spelled in words: what is read, written back, refused."""

import pytest

from dsc._replay.buffer.kept import ExemplarCodec, PictureShare
from dsc.errors import UsageError

MIXTURE = ExemplarCodec("embedding", 40, PictureShare(share=0.025, codec="av1-small", quality=20))


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("webp:30", ExemplarCodec("webp", 30)),
        ("png", ExemplarCodec("png", 50)),
        ("a:b/my.safetensors:7", ExemplarCodec("a:b/my.safetensors", 7)),
        ("embedding:40", ExemplarCodec("embedding", 40)),
        ("embedding:40+2.5%av1-small:20", MIXTURE),
    ],
)
def test_what_is_spelled_is_read_and_spelled_again(text: str, kept: ExemplarCodec) -> None:
    assert ExemplarCodec.parse(text) == kept
    assert str(kept) == text


def test_a_usual_quality_fills_in() -> None:
    assert ExemplarCodec.parse("webp", 30) == ExemplarCodec("webp", 30)
    found = ExemplarCodec.parse("embedding+10%av1-small", 30)
    assert str(found) == "embedding:30+10%av1-small:30"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("webp", "at which quality"),
        ("webp:0", "1 to 100"),
        (":4", "name and a quality"),
        ("embedding:40+0%webp:20", "above 0 and below 100"),
        ("embedding:40+100%webp:20", "above 0 and below 100"),
        ("embedding:40+1.2.3%webp:20", "above 0 and below 100"),
        ("webp:40+10%webp:20", "write a mixture as embedding:40"),
        ("embedding:40+10%webp:200", "1 to 100"),
    ],
)
def test_what_is_spelled_otherwise_is_refused(text: str, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        ExemplarCodec.parse(text)
