"""Sizes and stream graph of a conditional network, as JSON in every codec file.

A network codes streams in order. A stream carries one modality, or none (``shared``), and may
require others: its entropy parameters, its synthesis and, in a chain, its analysis see them.

- ``independent``: one stream a modality, none requires another.
- ``shared-latent``: ``shared`` first, required by every other stream.
- ``chained``: depth first; normals require it. What is required of a chain may be absent (a sample
  without depth): the stream is then coded alone, and says so.

What a spec does not name has the value of the first version, so old codec files keep their meaning.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from dsc.errors import UsageError

SHARED = "shared"
KINDS = ("independent", "shared-latent", "chained")
CHAIN = {"depth": (), "normal": ("depth",), "rgb": ()}


@dataclass(frozen=True)
class ModalitySpec:
    """Sizes of one modality's networks.

    Attributes
    ----------
    channels
        Channels of the network's input and output.
    width_8, latents
        Channels at 1/8, and at 1/16 (the latent's).
    blocks
        Residual blocks at 1/8 and at 1/16, in analysis and in synthesis.
    lambda_range
        λ at quality 1 and at quality 100, of λ · 255² · MSE.
    refine
        Channels and blocks of the refinement at 1/4 after synthesis; (0, 0) for none.
    predict
        Channels and blocks of the prediction of this modality's planes from those of the streams
        that it requires, in a chain (`dsc._codecs.learned.network.layers`); (0, 0) for none.
    """

    channels: int
    width_8: int
    latents: int
    blocks: tuple[int, int]
    lambda_range: tuple[float, float]
    refine: tuple[int, int] = (0, 0)
    predict: tuple[int, int] = (0, 0)


@dataclass(frozen=True)
class ModelSpec:
    """Sizes of the whole network; JSON by `to_json` and `from_json`.

    Attributes
    ----------
    modalities
        Sizes by modality, in the order of the user's tasks.
    shared_latents, joint_width
        Channels of the shared latent, and of the joint features that it comes from.
    hyper_width, hyper_latents
        Channels of the entropy networks and of ẑ.
    kind
        One of `KINDS`.
    chain
        What each stream requires, where nothing is shared; a stream that is not named requires
        nothing.
    context_steps
        1: a latent's parameters come from ẑ and required streams alone; 2 or 4: it is coded in so
        many steps, each of which sees the ones before (`dsc._coding.steps`).
    guided
        Analysis and synthesis also see the decoded planes of required streams.
    """

    modalities: Mapping[str, ModalitySpec] = field(
        default_factory=lambda: {
            "rgb": ModalitySpec(3, 128, 192, (3, 2), (0.0012, 0.12)),
            "depth": ModalitySpec(1, 64, 64, (3, 2), (0.003, 3.0)),
            "normal": ModalitySpec(3, 96, 96, (3, 2), (0.004, 0.4)),
        }
    )
    shared_latents: int = 64
    joint_width: int = 128
    hyper_width: int = 64
    hyper_latents: int = 48
    kind: str = "shared-latent"
    chain: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    context_steps: int = 1
    guided: bool = False

    @property
    def is_joint(self) -> bool:
        """Whether there is a shared stream, which every other one requires."""
        return self.kind == "shared-latent"

    def streams(self) -> tuple[str, ...]:
        """Name all streams in the order in which they are coded: the required ones first."""
        order: list[str] = [SHARED] if self.is_joint else []
        waiting = list(self.modalities)
        while waiting:
            name = next((n for n in waiting if set(self.requires(n)) <= set(order)), None)
            if name is None:
                raise ValueError(f"streams {', '.join(waiting)} require each other")
            order.append(name)
            waiting.remove(name)
        return tuple(order)

    def requires(self, stream: str) -> tuple[str, ...]:
        """Name the streams that `stream` requires directly."""
        if self.is_joint:
            return () if stream == SHARED else (SHARED,)
        return self.chain.get(stream, ())

    def required(self, tasks: Iterable[str]) -> tuple[str, ...]:
        """Name the streams that decoding these modalities takes, those required first."""
        needed = set(tasks)
        for stream in reversed(self.streams()):
            if stream in needed:
                needed.update(self.requires(stream))
        return tuple(stream for stream in self.streams() if stream in needed)

    def latents(self, stream: str) -> int:
        """Return the channels of a stream's latent."""
        return self.shared_latents if stream == SHARED else self.modalities[stream].latents

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON."""
        value = asdict(self)
        value["modalities"] = {
            name: {key: list(v) if isinstance(v, tuple) else v for key, v in sizes.items()}
            for name, sizes in value["modalities"].items()
        }
        value["chain"] = {name: list(required) for name, required in self.chain.items()}
        return value

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "ModelSpec":
        """Read what `to_json` gave, of this version or the first.

        Raises
        ------
        ValueError
            When it describes no network of this version.
        """
        modalities = {
            name: ModalitySpec(**_tuples(sizes)) for name, sizes in value["modalities"].items()
        }
        chain = _tuples(value.get("chain", {}))
        spec = cls(**{**value, "modalities": modalities, "chain": chain})
        if spec.kind not in KINDS or spec.context_steps not in (1, 2, 4):
            raise ValueError(f"kind {spec.kind!r}, {spec.context_steps} steps: not known here")
        if not all({name, *required} <= set(modalities) for name, required in chain.items()):
            raise ValueError(f"chain {chain} names streams that there are not")
        spec.streams()
        return spec


def _tuples(sizes: Mapping[str, Any]) -> dict[str, Any]:
    return {key: tuple(v) if isinstance(v, list) else v for key, v in sizes.items()}


def sized(kind: str, modalities: Sequence[str], size: str) -> ModelSpec:
    """Return the sizes of an untrained network.

    Parameters
    ----------
    kind
        One of `KINDS`.
    modalities
        Any of ``rgb``, ``depth``, ``normal``, in the order of the user's tasks.
    size
        ``tiny``, ``fast`` or ``base``.

    Raises
    ------
    UsageError
        When size or modality is unknown.
    """
    if size not in _SIZES:
        raise UsageError(f"unknown size {size!r}; known: {', '.join(_SIZES)}")
    sizes, rest = _SIZES[size]
    unknown = [name for name in modalities if name not in sizes]
    if unknown or not modalities:
        raise UsageError(f"no network codes {unknown or 'nothing'}; known: {', '.join(sizes)}")
    required = CHAIN if kind == "chained" else {}
    spec = ModelSpec(
        modalities={name: sizes[name] for name in modalities},
        kind=kind,
        chain={
            name: tuple(other for other in required[name] if other in modalities)
            for name in required
            if name in modalities
        },
        context_steps=4,
        guided=kind == "chained",
        **rest,
    )
    return spec if spec.is_joint else replace(spec, shared_latents=0, joint_width=0)


_RGB, _DEPTH, _NORMAL = (0.0012, 0.12), (0.003, 3.0), (0.0005, 0.4)
_SIZES: dict[str, tuple[dict[str, ModalitySpec], dict[str, int]]] = {
    "tiny": (
        {
            "rgb": ModalitySpec(3, 24, 16, (1, 1), _RGB, (8, 1)),
            "depth": ModalitySpec(1, 16, 8, (1, 1), _DEPTH),
            "normal": ModalitySpec(3, 16, 8, (1, 1), _NORMAL, (8, 1), (8, 1)),
        },
        {"shared_latents": 8, "joint_width": 16, "hyper_width": 12, "hyper_latents": 8},
    ),
    "fast": (
        {
            "rgb": ModalitySpec(3, 96, 128, (2, 2), _RGB),
            "depth": ModalitySpec(1, 48, 48, (2, 1), _DEPTH),
            "normal": ModalitySpec(3, 64, 64, (2, 1), _NORMAL, predict=(48, 3)),
        },
        {"shared_latents": 48, "joint_width": 96, "hyper_width": 48, "hyper_latents": 32},
    ),
    "base": (
        {
            "rgb": ModalitySpec(3, 128, 192, (4, 3), _RGB, (32, 2)),
            "depth": ModalitySpec(1, 64, 64, (3, 2), _DEPTH),
            "normal": ModalitySpec(3, 96, 96, (3, 2), _NORMAL, (32, 1), (64, 4)),
        },
        {"shared_latents": 64, "joint_width": 128, "hyper_width": 64, "hyper_latents": 48},
    ),
}
