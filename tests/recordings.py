"""Builds small archives of recordings by the codec that is easy to see through."""

import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from unittest.mock import patch

import numpy as np

from dsc._codecs import registry
from dsc._codecs.base import Array, GroupCodec
from dsc._pipeline.choose.codec_set import CodecSet
from dsc._schemas import Manifest, Quality, SequencePlace, ShardRecord, StreamTotals, Task, TaskKind
from dsc._storage.files.root import Root
from dsc._storage.format.commit import write_manifest, write_shards
from dsc._storage.format.shard import ShardWriter
from tests.group_codec import TreeCodec
from tests.scaled_group_codec import ScaledCodec

RGB = Task(name="rgb", kind=TaskKind.IMAGE, dtype="uint8", channels=3)
LABEL = Task(name="label", kind=TaskKind.LABEL, dtype="uint8", channels=1)
DEPTH = Task(name="depth", kind=TaskKind.DEPTH, dtype="uint16", unit_m=0.001, invalid=(0,))
TASKS = (RGB, LABEL, DEPTH)
HEIGHT, WIDTH = 6, 8
GROUP = 16


class Recordings:
    """Frames of recordings, made up: labels that some frames lack, depth coded frame by frame.

    Parameters
    ----------
    lengths
        Frames of each recording.
    lacking
        Samples without a label.
    codec
        Codes pictures and labels.
    """

    def __init__(
        self,
        lengths: Sequence[int] = (40, 3, 21),
        lacking: Iterable[int] = (5,),
        codec: type[TreeCodec] | type[ScaledCodec] = TreeCodec,
    ) -> None:
        self.lengths, self.lacking, self.codec = tuple(lengths), frozenset(lacking), codec
        self.places = [
            SequencePlace(f"seq-{number:02d}", frame, 33_333_333 * frame)
            for number, length in enumerate(lengths)
            for frame in range(length)
        ]

    def __len__(self) -> int:
        return len(self.places)

    def arrays(self, index: int) -> dict[str, Array]:
        """Return the native arrays of a sample."""
        rng = np.random.default_rng(index)
        found = {
            "rgb": rng.integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8),
            "label": rng.integers(0, 9, (HEIGHT, WIDTH), np.uint8),
            "depth": rng.integers(1, 9000, (HEIGHT, WIDTH), np.uint16),
        }
        if index in self.lacking:
            del found["label"]
        return found

    def key(self, index: int) -> str:
        """Return the key of a sample."""
        place = self.places[index]
        return f"{place.sequence}_{place.frame:06d}"

    def groups(self, first: int, stop: int) -> list[range]:
        """Cut the samples of a pack into groups."""
        found, start = [], first
        for index in range(first + 1, stop + 1):
            if (
                index == stop
                or index - start == GROUP
                or self.places[index].sequence != self.places[start].sequence
            ):
                found.append(range(start, index))
                start = index
        return found

    def write(self, folder: Path, pack: int = 24, shard: int = 48) -> Manifest:
        """Write an archive of all samples."""
        where = f"{self.codec.__module__}:{self.codec.__name__}"
        with patch.dict(registry.CODECS, {self.codec.id: where}):
            return self._write(folder, pack, shard)

    def _write(self, folder: Path, pack: int, shard: int) -> Manifest:
        words = {"rgb": self.codec.id, "label": self.codec.id, "depth": "png"}
        codecs = CodecSet.assigned(words, TASKS)
        root = Root(folder)
        records = [
            self._shard(root, codecs, number, range(first, min(first + shard, len(self))), pack)
            for number, first in enumerate(range(0, len(self), shard))
        ]
        totals = {
            name: StreamTotals(
                payload_bytes=sum(one.streams[name].payload_bytes for one in records),
                stored_bytes=sum(one.streams[name].bytes for one in records),
                n_missing=sum(one.streams[name].n_missing for one in records),
            )
            for name in codecs.slots
        }
        manifest = Manifest(
            created_by="dsc test",
            plan_sha256=hashlib.sha256(repr(self.lengths).encode()).hexdigest(),
            source="test",
            tasks=TASKS,
            streams=codecs.streams(),
            codecs=codecs.records(),
            quality=Quality(),
            pack_size=pack,
            shard_size=shard,
            max_pixels=HEIGHT * WIDTH,
            splits={"train": len(self)},
            totals=totals,
            source_bytes=dict.fromkeys((task.name for task in TASKS), 100),
            files=(write_shards(root, records),),
        )
        write_manifest(root, manifest)
        return manifest.sealed()

    def _shard(
        self, root: Root, codecs: CodecSet, number: int, indices: range, pack: int
    ) -> ShardRecord:
        quality = Quality()
        tree = codecs.codec(codecs.slot_of("rgb"))
        still = codecs.codec(codecs.slot_of("depth"))
        assert isinstance(tree, GroupCodec)
        with ShardWriter(root, "train", number, indices.start, codecs.slots, pack) as writer:
            for start in range(indices.start, indices.stop, pack):
                for group in self.groups(start, min(start + pack, indices.stop)):
                    arrays = [self.arrays(index) for index in group]
                    maps = [{n: a for n, a in one.items() if n != "depth"} for one in arrays]
                    coded = tree.encode_group(maps, quality)
                    for index, one, own in zip(group, arrays, coded, strict=True):
                        depth = still.encode_batch([{"depth": one["depth"]}], quality)[0]
                        writer.add(self.key(index), {**own, **depth}, None, self.places[index])
            keys, streams = writer.finish()
        return ShardRecord(
            n=number, split="train", first_index=indices.start, samples=len(indices),
            keys=keys, streams=streams, source_bytes=dict.fromkeys(("rgb", "label", "depth"), 0),
        )  # fmt: skip
