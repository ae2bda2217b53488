"""The networks of `keras_side.py`, as Keras's users write them.

To be imported after `KERAS_BACKEND` is chosen.
"""

import keras
from keras import layers, ops


def gelu(values):  # type: ignore[no-untyped-def]
    """The exact one, not the usual approximation."""
    return ops.gelu(values, approximate=False)


def perceptron(num_classes: int, hidden: tuple[int, ...]) -> keras.Model:
    """What `jaxdigits.models.mlp` is; without hidden layers, `jaxdigits.models.linear`."""
    parts = [keras.Input((28, 28)), layers.Flatten()]
    parts += [layers.Dense(width, "relu") for width in hidden]
    return keras.Sequential([*parts, layers.Dense(num_classes)])


def letters_network(num_classes: int) -> keras.Model:
    """What `jaxdigits.models.convnet` is with `pool_activation="none"`."""
    parts = [keras.Input((28, 28)), layers.Reshape((28, 28, 1))]
    for features in (32, 64, 128):
        parts += [layers.Conv2D(features, 3), layers.MaxPooling2D(2, padding="same")]
    parts += [layers.Flatten(), layers.Dense(64, gelu), layers.Dense(128, gelu)]
    return keras.Sequential([*parts, layers.Dense(num_classes)])


class Stem(layers.Layer):
    """A convolution of three equal channels: the grey image meets the sum of their kernels."""

    def __init__(self, features: int, span: int, stride: int) -> None:
        """Without bias; the image is padded before."""
        super().__init__()
        self.stride = stride
        self.kernel = self.add_weight(shape=(span, span, 3, features), name="kernel")

    def call(self, images):  # type: ignore[no-untyped-def]
        """Of images of one channel, the last axis."""
        kernel = ops.sum(self.kernel, axis=2, keepdims=True)
        return ops.conv(images, kernel, self.stride, "valid", data_format="channels_last")


def convolution(values, features: int, span: int, stride: int):  # type: ignore[no-untyped-def]
    """Without bias, the image padded so that a stride of 1 keeps its size."""
    if stride > 1 and span > 1:  # "same" would pad on one side alone
        values = layers.ZeroPadding2D(span // 2)(values)
        return layers.Conv2D(features, span, stride, use_bias=False)(values)
    return layers.Conv2D(features, span, stride, padding="same", use_bias=False)(values)


def norm(values):  # type: ignore[no-untyped-def]
    """As torchvision has it."""
    return layers.BatchNormalization(momentum=0.9, epsilon=1e-5)(values)


def block(values, features: int, stride: int):  # type: ignore[no-untyped-def]
    """What torchvision calls BasicBlock."""
    found = layers.ReLU()(norm(convolution(values, features, 3, stride)))
    found = norm(convolution(found, features, 3, 1))
    if stride > 1:
        values = norm(convolution(values, features, 1, stride))
    return layers.ReLU()(layers.add([found, values]))


def resnet18(num_classes: int, stem: str, dropout: float) -> keras.Model:
    """What `jaxdigits.models.resnet` is: torchvision's layers and fastai's head."""
    span, stride = (7, 2) if stem == "7x7" else (3, 1)
    images = keras.Input((28, 28))
    values = layers.ZeroPadding2D(span // 2)(layers.Reshape((28, 28, 1))(images))
    values = layers.ReLU()(norm(Stem(64, span, stride)(values)))
    if stem == "7x7":
        values = layers.ZeroPadding2D(1)(values)  # nothing is below zero here
        values = layers.MaxPooling2D(3, 2)(values)
    for stage, features in enumerate((64, 128, 256, 512)):
        values = block(values, features, 2 if stage else 1)
        values = block(values, features, 1)
    pools = [layers.GlobalMaxPooling2D()(values), layers.GlobalAveragePooling2D()(values)]
    values = layers.Dropout(dropout / 2)(norm(layers.concatenate(pools)))
    values = layers.ReLU()(layers.Dense(512, use_bias=False)(values))
    values = layers.Dropout(dropout)(norm(values))
    return keras.Model(images, layers.Dense(num_classes, use_bias=False)(values))
