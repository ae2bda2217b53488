"""The networks of `flax_side.py`, as users of Flax NNX write them."""

from collections.abc import Callable
from functools import partial
from itertools import pairwise

import jax
import jax.numpy as jnp
from flax import nnx


def flat(images: jax.Array) -> jax.Array:
    """Each image as a vector."""
    return images.reshape(len(images), -1)


def channel(images: jax.Array) -> jax.Array:
    """Grey images with an axis for channels, the last."""
    return images[..., None]


def perceptron(num_classes: int, hidden: tuple[int, ...], rngs: nnx.Rngs) -> nnx.Module:
    """What `jaxdigits.models.mlp` is; without hidden layers, `jaxdigits.models.linear`."""
    layers: list[Callable] = [flat]
    for inputs, outputs in pairwise((784, *hidden, num_classes)):
        layers += [nnx.Linear(inputs, outputs, rngs=rngs), nnx.relu]
    return nnx.Sequential(*layers[:-1])


def letters_network(num_classes: int, rngs: nnx.Rngs) -> nnx.Module:
    """What `jaxdigits.models.convnet` is with `pool_activation="none"`."""
    gelu = partial(nnx.gelu, approximate=False)
    pool = partial(nnx.max_pool, window_shape=(2, 2), strides=(2, 2), padding="SAME")
    layers: list[Callable] = [channel]
    for inputs, outputs in ((1, 32), (32, 64), (64, 128)):
        layers += [nnx.Conv(inputs, outputs, (3, 3), padding="VALID", rngs=rngs), pool]
    layers += [flat, nnx.Linear(512, 64, rngs=rngs), gelu, nnx.Linear(64, 128, rngs=rngs), gelu]
    return nnx.Sequential(*layers, nnx.Linear(128, num_classes, rngs=rngs))


def convolution(inputs: int, outputs: int, span: int, stride: int, rngs: nnx.Rngs) -> nnx.Conv:
    """Without bias, the image padded so that a stride of 1 keeps its size."""
    around = (span // 2, span // 2)
    strides, padding = (stride, stride), (around, around)
    return nnx.Conv(
        inputs, outputs, (span, span), strides, padding=padding, use_bias=False, rngs=rngs
    )


class Stem(nnx.Module):
    """A convolution of three equal channels: the grey image meets the sum of their kernels."""

    def __init__(self, outputs: int, span: int, stride: int, rngs: nnx.Rngs) -> None:
        """Start as Flax does."""
        self.conv = convolution(3, outputs, span, stride, rngs)

    def __call__(self, images: jax.Array) -> jax.Array:
        """Of images of one channel."""
        kernel = self.conv.kernel[...].sum(axis=2, keepdims=True)
        return jax.lax.conv_general_dilated(
            images,
            kernel,
            self.conv.strides,
            self.conv.padding,
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
        )


norm = partial(nnx.BatchNorm, momentum=0.9, epsilon=1e-5)


class Block(nnx.Module):
    """torchvision's BasicBlock."""

    def __init__(self, inputs: int, outputs: int, stride: int, rngs: nnx.Rngs) -> None:
        """Two convolutions, and one on the other way if the stride is above 1."""
        self.conv1 = convolution(inputs, outputs, 3, stride, rngs)
        self.norm1 = norm(outputs, rngs=rngs)
        self.conv2 = convolution(outputs, outputs, 3, 1, rngs)
        self.norm2 = norm(outputs, rngs=rngs)
        self.shortcut = nnx.Sequential()
        if stride > 1:
            self.shortcut = nnx.Sequential(
                convolution(inputs, outputs, 1, stride, rngs), norm(outputs, rngs=rngs)
            )

    def __call__(self, values: jax.Array) -> jax.Array:
        """The sum of both ways."""
        found = nnx.relu(self.norm1(self.conv1(values)))
        return nnx.relu(self.norm2(self.conv2(found)) + self.shortcut(values))


def concat_pool(values: jax.Array) -> jax.Array:
    """The maximum and the mean of each channel: fastai's AdaptiveConcatPool2d, flat."""
    return jnp.concatenate([values.max(axis=(1, 2)), values.mean(axis=(1, 2))], axis=-1)


def resnet18(num_classes: int, stem: str, dropout: float, rngs: nnx.Rngs) -> nnx.Module:
    """What `jaxdigits.models.resnet` is: torchvision's layers and fastai's head."""
    span, stride = (7, 2) if stem == "7x7" else (3, 1)
    layers: list[Callable] = [channel, Stem(64, span, stride, rngs), norm(64, rngs=rngs), nnx.relu]
    if stem == "7x7":
        around = ((1, 1), (1, 1))
        layers += [partial(nnx.max_pool, window_shape=(3, 3), strides=(2, 2), padding=around)]
    for inputs, outputs in ((64, 64), (64, 128), (128, 256), (256, 512)):
        layers += [Block(inputs, outputs, 1 if inputs == outputs else 2, rngs)]
        layers += [Block(outputs, outputs, 1, rngs)]
    layers += [concat_pool, norm(1024, rngs=rngs), nnx.Dropout(dropout / 2, rngs=rngs)]
    layers += [nnx.Linear(1024, 512, use_bias=False, rngs=rngs), nnx.relu]
    layers += [norm(512, rngs=rngs), nnx.Dropout(dropout, rngs=rngs)]
    return nnx.Sequential(*layers, nnx.Linear(512, num_classes, use_bias=False, rngs=rngs))
