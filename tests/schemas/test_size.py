"""Sizes as people write them."""

import pytest

from dsc._schemas.size import parse_bytes
from dsc.errors import UsageError


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        (4096, 4096),
        ("0", 0),
        ("5MB", 5_000_000),
        ("1.5 GiB", 1_610_612_736),
        ("32kb", 32_000),
        (".5 MiB", 524_288),
        ("2T", 2_000_000_000_000),
    ],
)
def test_a_size_is_read_as_written(text: int | str, wanted: int) -> None:
    assert parse_bytes(text) == wanted


@pytest.mark.parametrize("text", ["", "-1", "5 MBit", "many", "1e6", -3])
def test_what_is_no_size_is_refused_with_the_options_name(text: int | str) -> None:
    with pytest.raises(UsageError, match="cache_limit="):
        parse_bytes(text, "cache_limit")
