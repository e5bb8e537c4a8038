"""One codec file: a safetensors of float16 transforms, int8 integer networks and integer tables.

The file's metadata holds the model's sizes and the self-test vector's expected hash. Whoever loads
the file runs the self-test: a machine that does not reproduce the integers must not decode.

A decoder's part holds everything that turns bitstreams into samples, bit by bit as it lies in the
codec file: synthesis, gains, entropy networks and tables, sizes and the self-test's hash. What only
an encoder needs (analysis, hyper-analysis, posteriors) and the card are left out, its kind ends in
``decoder``, and the model made from it has no encoder. Equal decoders give equal bytes, whatever
encoder they came with, so the SHA-256 of the part names the decoder.

There are two families of networks, conditional and layered ones, these with branches that see the
frame before or without; the file's kind says which.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import numpy as np
import safetensors
import safetensors.numpy
import safetensors.torch
import torch
from numpy.typing import NDArray

from dsc._codecs.learned.layered.model import LayeredModel, Layers
from dsc._codecs.learned.layered.spec import LayeredSpec, SequenceSpec
from dsc._codecs.learned.layered.temporal import SequenceModel, TemporalLayers
from dsc._codecs.learned.network.entropy import (
    Z_BUCKETS,
    Z_LIMIT,
    HyperPrior,
    Prediction,
    SteppedEntropy,
    StreamEntropy,
    scale_table,
)
from dsc._codecs.learned.network.model import ConditionalModel, modules
from dsc._codecs.learned.network.spec import ModelSpec
from dsc._coding.entropy import Tables, build_tables
from dsc._coding.integer import IntegerConv
from dsc._coding.weights_file import (
    BIAS_LIMIT,
    LIMIT,
    check_self_test,
    metadata_of,
    shipped_file,
)
from dsc._schemas.base import canonical_json
from dsc.errors import BitstreamError, CodecError

CONDITIONAL, LAYERED, SEQUENCE = "dsc conditional 2", "dsc layered 1", "dsc layered-seq 1"
# the first has no entry of the spec that came later
WHOLE_KINDS = ("dsc shared-latent 1", CONDITIONAL, LAYERED, SEQUENCE)
DECODER_MARK = " decoder"  # ends the kind of a file without an encoder
KINDS = (*WHOLE_KINDS, *(kind + DECODER_MARK for kind in WHOLE_KINDS))
ENCODER_PARTS = (
    "analysis",
    "private",
    "joint_private",
    "joint_entry",
    "joint_blocks",
    "to_shared",
    "joint_shared",
)
PART_OF_EACH = {  # of what each stream, or modality, has in a module of this name
    "entropy": ("analysis",),
    "modalities": ("analysis", "posterior"),
}

CodecModel = ConditionalModel | LayeredModel
M = TypeVar("M", bound=CodecModel)


def default_weights(codec_id: str = "shared-latent") -> bytes:
    """Return the codec file that comes with dsc.

    Raises
    ------
    CodecError
        When dsc comes with none for this codec.
    """
    try:
        return shipped_file(f"{codec_id}.safetensors")
    except FileNotFoundError:
        raise CodecError(
            f"dsc comes with no weights for {codec_id}; train some with `dsc train`"
        ) from None


@dataclass(frozen=True)
class LoadedCodec(Generic[M]):
    """A codec file, ready for use.

    Attributes
    ----------
    model
        The network; integer layers frozen.
    scale_tables
        One table a scale index.
    hyper_tables
        By stream: one table for each (quality bucket, channel of ẑ); none of a layered network.
    has_encoder
        Whether the file holds the encoder too; without it the model can only decode.
    """

    model: M
    scale_tables: Tables
    hyper_tables: dict[str, Tables]
    has_encoder: bool = True

    def on_device(self, device: torch.device) -> M:
        """Copy the network to a device, in bfloat16 where that has it and the CPU's has it not."""
        model = deepcopy(self.model)
        model.to(device)
        if device.type == "cuda":
            if torch.cuda.get_device_capability(device) >= (8, 0):
                model.quicken()
            else:
                model.float()
        return model


class DeviceCopies(Generic[M]):
    """The network of a codec file on the devices that it was asked for on.

    On a CPU it is the network itself; elsewhere a copy, so that entropy decoding goes on where the
    network is, also while another device synthesises.
    """

    def __init__(self, loaded: LoadedCodec[M]) -> None:
        self._loaded = loaded
        self._copies: dict[torch.device, M] = {}

    def on(self, device: torch.device) -> M:
        """Return the network on a device."""
        if device.type == "cpu":
            return self._loaded.model
        if device not in self._copies:
            self._copies[device] = self._loaded.on_device(device)
        return self._copies[device]


