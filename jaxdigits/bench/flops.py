"""Floating-point operations per image, counted from the shapes of the network.

Only matrix products and convolutions count, two operations for each multiplication with its
addition; multiplications with the zeros of a padding do not. A program may need fewer, as by
Winograd's form, so that its utilization may look better than the processor is.
"""

from collections.abc import Iterator, Sequence
from itertools import pairwise

from jaxdigits.config import TrainConfig
from jaxdigits.models import convnet, resnet

PIXELS = 28


def forward_flops(config: TrainConfig, num_classes: int) -> int:
    """Operations of one image through the network.

    Args:
        config: `model`, and `hidden` or `stem`.
        num_classes: the number of logits.

    Example:
        >>> forward_flops(TrainConfig(model="linear"), 10)
        15680
    """
    return 2 * sum(_layers(config, num_classes))


def training_flops(config: TrainConfig, num_classes: int) -> int:
    """Operations of one image in training: forward, back to the weights, and to the layer below.

    Each takes as much, but nothing goes back to the image. The optimizer does not count.

    Example:
        >>> training_flops(TrainConfig(model="linear"), 10)
        31360
    """
    first, *rest = _layers(config, num_classes)
    return 2 * (2 * first + 3 * sum(rest))


def _layers(config: TrainConfig, num_classes: int) -> list[int]:
    """The multiplications of each layer."""
    if config.model == "resnet18":
        return [*_resnet18(config.stem, num_classes)]
    if config.model == "convnet":
        sides, layers = PIXELS, []
        for inputs, outputs in pairwise((1, *convnet.CHANNELS)):
            layers.append(_convolution(sides, 3, 1, 0) * inputs * outputs)
            sides = -(-(sides - 2) // 2)
        return layers + _dense((2 * 2 * convnet.CHANNELS[-1], *convnet.DENSE, num_classes))
    hidden = config.hidden if config.model == "mlp" else ()
    return _dense((PIXELS**2, *hidden, num_classes))


def _resnet18(stem: str, num_classes: int) -> Iterator[int]:
    width = resnet.CHANNELS[0]
    span, stride = (7, 2) if stem == "7x7" else (3, 1)
    yield _convolution(PIXELS, span, stride, span // 2) * width
    sides = PIXELS if stem == "3x3" else 7
    for stage, features in enumerate(resnet.CHANNELS):
        for block in range(2):
            stride = 2 if stage > 0 and block == 0 else 1
            yield _convolution(sides, 3, stride, 1) * width * features
            if stride > 1:
                yield _convolution(sides, 1, stride, 0) * width * features
                sides = -(-sides // 2)
            width = features
            yield _convolution(sides, 3, 1, 1) * width * features
    yield from _dense((2 * width, 512, num_classes))


def _dense(widths: Sequence[int]) -> list[int]:
    return [inputs * outputs for inputs, outputs in pairwise(widths)]


def _convolution(side: int, span: int, stride: int, padding: int) -> int:
    """How often a weight meets a pixel, on a square image of one channel."""
    outputs = (side + 2 * padding - span) // stride + 1
    along = sum(
        0 <= output * stride + offset - padding < side
        for output in range(outputs)
        for offset in range(span)
    )
    return along**2
