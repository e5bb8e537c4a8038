"""The codecs of a replay buffer: several may live in one, each with its quality in a slot.

An exemplar names its slot; a slot names its codecs by id, configuration and the hash of their
weights. A codec is made when it is first needed.
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from dsc.codecs.base import Array, Codec, Sample
from dsc.codecs.registry import CODECS
from dsc.errors import CorruptArchiveError, UnknownCodecError, UsageError
from dsc.pipeline.codec_set import CodecSet
from dsc.replay.meta import SlotRecord
from dsc.schemas import CodecRecord, Quality, Task
from dsc.schemas.base import canonical_json

MAX_SLOTS = 256
Weights = Callable[[str], bytes | None]


def make_codecs(codec: str | Codec | CodecSet, tasks: Sequence[Task]) -> CodecSet:
    """Make the codecs that code these tasks.

    Parameters
    ----------
    codec
        A word as for ``--codec`` (`dsc.pipeline.codec_spec`), a codec, or a set of codecs.

    Raises
    ------
    UsageError
        When it does not code all of them.
    """
    if isinstance(codec, str):
        made = CodecSet.from_spec(codec, tasks)
    else:
        made = codec if isinstance(codec, CodecSet) else CodecSet.of([codec])
    lost = [task.name for task in tasks if task.name not in made.tasks]
    if lost:
        raise UsageError(f"the codec does not code {', '.join(lost)}, only {', '.join(made.tasks)}")
    return made


def slot_record(codecs: CodecSet, quality: Quality) -> SlotRecord:
    """Describe codecs and a quality."""
    return SlotRecord(codecs=codecs.records(), streams=codecs.streams(), quality=quality)


def weight_files(codecs: CodecSet) -> dict[str, bytes]:
    """Give the weights files of a set, by hash."""
    return {hashlib.sha256(data).hexdigest(): data for data in codecs.weight_files()}


class Slots:
    """Makes the codecs of a buffer's slots, each set once.

    Parameters
    ----------
    path
        The buffer, for messages.
    weights
        Gives a weights file by its hash; None when it is not there.
    """

    def __init__(self, path: Path, weights: Weights) -> None:
        self._path, self.weights = path, weights
        self._made: dict[str, CodecSet] = {}

    def add(self, codecs: CodecSet) -> None:
        """Take a set that is already made."""
        self._made.setdefault(_identity(codecs.records()), codecs)

    def codecs(self, record: SlotRecord) -> CodecSet:
        """Give the codecs of a slot."""
        identity = _identity(record.codecs)
        if identity not in self._made:
            self._made[identity] = CodecSet(record.codecs, record.streams, self._file)
        return self._made[identity]

    def _file(self, record: CodecRecord) -> bytes | None:
        if record.weights_sha256 is None:
            return None
        data = self.weights(record.weights_sha256)
        if data is None:
            raise _missing(self._path, record)
        return data

    def check(self, slots: Sequence[SlotRecord], known: Callable[[str], bool]) -> None:
        """Refuse a buffer whose exemplars could not be decoded.

        Raises
        ------
        UnknownCodecError
            When a codec is of no kind known here.
        CorruptArchiveError
            When a codec's weights are not there; the message names their hash.
        """
        for record in (record for slot in slots for record in slot.codecs):
            if record.id not in CODECS:
                raise UnknownCodecError(
                    f"{self._path}: exemplars of the unknown codec {record.id!r} (weights "
                    f"{record.weights_sha256 or 'none'}); known: {', '.join(CODECS)}. A newer dsc "
                    "wrote this buffer: update dsc"
                )
            if record.weights_sha256 is not None and not known(record.weights_sha256):
                raise _missing(self._path, record)

    def encode(self, slot: SlotRecord, samples: Sequence[Sample]) -> list[dict[str, bytes]]:
        """Encode samples; streams by name."""
        return self.codecs(slot).encode_batch(samples, slot.quality)

    def decode(
        self, slot: SlotRecord, payloads: Sequence[Mapping[str, bytes]], max_pixels: int
    ) -> list[dict[str, Array]]:
        """Decode all tasks of samples of one slot."""
        codecs = self.codecs(slot)
        return codecs.decode_batch(payloads, codecs.tasks, max_pixels)


def _missing(path: Path, record: CodecRecord) -> CorruptArchiveError:
    return CorruptArchiveError(
        f"{path}: the weights {record.weights_sha256} of codec {record.id} are not in the buffer, "
        "and without exactly these its exemplars cannot be decoded; restore the file from a copy"
    )


def _identity(records: Sequence[CodecRecord]) -> str:
    return canonical_json([record.model_dump(mode="json") for record in records])