def export_codec(model: CodecModel, card: dict[str, str]) -> bytes:
    """Turn a trained model into a codec file.

    Parameters
    ----------
    model
        The trained (averaged) model; it is frozen by this call.
    card
        Facts about the training, for people.
    """
    tensors: dict[str, NDArray[np.generic]] = {}
    integer = {name: m for name, m in model.named_modules() if isinstance(m, IntegerConv)}
    for name, layer in integer.items():
        layer.freeze()
        tensors[f"{name}.weight"] = layer.weight.numpy().astype(np.int8)
        tensors[f"{name}.bias"] = layer.bias.numpy().astype(np.int32)
    for name, value in model.state_dict().items():
        if name not in tensors and not _is_hyper_prior(name):
            tensors[name] = value.detach().numpy().astype(np.float16)
    tables = {"scale": gaussian_tables()}
    tables |= {f"hyper.{s}": hyper_tables_of(e.prior) for s, e in _entropy_of(model).items()}
    for name, table in tables.items():
        tensors[f"tables.{name}.frequencies"] = table.frequencies
        tensors[f"tables.{name}.offsets"] = table.offsets
        tensors[f"tables.{name}.lows"] = table.lows
    metadata = {
        "kind": _kind_of(model),
        "model": json.dumps(model.spec.to_json()),  # the order of the modalities counts,
        "self_test": self_test_hash(model),
        "card": json.dumps(card, sort_keys=True),
    }
    return bytes(safetensors.numpy.save(dict(sorted(tensors.items())), metadata))


def export_sequence_codec(
    network: LayeredModel, branches: Mapping[str, TemporalLayers], card: dict[str, str]
) -> bytes:
    """Turn a still network and its trained branches into a codec file; neither is changed.

    Parameters
    ----------
    network
        The still network.
    branches
        By modality; the file codes these alone.
    card
        Facts about the training, for people.

    Raises
    ------
    CodecError
        When there are none, or one is of a modality that the network has not.
    """
    known = network.spec.modalities
    if not branches or not known.keys() >= branches.keys():
        raise CodecError(f"branches of {', '.join(branches)}: the network codes {', '.join(known)}")
    sizes = {name: m for name, m in known.items() if name in branches}
    with torch.random.fork_rng(devices=[]):
        model = SequenceModel(
            SequenceSpec(sizes, network.spec.prior_width, network.spec.context_steps)
        )
    model.modalities = modules({name: deepcopy(network.modalities[name]) for name in sizes})
    model.branches = modules({name: deepcopy(branches[name]) for name in sizes})
    return export_codec(model.eval(), card)


def load_codec_file(data: bytes) -> LoadedCodec[Any]:
    """Read a codec file and run its self-test.

    Raises
    ------
    BitstreamError
        When the bytes are not a codec file.
    SelfTestError
        When this machine does not reproduce the integers that the file promises.
    """
    metadata = read_metadata(data)
    with torch.random.fork_rng(devices=[]):  # a caller's random state does not pay for it
        model = _untrained(metadata)
    scale, hyper = fill_model(model, data)
    model.requires_grad_(False)
    model.eval()
    if bfloat16_is_fast():
        model.quicken()
    check_self_test(
        "the codec's integer networks give", self_test_hash(model), metadata["self_test"]
    )
    has_encoder = not metadata["kind"].endswith(DECODER_MARK)
    if not has_encoder:
        _remove_encoder(model)
    return LoadedCodec(model, scale, hyper, has_encoder)


def _untrained(metadata: Mapping[str, str]) -> CodecModel:
    spec = read_spec(metadata)
    if isinstance(spec, SequenceSpec):
        return SequenceModel(spec)
    return LayeredModel(spec) if isinstance(spec, LayeredSpec) else ConditionalModel(spec)


def _kind_of(model: CodecModel) -> str:
    if isinstance(model, SequenceModel):
        return SEQUENCE
    return LAYERED if isinstance(model, LayeredModel) else CONDITIONAL


