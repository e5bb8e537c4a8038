"""An encoder that learns each task's images, for a decoder that stays: fewer bytes an exemplar.

As in "Learning to classify new foods incrementally via compressed exemplars" (Yang, Duan, He, Zhu,
CVPR workshops 2024): decoder and entropy model are fixed, the analysis side is fine-tuned on the
new classes with R + λ D, D weighted by the foreground where weights are given. Every exemplar of
every earlier encoder decodes bit by bit as it did, so it does not matter what the encoder forgets.
"""

import os
from collections.abc import Mapping, Sequence
from typing import Any, cast

import numpy as np

from dsc._codecs.base import AdaptableCodec, Codec
from dsc._replay.buffer.offered import Images, check_offered
from dsc._replay.buffer.tasks import IMAGE
from dsc._schemas import Task
from dsc.errors import UsageError


def adapt_encoder(
    codec: str | os.PathLike[str] | Codec,
    images: Images | Mapping[str, Images],
    *,
    steps: int = 300,
    quality: int | tuple[int, int] = (1, 100),
    seed: int = 0,
    weights: Any = None,
    lr: float = 3e-4,
    batch: int = 16,
    crop: int = 128,
    bfloat16: bool | None = None,
    device: str = "cpu",
) -> Codec:
    """Train the encoder of a learned codec on some images, from the encoder it has.

    Parameters
    ----------
    codec
        A codec, or a word as for ``--codec``: ``independent``, ``my.safetensors``.
    images
        As for `ReplayBuffer.add`: (N, H, W, 3) uint8 or N arrays of any sizes; of a codec of
        other tasks, a mapping from each task's name to N native arrays.
    steps
        Length of the training.
    quality
        1 to 100, that of the buffer; or the range that its qualities lie in.
    seed
        Equal seeds, images and options give equal encoders, on one machine.
    weights
        (N, H, W), or N arrays (H, W): factors of the squared error by pixel, for example a class
        activation map; only their proportions within an image count.
    lr
        Peak learning rate.
    batch
        Crops a step.
    crop
        Largest side of a crop in pixels.
    bfloat16
        Train in bfloat16; by default where this CPU multiplies it natively.
    device
        Where to train: ``cpu`` or ``cuda``.

    Returns
    -------
    Codec
        To go on with: ``ReplayBuffer(path, codec=codec)``, ``buffer.use(codec)``, or the next
        task's `adapt_encoder`. ``codec.weights()`` is its codec file.

    Raises
    ------
    UsageError
        When images or options do not fit, or the codec's encoder cannot be trained.
    CodecError
        When the codec is the decoder's part alone.
    """
    from dsc._codecs.learned.codec_file import bfloat16_is_fast
    from dsc._training.adapt import Adaptation, adapt, as_planes

    made = _adaptable(codec)
    plain = not isinstance(images, Mapping)
    tasks: tuple[Task, ...] = made.tasks
    if plain and len(tasks) > 1:
        raise UsageError(f"give images by task: {', '.join(task.name for task in tasks)}")
    count = len(images) if plain else len(next(iter(cast(Mapping[str, Images], images).values())))
    offered = check_offered(tasks, plain, images, np.zeros(count, int), None, None)
    masks = _checked_weights(weights, offered.sample, count)
    fast = bfloat16_is_fast() if bfloat16 is None and device == "cpu" else bool(bfloat16)
    how = Adaptation(
        steps=_at_least_one("steps", steps),
        batch=_at_least_one("batch", batch),
        crop=max(16, crop),
        lr=lr,
        quality=_checked_quality(quality),
        seed=seed,
        bfloat16=fast,
        device=device,
    )
    samples = [
        as_planes(tasks, offered.sample(at), None if masks is None else masks[at])
        for at in range(count)
    ]
    return cast(Codec, adapt(made, samples, how))


def _adaptable(codec: str | os.PathLike[str] | Codec) -> AdaptableCodec:
    if isinstance(codec, str | os.PathLike):
        from dsc._pipeline.choose.codec_spec import make

        codec = make(os.fspath(codec), [IMAGE])
    if not isinstance(codec, AdaptableCodec):
        raise UsageError(
            f"codec {codec.id} has no encoder that learns; take a learned one, for example "
            "'independent' or a codec file of `dsc train`"
        )
    return codec


def _checked_weights(weights: Any, sample: Any, count: int) -> Sequence[Any] | None:
    """Check the weights of the squared error against the maps of each sample."""
    if weights is None:
        return None
    if len(weights) != count:
        raise UsageError(f"{len(weights)} weights for {count} images; give one (H, W) an image")
    found = [np.asarray(weight) for weight in weights]
    for at, weight in enumerate(found):
        size = next(iter(sample(at).values())).shape[:2]
        if weight.shape != size:
            raise UsageError(f"weights of image {at}: {weight.shape}, the image has {size}")
        if not (np.isfinite(weight).all() and (weight >= 0).all() and weight.any()):
            raise UsageError(f"weights of image {at}: give finite ones from 0 up, some above 0")
    return found


def _checked_quality(quality: int | tuple[int, int]) -> int | tuple[int, int]:
    low, high = quality if isinstance(quality, tuple) else (quality, quality)
    if not 1 <= low <= high <= 100:
        raise UsageError(f"quality={quality}: give 1 to 100, or (lowest, highest)")
    return quality


def _at_least_one(name: str, value: int) -> int:
    if value < 1:
        raise UsageError(f"{name}={value}: give at least 1")
    return value
