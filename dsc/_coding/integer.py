"""Integer networks: convolutions whose every result is the same integer on every machine.

Whatever feeds the entropy coder is computed here. Weights and activations are integers in
[-127, 127] held in float32 and the fan-in is at most 970, so each partial sum is an integer
below 2^24 and float32 arithmetic is exact in any order of summation, with or without fused
multiply-add, and under TF32 or bfloat16 inputs. Only 1×1 and depthwise convolutions are used: no
library has a Winograd or FFT form of those. Requantisation is by powers of two, rounding half up.

Training uses the very same arithmetic with straight-through gradients (Ballé et al., "Integer
networks for data compression with latent-variable models", ICLR 2019), so that nothing is lost at
export. `set_exact` turns the arithmetic of a network into plain floating point, to measure what the
integers cost.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dsc._coding.weights_file import BIAS_LIMIT, LIMIT, MAX_FAN_IN

BIAS_UNIT = 16.0  # results a unit of a real bias: one learning rate then fits weights and biases


def round_half_up(x: Tensor) -> Tensor:
    """Round to the nearest integer, halves up, with a straight-through gradient."""
    rounded = torch.floor(x.detach() + 0.5)
    return x + (rounded - x.detach()) if x.requires_grad else rounded


def clamp_through(x: Tensor, low: int, high: int) -> Tensor:
    """Clamp; outside the range the gradient passes only where it points back inside."""
    if not x.requires_grad:
        return x.clamp(low, high)
    return _ClampThrough.apply(x, low, high)  # type: ignore[no-any-return]


def set_exact(network: nn.Module, exact: bool) -> None:
    """Choose integer arithmetic (the default) or plain floating point, for comparison only.

    In floating point nothing is rounded, weights have no limits and activations no upper one; a
    rectifier still rectifies.
    """
    for module in network.modules():
        if isinstance(module, IntegerConv):
            module.exact = exact


class _ClampThrough(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x: Tensor, low: int, high: int) -> Tensor:  # type: ignore[no-untyped-def]
        ctx.save_for_backward(x)
        ctx.bounds = (low, high)
        return x.clamp(low, high)

    @staticmethod
    def backward(ctx, grad: Tensor):  # type: ignore[no-untyped-def]
        (x,) = ctx.saved_tensors
        low, high = ctx.bounds
        blocked = ((x < low) & (grad > 0)) | ((x > high) & (grad < 0))
        return grad.masked_fill(blocked, 0), None, None


class IntegerConv(nn.Module):
    """A 1×1 or depthwise convolution over integers.

    ``out = clamp((weight * x + bias + 2^(shift-1)) >> shift, low, high)``

    While it trains, `weight` and `bias` are real numbers that are scaled and rounded on every call;
    after `freeze` they are the integers themselves and training is over.

    Parameters
    ----------
    inputs, outputs
        Channels; equal when `kernel` is above 1 (depthwise).
    kernel
        1 for a 1×1 convolution; 3 or 5 for a depthwise one.
    shift
        Binary digits dropped from each sum. A weight of 2^shift passes its input on unchanged.
    low, high
        Range of the results; 0 to 127 is a rectified layer.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        *,
        kernel: int = 1,
        shift: int,
        low: int = 0,
        high: int = LIMIT,
    ) -> None:
        super().__init__()
        self.depthwise = kernel > 1
        fan_in = kernel * kernel if self.depthwise else inputs
        if fan_in > MAX_FAN_IN or (self.depthwise and inputs != outputs):
            raise ValueError(f"fan-in {fan_in} ({inputs} to {outputs}) is not exact in float32")
        self.kernel, self.shift, self.low, self.high = kernel, shift, low, high
        self.frozen = False
        self.exact = True
        shape = (outputs, 1 if self.depthwise else inputs, kernel, kernel)
        self.weight = nn.Parameter(torch.randn(shape) / fan_in**0.5)
        self.bias = nn.Parameter(torch.zeros(outputs))

    def freeze(self) -> None:
        """Replace weights and biases by the integers that they stand for."""
        with torch.no_grad():
            weight, bias = self.weight_int(), self.bias_int()
            self.weight.copy_(weight)
            self.bias.copy_(bias)
        self.freeze_loaded()

    def freeze_loaded(self) -> None:
        """Declare that `weight` and `bias` already hold integers."""
        self.requires_grad_(False)
        self.frozen = True

    def weight_int(self) -> Tensor:
        """Return the weights as integers in [-127, 127], float32."""
        if self.frozen:
            return self.weight
        return clamp_through(round_half_up(self.weight * 2.0**self.shift), -LIMIT, LIMIT)

    def bias_int(self) -> Tensor:
        """Return the biases as integers within ±2^20, float32."""
        if self.frozen:
            return self.bias
        scaled = self.bias * (BIAS_UNIT * 2.0**self.shift)
        return clamp_through(round_half_up(scaled), -BIAS_LIMIT, BIAS_LIMIT)

    def forward(self, x: Tensor, rows: slice | None = None) -> Tensor:
        """Map integers (B, inputs, H, W) to integers (B, outputs, H, W), both in float32.

        With `rows`, only those outputs are computed.
        """
        if not self.exact:
            return self._forward_float(x, rows)
        weight, bias = self.weight_int(), self.bias_int()
        if rows is not None:
            weight, bias = weight[rows], bias[rows]
        groups = x.shape[1] if self.depthwise else 1
        if self.frozen and not x.requires_grad:
            # the same integers as below, with half a unit in the bias and in fewer passes
            bias = bias + 2.0 ** (self.shift - 1)
            sums = F.conv2d(x, weight, bias, padding=self.kernel // 2, groups=groups)
            return sums.mul_(2.0**-self.shift).floor_().clamp_(self.low, self.high)
        sums = F.conv2d(x, weight, bias, padding=self.kernel // 2, groups=groups)
        return clamp_through(round_half_up(sums * 2.0**-self.shift), self.low, self.high)

    def _forward_float(self, x: Tensor, rows: slice | None) -> Tensor:
        unit = 2.0**-self.shift if self.frozen else 1.0
        weight = self.weight * unit
        bias = self.bias * (unit if self.frozen else BIAS_UNIT)
        if rows is not None:
            weight, bias = weight[rows], bias[rows]
        groups = x.shape[1] if self.depthwise else 1
        sums = F.conv2d(x, weight, bias, padding=self.kernel // 2, groups=groups)
        low = -math.inf if self.low == -LIMIT else self.low
        return sums.clamp(low, math.inf if self.high == LIMIT else self.high)
