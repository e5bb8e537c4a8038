"""The codec `av1-seq`: the frames of a recording predicted from one another, each still by itself.

A group of at most 16 samples that follow one another is coded together, task by task. Of each task
there are three streams, which are layers in time: ``TASK.t0`` has key frames, ``TASK.t1`` every
fourth frame, ``TASK.t2`` the others; each requires those before. A payload begins with its group's
header (`dsc._schemas.group`), so a reader takes what one frame needs, at most six payloads, and
nothing else. What follows is said by the coder of the task's kind: `dsc._codecs.sequence.pictures`,
`dsc._codecs.sequence.depth` and `dsc._codecs.sequence.labels`.
"""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Protocol, Self

from dsc._codecs.base import Array, Sample, check_array
from dsc._codecs.canvas import Place
from dsc._codecs.maps.base import NOT_DAMAGE
from dsc._codecs.sequence import libaom
from dsc._codecs.sequence.depth import DepthCoder
from dsc._codecs.sequence.grouped import GroupedTaskCodec
from dsc._codecs.sequence.labels import LabelCoder
from dsc._codecs.sequence.pictures import PictureCoder
from dsc._codecs.sequence.tree import LAYERS, MOST
from dsc._codecs.sequence.video import CodedFrame
from dsc._schemas import Access, Effort, Quality, Stream, Task, TaskKind
from dsc._schemas.group import GroupHeader, Lane, Linked
from dsc.errors import CodecError


class Coder(Protocol):
    """Codes the frames of groups of one task."""

    def encode(self, frames: Mapping[int, Array], quality: int) -> dict[int, CodedFrame]:
        """Encode frames of a group, by place; anything raised is a refusal."""
        ...

    def decode(
        self, given: Mapping[int, bytes], wanted: Mapping[int, Place], max_pixels: int
    ) -> dict[int, Array]:
        """Decode frames of a group, by place; anything raised is damage.

        Parameters
        ----------
        given
            In the order of decoding: with each frame all that it needs.
        wanted
            Where those go that are wanted.
        """
        ...


CODERS: Mapping[TaskKind, type[PictureCoder] | type[DepthCoder] | type[LabelCoder]] = {
    TaskKind.IMAGE: PictureCoder,
    TaskKind.DEPTH: DepthCoder,
    TaskKind.LABEL: LabelCoder,
}