def fill_model(model: CodecModel, data: bytes) -> tuple[Tables, dict[str, Tables]]:
    """Put a codec file's weights into a model of its sizes, and freeze the integer networks.

    What the file does not hold keeps its values: the priors of ẑ, and the encoder where there is
    none.

    Returns
    -------
    The scale tables, and the tables of ẑ by stream.

    Raises
    ------
    BitstreamError
        When the file is damaged.
    """
    kind = read_metadata(data)["kind"]
    whole = not kind.endswith(DECODER_MARK)
    try:
        tensors = safetensors.torch.load(data)
        hyper = {name: read_tables(tensors, f"hyper.{name}") for name in _entropy_of(model)}
        scale = read_tables(tensors, "scale")
        state = {name: t.float() for name, t in tensors.items() if not name.startswith("tables.")}
        check_integers(model, state)
        kept = {
            name: own
            for name, own in model.state_dict().items()
            if _is_hyper_prior(name) or (not whole and is_encoder_tensor(name, kind))
        }
        model.load_state_dict(state | kept)
    except (KeyError, TypeError, ValueError, RuntimeError, safetensors.SafetensorError) as error:
        raise BitstreamError(f"the codec file is damaged: {error}") from None
    for layer in model.integer_modules():
        layer.freeze_loaded()
    return scale, hyper


def is_encoder_tensor(name: str, kind: str = LAYERED) -> bool:
    """Tell whether a weight is of the analysis side: what decoding never touches.

    Who decodes a frame after another takes that one apart, by the analysis without its blocks.

    Parameters
    ----------
    kind
        Of the codec file.
    """
    first, *rest = name.split(".")
    if kind.removesuffix(DECODER_MARK) == SEQUENCE and rest[1:2] == ["analysis"]:
        return rest[2:3] == ["blocks"]
    return first in ENCODER_PARTS or (len(rest) > 1 and rest[1] in PART_OF_EACH.get(first, ()))


def _is_hyper_prior(name: str) -> bool:
    """Tell whether a weight is of a prior of ẑ, of which a file has the tables."""
    return name.startswith("entropy.") and ".prior." in name


def _entropy_of(model: CodecModel) -> Mapping[str, StreamEntropy]:
    """Return the entropy models that have a hyper-latent, by stream."""
    return {} if isinstance(model, LayeredModel) else model.entropy


def read_spec(metadata: Mapping[str, str]) -> ModelSpec | LayeredSpec:
    """Read the sizes of a codec file's network from what `read_metadata` gave.

    Raises
    ------
    BitstreamError
        When they describe no network of this version.
    """
    kinds = {LAYERED: LayeredSpec, SEQUENCE: SequenceSpec}
    layered = kinds.get(metadata["kind"].removesuffix(DECODER_MARK))
    try:
        sizes = json.loads(metadata["model"])
        return layered.from_json(sizes) if layered else ModelSpec.from_json(sizes)
    except (KeyError, TypeError, ValueError) as error:
        raise BitstreamError(f"the codec file is damaged: {error}") from None


def _remove_encoder(model: CodecModel) -> None:
    """Leave an empty module where one is that only an encoder needs."""
    kind = _kind_of(model)
    for name in [name for name, _ in model.named_modules() if is_encoder_tensor(name, kind)]:
        parent, _, own = name.rpartition(".")
        if not is_encoder_tensor(parent, kind):
            setattr(model.get_submodule(parent), own, torch.nn.ModuleDict())


def bfloat16_is_fast() -> bool:
    """Tell whether this CPU multiplies bfloat16 natively."""
    capabilities: dict[str, bool] = getattr(torch.cpu, "get_capabilities", dict)()
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))


def read_metadata(data: bytes) -> dict[str, str]:
    """Read the metadata of a codec file without its tensors.

    Raises
    ------
    BitstreamError
        When the bytes are not a codec file of a kind that is known here.
    """
    try:
        metadata = metadata_of(data)
        if metadata["kind"] not in KINDS:
            raise ValueError(
                f"kind {metadata['kind']!r}, this dsc reads {' and '.join(map(repr, KINDS))}; "
                "a newer dsc may have written it"
            )
        json.loads(metadata["model"])
        str(metadata["self_test"])
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise BitstreamError(f"not a learned codec file: {error}") from None
    return metadata


@torch.no_grad()
def self_test_hash(model: CodecModel) -> str:
    """Hash the integers that all integer networks give for a fixed input."""
    digest = hashlib.sha256()
    if isinstance(model, LayeredModel):
        for layers in model.modalities.values():
            _hash_chain(digest, layers)
        for name, branch in model.branches.items() if isinstance(model, SequenceModel) else ():
            _hash_chain(digest, model.modalities[name], branch)
        return digest.hexdigest()
    spec = model.spec
    for name, entropy in model.entropy.items():
        required = [spec.latents(other) for other in spec.requires(name)]
        hash_entropy(digest, entropy, spec.latents(name), spec.hyper_latents, required)
    return digest.hexdigest()


