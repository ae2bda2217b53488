"""Flax NNX, as its guides have it: a Python loop over a jitted step.

The images are on the device as floats, scaled beforehand, and the step gathers its batch. `nnx.jit`
looks through the network's objects at each call; variant `cached` spares that, with
`nnx.cached_partial`.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from sides import BATCH_SIZE, LEARNING_RATE, WEIGHT_DECAY, Task, read_task, serve

VARIANTS = ("jit", "cached")
WORKLOADS = ("linear", "mlp", "letters")


def network(name: str, num_classes: int, rngs: nnx.Rngs) -> nnx.Module:
    """As its users write it."""

    def flat(images: jax.Array) -> jax.Array:
        return images.reshape(len(images), -1)

    if name == "linear":
        return nnx.Sequential(flat, nnx.Linear(784, num_classes, rngs=rngs))
    if name == "mlp":
        return nnx.Sequential(
            flat, nnx.Linear(784, 30, rngs=rngs), nnx.relu, nnx.Linear(30, num_classes, rngs=rngs)
        )
    gelu = partial(nnx.gelu, approximate=False)
    pool = partial(nnx.max_pool, window_shape=(2, 2), strides=(2, 2), padding="SAME")
    layers = [lambda images: images[..., None]]
    for inputs, outputs in ((1, 32), (32, 64), (64, 128)):
        layers += [nnx.Conv(inputs, outputs, (3, 3), padding="VALID", rngs=rngs), pool]
    layers += [flat, nnx.Linear(512, 64, rngs=rngs), gelu, nnx.Linear(64, 128, rngs=rngs), gelu]
    return nnx.Sequential(*layers, nnx.Linear(128, num_classes, rngs=rngs))


def main(task: Task) -> None:
    """Prepares, and waits for its turns."""
    model = network(task.name, task.workload.num_classes, nnx.Rngs(0))
    parameters = sum(leaf.size for leaf in jax.tree.leaves(nnx.state(model, nnx.Param)))
    weights_alone = lambda params: jax.tree.map(lambda leaf: leaf.ndim > 1, params)  # noqa: E731
    adamw = optax.adamw(LEARNING_RATE, weight_decay=WEIGHT_DECAY, mask=weights_alone)
    optimizer = nnx.Optimizer(model, adamw, wrt=nnx.Param)
    all_images, all_labels = jnp.asarray(task.pixels), jnp.asarray(task.labels)
    random = np.random.default_rng(0)

    @nnx.jit
    def step(
        model: nnx.Module,
        optimizer: nnx.Optimizer,
        images: jax.Array,
        labels: jax.Array,
        batch: jax.Array,
    ) -> jax.Array:
        images, labels = images[batch], labels[batch]

        def loss_of(model):
            logits = model(images)
            return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()

        loss, grads = nnx.value_and_grad(loss_of)(model)
        optimizer.update(model, grads)
        return loss

    train = partial(step, model, optimizer)
    if task.variant == "cached":
        train = nnx.cached_partial(step, model, optimizer)

    def run() -> float:
        order = random.permutation(task.count).astype(np.int32)
        for start in range(0, task.count, BATCH_SIZE):
            loss = train(all_images, all_labels, order[start : start + BATCH_SIZE])
        return float(loss)

    serve(parameters, run)


if __name__ == "__main__":
    main(read_task())
