"""C8: the forward and backward of a convolution and of max-pooling, by hand.

Post C, "Deeper background on how convolutional networks work", prints its program's. Ours are in
`jaxdigits.by_hand.convolution`. Here they make the gradients of the letters network's kernels, to
be compared with `jax.grad`; and beside them stands the rule that the post prints for a kernel,
which is not the gradient.

Posted: code.
Expect: ours and autodiff's differ by rounding; the printed rule points elsewhere, as the cosine of
its angle to the gradient shows (1 would be the same direction, 0 a right angle).
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from jaxdigits.by_hand import convolution as by_hand
from jaxdigits.losses import cross_entropy
from jaxdigits.models import convnet
from jaxdigits.posts import Comparison, Study
from jaxdigits.transforms.scaling import rescale_each, unit_pixels

DATA = "letters"
SETUP = "gradients by hand, of the untrained letters network on 16 images"

IMAGES = 16


def layer_gradients(params, images, labels):
    """For each convolution: its inputs, the kernel's gradient by hand, its outputs' gradient."""
    # Forward, keeping what each step has seen.
    values, seen = images[..., None], []
    for layer in params["conv"]:
        outputs = by_hand.conv(values, layer["kernel"], layer["bias"])
        seen.append((values, layer["kernel"], outputs))
        values = by_hand.max_pool(outputs)
    # Backward: the dense part by autodiff, the convolutions by hand.
    d_values = jax.grad(lambda v: cross_entropy(convnet.dense(params["dense"], v), labels).sum())(
        values
    )
    found = []
    for inputs, kernel, outputs in reversed(seen):
        d_outputs = by_hand.max_pool_backward(outputs, d_values)
        d_values, d_kernel, _ = by_hand.conv_backward(inputs, kernel, d_outputs)
        found.append((inputs, d_kernel, d_outputs))
    return found[::-1]


def cosine_of_the_rule(inputs, d_outputs) -> float:
    """The mean over channels of the cosine between the post's rule and the gradient."""
    # One image, one input and one output channel: both rules take these.
    rule = jax.vmap(by_hand.post_kernel_gradient)
    true = jax.vmap(
        lambda image, d: by_hand.conv_backward(
            image[None, ..., None], jnp.zeros((3, 3, 1, 1)), d[None, ..., None]
        )[1][..., 0, 0]
    )
    rng = np.random.default_rng(0)
    images = rng.integers(0, inputs.shape[0], 2000)
    image = inputs[images, ..., rng.integers(0, inputs.shape[-1], 2000)]
    d = d_outputs[images, ..., rng.integers(0, d_outputs.shape[-1], 2000)]
    a, b = (np.asarray(f(image, d), np.float64).reshape(len(d), -1) for f in (rule, true))
    lengths = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    return float(((a * b).sum(axis=1)[lengths > 0] / lengths[lengths > 0]).mean())


def run(study: Study) -> list[Comparison]:
    """The largest difference from autodiff, as a share of the largest gradient; the cosines."""
    images = rescale_each(unit_pixels(jnp.asarray(study.train_set.images[:IMAGES])))
    labels = jnp.asarray(study.train_set.labels[:IMAGES])
    params = convnet.init(study.keys[0], study.data.num_classes)

    def loss(params):
        return cross_entropy(convnet.apply(params, images, "none"), labels).sum()

    expected = jax.jit(jax.grad(loss))(params)["conv"]
    found = jax.jit(partial(layer_gradients, params))(images, labels)
    apart = [
        float(jnp.abs(d_kernel - layer["kernel"]).max() / jnp.abs(layer["kernel"]).max())
        for (_, d_kernel, _), layer in zip(found, expected, strict=True)
    ]
    cosines = [cosine_of_the_rule(np.asarray(x), np.asarray(d)) for x, _, d in found]
    return [
        Comparison.exact("three kernels, difference from autodiff", apart, digits=6),
        Comparison.exact("the post's rule, cosine to the gradient", cosines, digits=2),
    ]


if __name__ == "__main__":
    from jaxdigits.posts.script import main

    main(__file__)
