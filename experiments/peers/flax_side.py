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
from flax_networks import letters_network, perceptron, resnet18
from sides import BATCH_SIZE, DROPOUT, LEARNING_RATE, WEIGHT_DECAY, Task, read_task, serve

VARIANTS = ("jit", "cached")


def network(name: str, num_classes: int, rngs: nnx.Rngs) -> nnx.Module:
    """By the name of its workload."""
    if name in ("linear", "mlp"):
        return perceptron(num_classes, () if name == "linear" else (30,), rngs)
    if name == "letters":
        return letters_network(num_classes, rngs)
    return resnet18(num_classes, "3x3" if name.endswith("3x3") else "7x7", DROPOUT, rngs)


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