class Av1SeqCodec(GroupedTaskCodec):
    """Images, depth and labels of recordings, predicted from one another.

    Parameters
    ----------
    tasks
        The tasks it codes.
    access
        What frames are predicted from.

    Raises
    ------
    CodecError
        When it cannot code one of them; the message says what can.
    """

    id: ClassVar[str] = "av1-seq"
    effort_before: ClassVar[Effort | None] = Effort.DEFAULT
    group_size: int = MOST

    def __init__(self, tasks: Sequence[Task], access: Access = Access.BALANCED) -> None:
        super().__init__(tasks)
        self.access = access

    def refusal(self, task: Task) -> str | None:
        """Say why frames of a task cannot be coded together, and what can."""
        if not task.is_map:
            return f"codes maps, not {task.kind.value} tasks; use plain"
        if task.kind not in CODERS:
            return f"codes images, depth and labels, not {task.kind.value} tasks; use av1 or exact"
        return CODERS[task.kind].refusal(task)

    @classmethod
    def from_config(cls, config: Mapping[str, Any], weights: bytes | None) -> Self:
        """Make the codec that an archive describes; there are no weights.

        Raises
        ------
        CodecError
            When it is no configuration of this codec.
        """
        said = config.get("access", Access.BALANCED)
        try:
            access = Access(said)
        except ValueError:
            raise CodecError(f"{cls.id}: access {said!r} is none of {', '.join(Access)}") from None
        return cls(cls.tasks_of(config), access).at_effort(cls.effort_of(config))

    @staticmethod
    def lane(task: Task) -> Lane:
        """Name the layers of a task."""
        return tuple(f"{task.name}.t{layer}" for layer in range(LAYERS))

    def at_access(self, access: Access) -> Self:
        """Return this codec with another access; see `AccessCodec`."""
        return type(self)(self.tasks, access).at_effort(self.effort)

    def config(self) -> dict[str, Any]:
        """Return the tasks, the streams of groups, and what does not go without saying."""
        known = super().config()
        return known if self.access is Access.BALANCED else {**known, "access": str(self.access)}

    def streams(self) -> tuple[Stream, ...]:
        """Return three streams a task; each requires those before."""
        return tuple(
            Stream(name=name, carries=(task.name,), requires=self.lane(task)[:layer])
            for task in self.tasks
            for layer, name in enumerate(self.lane(task))
        )

    def encode_group(self, samples: Sequence[Sample], quality: Quality) -> list[dict[str, bytes]]:
        """Encode samples that follow one another in a recording.

        Raises
        ------
        CodecError
            When an array does not fit its task, or libaom cannot be called here.
        """
        if len(samples) > self.group_size:
            raise CodecError(f"{self.id}: a group of {len(samples)}, at most {self.group_size}")
        out: list[dict[str, bytes]] = [{} for _ in samples]
        for task in self.tasks:
            frames = {
                at: check_array(task, sample[task.name])
                for at, sample in enumerate(samples)
                if task.name in sample
            }
            for at, frame in self._encode_frames(task, frames, quality.of(task.name)).items():
                needs = tuple(sorted(frame.needs))
                head = GroupHeader(len(samples), at, frame.order, needs).pack()
                out[at][self.lane(task)[frame.layer]] = head + frame.data
        return out

    def _encode_frames(
        self, task: Task, frames: Mapping[int, Array], quality: int
    ) -> dict[int, CodedFrame]:
        if task.kind is not TaskKind.LABEL and not libaom.is_there():
            raise CodecError(
                f"task {task.name}: {self.id} cannot encode here: imagecodecs brings no libaom "
                "that is known; install another imagecodecs, or use av1"
            )
        try:
            return self._coder(task).encode(frames, quality)
        except Exception as error:  # libaom's, and those of codecs of single pictures
            sizes = ", ".join(sorted({str(array.shape) for array in frames.values()}))
            raise CodecError(
                f"task {task.name}: {self.id} cannot code {len(frames)} frames of shape {sizes}: "
                f"{error}"
            ) from error

    def _coder(self, task: Task) -> Coder:
        return CODERS[task.kind](task, self.effort, self.access)

    def encode_task(self, task: Task, array: Array, quality: int) -> bytes:
        """Encode one array as a group of one."""
        [frame] = self._encode_frames(task, {0: array}, quality).values()
        return GroupHeader(1, 0, 0).pack() + frame.data

    def decode_together(
        self, name: str, payloads: Sequence[Linked], max_pixels: int, places: Sequence[Place]
    ) -> list[Array]:
        """Decode a task of samples to where they are wanted, each frame of a group once.

        Raises
        ------
        BitstreamError
            When one cannot be decoded.
        """
        task, out = self._task[name], {}
        for members in _groups(payloads):
            chains = {at: data for number in members for at, data in payloads[number].chain}
            try:
                given = _in_order(chains)
                by_place: dict[int, list[int]] = {}
                for number in members:
                    by_place.setdefault(payloads[number].at, []).append(number)
                wanted = {at: places[numbers[0]] for at, numbers in by_place.items()}
                found = self._coder(task).decode(given, wanted, max_pixels)
                for at, numbers in by_place.items():
                    out[numbers[0]] = found[at]
                    for number in numbers[1:]:
                        out[number] = _copied(found[at], places[number])
            except NOT_DAMAGE:
                raise
            except Exception as error:
                raise self._damaged(task, payloads[members[0]], error) from error
        return [out[number] for number in range(len(payloads))]


def _groups(payloads: Sequence[Linked]) -> list[list[int]]:
    """List the numbers of payloads that are of one group, and say the same of its frames."""
    found: list[tuple[Any, dict[int, bytes], list[int]]] = []
    for number, payload in enumerate(payloads):
        chain = payload.chain
        for group, frames, members in found:
            if group == payload.group and all(frames.get(at, data) == data for at, data in chain):
                frames.update(chain)
                members.append(number)
                break
        else:
            found.append((payload.group, dict(chain), [number]))
    return [members for _, _, members in found]


def _in_order(chains: Mapping[int, bytes]) -> dict[int, bytes]:
    """Return the codec's own bytes by place, in the order of decoding."""
    heads = {at: GroupHeader.unpack(data) for at, data in chains.items()}
    order = sorted(heads, key=lambda at: heads[at].order)
    return {at: bytes(chains[at][heads[at].size :]) for at in order}


def _copied(array: Array, place: Place) -> Array:
    """Return an array again, where it is wanted as well."""
    out = place.empty(array.shape, array.dtype)
    out[...] = array
    return out
