"""Groups follow from positions alone."""

from hypothesis import given
from hypothesis import strategies as st

from dsc._pipeline.write.groups import cut_groups
from dsc._schemas import SequencePlace


def places(text: str) -> list[SequencePlace | None]:
    """Make places: a letter is a frame of that sequence, a dot a sample of none."""
    return [None if one == "." else SequencePlace(one, n) for n, one in enumerate(text)]


def lengths(text: str, pack_size: int = 64, most: int = 4) -> list[int]:
    return [len(group) for group in cut_groups(places(text), pack_size, most)]


def test_groups_begin_with_packs_and_sequences_and_are_no_longer_than_the_codec_takes() -> None:
    assert lengths("") == []
    assert lengths("aaaaaaaaaa") == [4, 4, 2]
    assert lengths("aabbbbbb") == [2, 4, 2]
    assert lengths("aaaaaaaaaa", pack_size=5) == [4, 1, 4, 1]
    assert lengths("aa..ab") == [2, 1, 1, 1, 1]


def test_gaps_in_the_numbers_of_frames_end_no_group() -> None:
    gaps = [SequencePlace("a", frame) for frame in (0, 1, 5, 900)]
    assert cut_groups(gaps, 64, 16, start=32) == [range(32, 36)]


@given(st.text("ab.", max_size=80), st.integers(1, 20), st.integers(1, 17))
def test_groups_are_all_samples_in_order_and_never_cross_a_pack_or_a_sequence(
    text: str, pack_size: int, most: int
) -> None:
    groups = cut_groups(places(text), pack_size, most)
    assert [index for group in groups for index in group] == list(range(len(text)))
    for group in groups:
        assert 1 <= len(group) <= most
        assert len({index // pack_size for index in group}) == 1
        assert len({text[index] for index in group}) == 1
        assert len(group) == 1 or text[group.start] != "."
