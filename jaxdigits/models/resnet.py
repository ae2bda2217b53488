"""ResNet-18 with fastai's head: post B row B7.

He et al., "Deep residual learning for image recognition" (arXiv 1512.03385), in the form that
fastai's `cnn_learner` gives it: torchvision's network without its last layer; then the maximum and
the mean of each channel, side by side; normalization, dropout, a dense layer of 512, ReLU,
normalization, dropout, and the last layer. 11,708,992 parameters for ten classes.

The post's images are gray, but have three equal channels, as fastai reads them. The first kernel
here has three channels as well; their sum meets the one channel of the image, which is the same.

On a CPU its convolutions are `auto`, which is Winograd's where images are large enough. At the
start, on 32 images, the gradient with the 7x7 stem is then 4e-4 from that in float64 (as a share of
its length; with `lax` 6e-6), with the 3x3 stem 3e-3 (2e-3: that start is badly conditioned).
Products in TF32, usual on GPUs, round about as much. It does not show in the result: row B7, tried
once with each, ends at 99.19 % by `auto` and by `im2col`, which rounds as `lax` does and takes 1.4
times as long.

flax.linen serves for all but the convolutions. Statistics of the normalizations are in the
collection `batch_stats`, the parameters in `params`.
"""

from typing import Any, Literal

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from jaxdigits.models.hints import Hints
from jaxdigits.ops import Method, conv, max_pool_3x3

Stem = Literal["7x7", "3x3"]

CHANNELS = (64, 128, 256, 512)
"""Of the four stages, of two blocks each; every stage but the first halves the image."""


HINTS = Hints(members_at_once_on_cpu=1)


class Convolution(nn.Module):
    """A convolution without bias, as torchvision starts it.

    Attributes:
        features: channels out.
        span: rows and columns of the kernel.
        stride: of both.
        method: of `jaxdigits.ops.conv`.
    """

    features: int
    span: int = 3
    stride: int = 1
    method: Method = "auto"

    @nn.compact
    def __call__(
        self, images: Float[Array, "n height width channels"]
    ) -> Float[Array, "n rows columns features"]:
        """The outputs, the image padded so that a stride of 1 keeps its size."""
        channels = images.shape[-1]
        # Gray images stand for three equal channels, whose weights may as well be summed.
        shape = (self.span, self.span, 3 if channels == 1 else channels, self.features)
        start = nn.initializers.variance_scaling(2, "fan_out", "normal")
        kernel = self.param("kernel", start, shape)
        if channels == 1:
            kernel = kernel.sum(axis=2, keepdims=True)
        around = (self.span // 2, self.span // 2)
        strides = (self.stride, self.stride)
        return conv(images, kernel, strides=strides, padding=(around, around), method=self.method)


class ResNet18(nn.Module):
    """The network.

    Attributes:
        num_classes: the number of outputs.
        stem: `7x7` with stride 2 and max-pooling, as it was published; or `3x3` with neither,
            which is usual for small images and has 16 times the work.
        dropout: before the last layer; half of it before the last but one.
        method: of the convolutions.
        axis_name: of the devices that share a batch, so that the normalizations see all of it.
    """

    num_classes: int = 10
    stem: Stem = "7x7"
    dropout: float = 0.5
    method: Method = "auto"
    axis_name: str | None = None

    @nn.compact
    def __call__(
        self, images: Float[Array, "n ..."], train: bool = False
    ) -> Float[Array, "n classes"]:
        """The logits of images, of whatever scale the network was trained on."""

        def norm(values: Array) -> Array:
            layer = nn.BatchNorm(
                use_running_average=not train, momentum=0.9, axis_name=self.axis_name
            )
            return layer(values)

        def convolution(values: Array, features: int, span: int = 3, stride: int = 1) -> Array:
            return Convolution(features, span, stride, self.method)(values)

        def head(values: Array, features: int, dropout: float) -> Array:
            values = nn.Dropout(dropout, deterministic=not train)(norm(values))
            return nn.Dense(features, use_bias=False, kernel_init=nn.initializers.he_normal())(
                values
            )

        values = images if images.ndim == 4 else images[..., None]
        if self.stem == "7x7":
            values = nn.relu(norm(convolution(values, CHANNELS[0], span=7, stride=2)))
            values = max_pool_3x3(values)
        else:
            values = nn.relu(norm(convolution(values, CHANNELS[0])))
        for stage, features in enumerate(CHANNELS):
            for block in range(2):
                stride = 2 if stage > 0 and block == 0 else 1
                found = nn.relu(norm(convolution(values, features, stride=stride)))
                found = norm(convolution(found, features))
                if stride > 1:
                    values = norm(convolution(values, features, span=1, stride=stride))
                values = nn.relu(values + found)
        pooled = jnp.concatenate([values.max(axis=(1, 2)), values.mean(axis=(1, 2))], axis=-1)
        return head(nn.relu(head(pooled, 512, self.dropout / 2)), self.num_classes, self.dropout)


def init(
    key: Key[Array, ""],
    num_classes: int = 10,
    stem: Stem = "7x7",
    image_shape: tuple[int, ...] = (28, 28),
) -> dict[str, Any]:
    """Initial parameters, in `params`, and statistics, in `batch_stats`.

    Example:
        >>> import jax
        >>> variables = jax.eval_shape(init, jax.random.key(0))
        >>> sum(leaf.size for leaf in jax.tree.leaves(variables["params"]))
        11708992
    """
    return dict(ResNet18(num_classes, stem).init(key, jnp.zeros((1, *image_shape))))


def apply(
    variables: dict[str, Any],
    images: Float[Array, "n ..."],
    *,
    num_classes: int = 10,
    stem: Stem = "7x7",
    method: Method = "auto",
) -> Any:
    """The logits of images, float32 [n, classes], with the statistics gathered in training.

    Args:
        variables: what `init` gives.
        images: floats of whatever scale the network was trained on.
        num_classes, stem: as given to `init`.
        method: of the convolutions.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> variables = jax.eval_shape(init, jax.random.key(0))
        >>> jax.eval_shape(apply, variables, jnp.zeros((5, 28, 28))).shape
        (5, 10)
    """
    return ResNet18(num_classes, stem, method=method).apply(variables, images)


def apply_train(
    variables: dict[str, Any],
    images: Float[Array, "n ..."],
    key: Key[Array, ""],
    *,
    num_classes: int = 10,
    stem: Stem = "7x7",
    dropout: float = 0.5,
    method: Method = "auto",
    axis_name: str | None = None,
) -> tuple[Float[Array, "n classes"], dict[str, Any]]:
    """The logits with the statistics of this batch, and the statistics gathered so far.

    Args:
        variables: what `init` gives.
        images: floats of whatever scale.
        key: of the dropout.
        num_classes, stem: as given to `init`.
        dropout: before the last layer; half of it before the last but one.
        method: of the convolutions.
        axis_name: of the devices that share a batch.

    Returns:
        Logits, and `{"batch_stats": ...}`.
    """
    net = ResNet18(num_classes, stem, dropout, method, axis_name)
    logits, changed = net.apply(
        variables, images, True, rngs={"dropout": key}, mutable=["batch_stats"]
    )
    return logits, dict(changed)