def hash_entropy(
    digest: "hashlib._Hash",
    entropy: StreamEntropy,
    latents: int,
    hyper_latents: int,
    required: Sequence[int] = (),
) -> None:
    """Add the integers that one entropy model's networks give for a fixed input.

    Parameters
    ----------
    latents, hyper_latents
        Channels of y and of ẑ.
    required
        Channels of the latents of the streams that it requires.
    """
    shape = (2, 5, 9)  # batch, and an odd size of ẑ
    quality = torch.tensor([7, 93])
    size = (shape[1] * 4 - 3, shape[2] * 4 - 1)
    z = fixed_integers((2, hyper_latents, *shape[1:]), Z_LIMIT)
    context = fixed_integers((2, sum(required), *size), LIMIT)
    qualities = quality[:, None].expand(2, len(required))
    given = (context, qualities) if required else (None, None)
    start = entropy.synthesis(z, quality, size, *given)
    _hash_steps(digest, entropy, start, fixed_integers((2, latents, *size), LIMIT))


def _hash_chain(
    digest: "hashlib._Hash", layers: Layers, branch: TemporalLayers | None = None
) -> None:
    """Add the integers that the priors of a modality give for a fixed input.

    With a branch, those of a frame after another one.
    """
    prior, quality, size = layers.prior, torch.tensor([7, 93]), (3, 5)
    state = prior.start(quality, size)
    for scale, channels in enumerate(layers.sizes.latents):
        known = fixed_integers((2, channels, *state.shape[2:]), LIMIT)
        if branch is None:
            start = prior.scale(scale)(state, quality)
        else:
            start = branch.predict(layers, scale, state, quality, known.flip(0))
        _hash_steps(digest, prior.scale(scale), start, known)
        state = prior.advance(scale, state, known, quality)


def _hash_steps(
    digest: "hashlib._Hash", entropy: SteppedEntropy, start: Prediction, known: torch.Tensor
) -> None:
    """Add what each step of a latent is coded under, were all of it known."""
    for step in range(entropy.count):
        for part in entropy.predict(step, start, known):
            integers = part.to(torch.int32).contiguous().cpu().numpy()
            digest.update(integers.astype("<i4").tobytes())


def fixed_integers(shape: tuple[int, ...], limit: int) -> torch.Tensor:
    """Fill a tensor from a fixed linear congruence: the same integers everywhere, for ever."""
    count = int(np.prod(shape))
    steps = np.arange(1, count + 1, dtype=np.uint64)
    values = (steps * np.uint64(2654435761) % np.uint64(1 << 32)) >> np.uint64(12)
    integers = values.astype(np.int64) % (2 * limit + 1) - limit
    return torch.from_numpy(integers.astype(np.float32)).reshape(shape)


def check_integers(model: torch.nn.Module, state: Mapping[str, torch.Tensor]) -> None:
    """Check that the weights of integer layers are within what float32 is exact in.

    Raises
    ------
    ValueError, KeyError
        When one is not, or is lacking.
    """
    for name, layer in model.named_modules():
        if isinstance(layer, IntegerConv):
            if state[f"{name}.weight"].abs().max() > LIMIT:
                raise ValueError(f"{name}: a weight is beyond ±{LIMIT}")
            if state[f"{name}.bias"].abs().max() > BIAS_LIMIT:
                raise ValueError(f"{name}: a bias is beyond ±{BIAS_LIMIT}")


def read_tables(tensors: Mapping[str, torch.Tensor], name: str) -> Tables:
    """Read the tables of one name from a file's tensors.

    Raises
    ------
    ValueError, KeyError
        When they are lacking, or are none.
    """
    frequencies = tensors[f"tables.{name}.frequencies"].numpy().astype(np.uint32)
    offsets = tensors[f"tables.{name}.offsets"].numpy().astype(np.int64)
    lows = tensors[f"tables.{name}.lows"].numpy().astype(np.int32)
    sums = np.add.reduceat(frequencies.astype(np.int64), offsets[:-1])
    if offsets[-1] != len(frequencies) or len(offsets) != len(lows) + 1 or (sums != 65536).any():
        raise ValueError(f"tables {name} are not consistent")
    return Tables(frequencies, offsets, lows)


def gaussian_tables() -> Tables:
    """Make the tables of all scale indexes: zero-mean Gaussians."""
    mass, lows = [], []
    for scale in scale_table().tolist():
        reach = int(np.ceil(scale * 5.4))  # leaves 7e-8 to the escape
        k = torch.arange(-reach, reach + 1, dtype=torch.float64)
        ndtr = torch.special.ndtr
        mass.append((ndtr((k + 0.5) / scale) - ndtr((k - 0.5) / scale)).numpy())
        lows.append(-reach)
    return build_tables(mass, lows)


