"""Groups: headers there and back, chains in the order of decoding, and what is wrong with them."""

import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dsc._codecs.base import GroupCodec
from dsc._schemas import CodecRecord, Quality, Task
from dsc._schemas.group import GroupHeader, Linked, lanes_of, link, link_all, whole
from dsc.errors import BitstreamError, CorruptArchiveError
from tests.group_codec import TreeCodec, ancestors

TASK = Task(name="gray", kind="image", dtype="uint8", channels=1)


@st.composite
def headers(draw: st.DrawFn) -> GroupHeader:
    n = draw(st.integers(1, 64))
    at, order = draw(st.integers(0, n - 1)), draw(st.integers(0, n - 1))
    needs = draw(st.sets(st.integers(0, n - 1)))
    return GroupHeader(n, at, order, tuple(sorted(needs - {at})))


@given(headers(), st.binary(max_size=4))
def test_a_header_comes_back(head: GroupHeader, rest: bytes) -> None:
    data = head.pack()
    assert len(data) == head.size
    assert GroupHeader.unpack(data + rest) == head


@given(st.binary(max_size=12))
def test_any_bytes_are_a_header_or_an_error(data: bytes) -> None:
    try:
        head = GroupHeader.unpack(data)
    except ValueError:
        return
    assert head.pack() == data[: head.size]


def frames(count: int, lacking: set[int]) -> list[dict[str, np.ndarray]]:
    rng = np.random.default_rng(count)
    return [
        {} if at in lacking else {"gray": rng.integers(0, 256, (4, 5), np.uint8)}
        for at in range(count)
    ]


@given(st.integers(1, 16), st.sets(st.integers(0, 15), max_size=6))
def test_every_frame_of_a_group_is_decoded_by_its_chain(count: int, lacking: set[int]) -> None:
    codec = TreeCodec([TASK])
    assert isinstance(codec, GroupCodec)
    samples = frames(count, lacking)
    coded = codec.encode_group(samples, Quality())
    linked = link_all(coded, lanes_of([CodecRecord(id="x", config=codec.config(), streams=(
        "gray.t0", "gray.t1", "gray.t2"))]))  # fmt: skip
    for sample, given_ in zip(samples, linked, strict=True):
        [decoded] = codec.decode_batch([given_], ["gray"], 20)
        assert decoded.keys() == sample.keys()
        assert all((decoded[name] == sample[name]).all() for name in sample)
        assert all(len(one.chain) <= 5 for one in given_.values())


def test_ancestors_of_a_whole_group() -> None:
    assert ancestors(5, range(16)) == [0, 8, 4, 6]
    assert max(len(ancestors(at, range(16))) for at in range(16)) == 4


def payload(at: int, order: int, needs: tuple[int, ...] = (), n: int = 4) -> bytes:
    return GroupHeader(n, at, order, needs).pack() + bytes([at])


@pytest.mark.parametrize(
    ("others", "wrong"),
    [
        ({}, "sample 0 of its group, which it needs, has no payload here"),
        ({0: b"\1"}, "sample 0 of its group, which it needs: 1 bytes hold no group header"),
        ({0: payload(0, 0, n=5)}, "sample 0 of its group says another group"),
        ({0: payload(0, 0, (3,))}, "sample 0 of its group says another group"),
        ({0: payload(0, 2)}, "what it needs is not decoded before it"),
        ({0: payload(0, 3)}, "what it needs is not decoded before it"),
    ],
)
def test_a_chain_that_is_not_whole_says_why(others: dict[int, bytes], wrong: str) -> None:
    linked = link(payload(1, 2, (0,)), 11, lambda place: others.get(place - 10), "pack")
    assert wrong in linked.lack
    with pytest.raises(BitstreamError, match="cannot be decoded"):
        whole(linked)


def test_a_linked_payload_is_bytes_and_can_be_sent() -> None:
    own = payload(1, 1, (0,))
    linked = link(own, 11, {10: payload(0, 0)}.get, "pack")
    assert linked == own
    assert isinstance(linked, bytes)
    again = pickle.loads(pickle.dumps(linked))
    assert isinstance(again, Linked)
    assert (again, again.group, again.at, again.chain) == (own, ("pack", 10), 1, linked.chain)
    assert again.chain[-1][1] is again


def test_a_codec_groups_its_own_streams_only() -> None:
    other = CodecRecord(id="y", streams=("other",))
    with pytest.raises(CorruptArchiveError, match="groups"):
        lanes_of([CodecRecord(id="x", config={"grouped": [["other"]]}, streams=("own",)), other])
    with pytest.raises(CorruptArchiveError, match="groups"):
        lanes_of([CodecRecord(id="x", config={"grouped": [1]}, streams=("own",))])


def test_lanes_of_a_copy_are_what_is_there() -> None:
    grouped = {"grouped": [["a.t0", "a.t1"], ["b.t0", "b.t1"]]}
    record = CodecRecord(id="x", config=grouped, streams=("a.t0",))
    assert lanes_of([record]) == (("a.t0",),)
