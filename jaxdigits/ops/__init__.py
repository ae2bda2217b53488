"""Convolution and max-pooling that are fast on CPUs too, also inside `lax.scan`.

    from jaxdigits.ops import conv, max_pool
    x = max_pool(conv(images, kernel))          # images [n, height, width, channels]

| file | `method` | for |
|---|---|---|
| `conv.py` | `lax`: `lax.conv_general_dilated` itself | GPU, TPU, and the reference |
| `winograd.py` | `winograd` | 3x3 with stride 1, on a CPU |
| `im2col.py` | `im2col` | small images and 1x1 kernels, on a CPU |
| `canonical.py` | `canonical` | everything else, on a CPU |
| `pooling.py` | | max-pooling |

All compose with jit, grad, vmap, scan, shard_map and flax's `nn.Conv`. `jaxdigits.by_hand` has the
same written out to be read.

What each is worth: how much longer the default network trains without it, on two cores, by
`python experiments/worth_of_tricks.py`.

| instead | slowdown |
|---|---|
| `lax` for all convolutions | 25x (23 to 27) |
| `canonical` instead of `winograd` | 1.7x (1.5 to 1.9) |
| `winograd` also for the one channel of the first layer | 2.0x (1.5 to 2.7) |
| `lax.reduce_window` instead of `max_pool` | 2.3x (1.9 to 2.7) |
| `jnp.max` instead of `max_pool` | 1.2x (1.03 to 1.5) |
| one device instead of two | 1.8x (1.4 to 2.4) |
| a sum over devices per array instead of one for all | 1.15x (1.03 to 1.3) |
| `jax.nn.gelu` instead of `jaxdigits.models.activations.gelu` | 1.1x (0.9 to 1.3) |
"""

from jaxdigits.ops.conv import Method, conv, conv_general_dilated
from jaxdigits.ops.pooling import max_pool, max_pool_3x3

__all__ = ["Method", "conv", "conv_general_dilated", "max_pool", "max_pool_3x3"]