@torch.no_grad()
def hyper_tables_of(prior: HyperPrior) -> Tables:
    """Make the tables of ẑ: one for each quality bucket and channel."""
    bucket = torch.arange(Z_BUCKETS)
    channels = prior.weight.shape[1]
    z = torch.arange(-Z_LIMIT, Z_LIMIT + 1, dtype=torch.float32)
    grid = z.view(1, 1, 1, -1).expand(Z_BUCKETS, channels, 1, -1)
    mass = prior(grid, bucket)[:, :, 0].reshape(Z_BUCKETS * channels, -1).double()
    # what lies beyond ±31 is clamped to it, so it counts there
    mass = mass / mass.sum(1, keepdim=True).clamp_min(1.0)
    rows = [row.numpy() * (1 - 2.0**-15) for row in mass]
    return build_tables(rows, [-Z_LIMIT] * len(rows))


DECODER_METADATA = ("kind", "model", "self_test")


@dataclass(frozen=True)
class _Tensor:
    dtype: str
    shape: tuple[int, ...]
    data: bytes


def decoder_part(data: bytes) -> bytes:
    """Return the decoder's part of a codec file; of a decoder's part, itself.

    Raises
    ------
    BitstreamError
        When the bytes are not a codec file.
    """
    metadata = read_metadata(data)
    if metadata["kind"].endswith(DECODER_MARK):
        return data
    kind = metadata["kind"]
    kept = {name: t for name, t in _read(data).items() if not is_encoder_tensor(name, kind)}
    own = {name: metadata[name] for name in DECODER_METADATA}
    return _packed(own | {"kind": own["kind"] + DECODER_MARK}, kept)


def with_encoder(
    data: bytes, encoder: Mapping[str, NDArray[np.float16]], card: Mapping[str, str]
) -> bytes:
    """Return a codec file with another encoder and the very same decoder.

    Parameters
    ----------
    data
        A codec file with an encoder.
    encoder
        All its encoder's tensors, by name.
    card
        Facts about the new encoder, for people.

    Raises
    ------
    CodecError
        When names or shapes are not those of the file's encoder, or a value is not finite.
    """
    tensors = _read(data)
    wanted = {name: t for name, t in tensors.items() if is_encoder_tensor(name)}
    if not wanted or wanted.keys() != encoder.keys():
        raise CodecError(
            f"an encoder of {len(encoder)} tensors does not fit a codec file with {len(wanted)}"
        )
    for name, old in wanted.items():
        new = encoder[name]
        if new.dtype != np.float16 or old.dtype != "F16" or new.shape != old.shape:
            raise CodecError(f"{name}: {new.dtype} {new.shape}, the file has {old.shape} float16")
        if not np.isfinite(new).all():
            raise CodecError(f"{name}: not finite in float16; train with a lower learning rate")
        tensors[name] = _Tensor("F16", old.shape, new.astype("<f2").tobytes())
    metadata = read_metadata(data) | {"card": json.dumps(dict(card), sort_keys=True)}
    return _packed(metadata, tensors)


def _read(data: bytes) -> dict[str, _Tensor]:
    """Read the tensors of a codec file as the bytes that lie in it."""
    try:
        entries = safetensors.deserialize(data)  # type: ignore[no-untyped-call]
    except safetensors.SafetensorError as error:
        raise BitstreamError(f"the codec file is damaged: {error}") from None
    return {
        name: _Tensor(entry["dtype"], tuple(entry["shape"]), bytes(entry["data"]))
        for name, entry in entries
    }


def _packed(metadata: Mapping[str, str], tensors: Mapping[str, _Tensor]) -> bytes:
    """Write a safetensors file, the same bytes everywhere; the widest items first, as its own do.

    The library's writer puts metadata in an order that changes from process to process.
    """
    at = 0
    header: dict[str, object] = {"__metadata__": dict(metadata)}
    order = sorted(tensors, key=lambda name: (-_item_bytes(tensors[name].dtype), name))
    for name in order:
        one = tensors[name]
        end = at + len(one.data)
        header[name] = {"dtype": one.dtype, "shape": one.shape, "data_offsets": [at, end]}
        at = end
    text = canonical_json(header).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + b"".join(tensors[n].data for n in order)


def _item_bytes(dtype: str) -> int:
    """Return the bytes of one item of ``F16``, ``I32``, ``BF16``, ...; 1 for what has no number."""
    return int("".join(c for c in dtype if c.isdigit()) or 8) // 8
