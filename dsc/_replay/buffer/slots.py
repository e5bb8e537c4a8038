"""The codecs of a replay buffer: several may live in one, each with its quality in a slot.

An exemplar names its slot; a slot names its codecs by id, configuration and the hash of their
weights. A codec is made when it is first needed.

Of a codec whose encoder can be told apart (`dsc._codecs.split`) a buffer keeps and names
the decoder's part alone. Encoders of one decoder share its slots; which of them wrote an exemplar
does not matter to whoever reads it. To add exemplars the encoder must be at hand: the one given,
else the one that comes with dsc, if it fits. Buffers of older versions name whole files.
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from dsc._codecs.base import Array, Codec, Sample
from dsc._codecs.registry import check_there
from dsc._codecs.split import decoder_part, encoding_weights
from dsc._pipeline.choose.codec_set import CodecSet
from dsc._replay.buffer.format import SlotRecord
from dsc._schemas import CodecRecord, Quality, Task
from dsc._schemas.base import canonical_json
from dsc.errors import CorruptArchiveError, UsageError

Weights = Callable[[str], bytes | None]


def make_codecs(codec: str | Codec | CodecSet, tasks: Sequence[Task]) -> CodecSet:
    """Make the codecs that code these tasks.

    Parameters
    ----------
    codec
        A word as for ``--codec`` (`dsc._pipeline.choose.codec_spec`), a codec, or a set of codecs.

    Raises
    ------
    UsageError
        When it does not code all of them.
    """
    if isinstance(codec, str):
        made = CodecSet.from_spec(codec, tasks, is_packed=False)
    else:
        made = codec if isinstance(codec, CodecSet) else CodecSet.of([codec])
    lost = [task.name for task in tasks if task.name not in made.tasks]
    if lost:
        raise UsageError(f"the codec does not code {', '.join(lost)}, only {', '.join(made.tasks)}")
    return made


@dataclass(frozen=True)
class Encoding:
    """Codecs that encode, and what a buffer keeps of them.

    Attributes
    ----------
    codecs
        With their encoders.
    records
        The codecs, named by their decoders.
    files
        The decoders' weights files, by hash.
    encoders
        Hash of the whole weights file by that of its decoder's part, where they differ.
    """

    codecs: CodecSet
    records: tuple[CodecRecord, ...]
    files: dict[str, bytes]
    encoders: dict[str, str]

    @classmethod
    def of(cls, codecs: CodecSet) -> "Encoding":
        """Tell the decoders apart."""
        whole = {sha256(data): data for data in codecs.weight_files()}
        records, files, encoders = [], {}, {}
        for record in codecs.records():
            named = record.weights_sha256
            if named is not None:
                part = decoder_part(record.id, whole[named])
                own = sha256(part)
                files[own] = part
                if own != named:
                    encoders[own] = named
                    record = record.model_copy(update={"weights_sha256": own})  # noqa: PLW2901
            records.append(record)
        return cls(codecs, tuple(records), files, encoders)

    def slot(self, quality: Quality) -> SlotRecord:
        """Describe these codecs at a quality."""
        streams = self.codecs.streams()
        return SlotRecord(codecs=self.records, streams=streams, quality=quality)


def sha256(data: bytes) -> str:
    """Return the hash that names a weights file."""
    return hashlib.sha256(data).hexdigest()


class SlotCodecs:
    """Makes the codecs of a buffer's slots, each set once.

    Parameters
    ----------
    path
        The buffer, for messages.
    weights
        Called with a hash, returns that weights file; None when it is not there.
    encoders
        Hash of the whole weights file last used by that of its decoder's part, for messages.
    """

    def __init__(
        self, path: Path, weights: Weights, encoders: Mapping[str, str] | None = None
    ) -> None:
        self._path, self.weights, self._encoders = path, weights, encoders or {}
        self._made: dict[str, CodecSet] = {}
        self._encoding: set[str] = set()  # those of `_made` that have their encoders

    def add(self, encoding: Encoding) -> None:
        """Encode with these codecs from now on, where a slot names their decoders."""
        identity = _identity(encoding.records)
        self._made[identity] = encoding.codecs
        self._encoding.add(identity)

    def codecs(self, record: SlotRecord) -> CodecSet:
        """Return the codecs of a slot."""
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
            weights = record.weights_sha256 or "none"
            check_there(record.id, f"{self._path}: exemplars (weights {weights}) need")
            if record.weights_sha256 is not None and not known(record.weights_sha256):
                raise _missing(self._path, record)

    def encode(self, slot: SlotRecord, samples: Sequence[Sample]) -> list[dict[str, bytes]]:
        """Encode samples; streams by name.

        Raises
        ------
        UsageError
            When the encoder is not at hand.
        """
        identity = _identity(slot.codecs)
        if identity not in self._encoding:
            files = {record.weights_sha256: self._whole_file(record) for record in slot.codecs}
            if any(data is not None for data in files.values()):
                self._made[identity] = CodecSet(
                    slot.codecs, slot.streams, lambda record: files[record.weights_sha256]
                )
            self._encoding.add(identity)
        return self.codecs(slot).encode_batch(samples, slot.quality)

    def _whole_file(self, record: CodecRecord) -> bytes | None:
        """Return weights with an encoder for a decoder that the buffer holds."""
        data = self._file(record)
        if data is None:
            return None
        found = encoding_weights(record.id, data)
        if found is None:
            last = self._encoders.get(str(record.weights_sha256))
            raise UsageError(
                f"{self._path}: the buffer holds the decoder of codec {record.id} (sha256 "
                f"{record.weights_sha256}), which reads its exemplars but encodes none. To add "
                f"some, give the whole codec file: ReplayBuffer(path, codec='my.safetensors')"
                + (f"; the last one used had sha256 {last}" if last else "")
            )
        return found

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
