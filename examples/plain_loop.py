"""Train a network with nothing but jax, optax, and the library's pure functions.

    python examples/plain_loop.py

No config, no trainer, no folder: the parts, a step, and a loop.
"""

import jax
import jax.numpy as jnp
import optax

import jaxdigits as jd
from jaxdigits.losses import cross_entropy
from jaxdigits.models import mlp
from jaxdigits.training.batches import shuffled_batches

BATCH_SIZE, EPOCHS = 64, 10


def main() -> float:
    """Train on the digits inside; return the accuracy on the validation split."""
    data = jd.load_training_data("digits")
    images, labels = map(jnp.asarray, data.train)
    model = jd.Model(mlp.init, mlp.apply)
    optimizer = optax.adam(0.003)
    step = jd.make_step(model, optimizer, cross_entropy)
    state = jd.init_state(model, optimizer, jax.random.key(0))

    @jax.jit
    def train_epoch(state: jd.TrainState, key: jax.Array) -> tuple[jd.TrainState, jax.Array]:
        def train_batch(state, batch):
            chosen, valid = batch
            weights = valid / valid.sum()
            state, sums = step(state, jd.Batch(images[chosen], labels[chosen], weights))
            return state, sums.loss

        batches = shuffled_batches(key, len(labels), BATCH_SIZE)
        state, losses = jax.lax.scan(train_batch, state, batches)
        return state, losses.sum() / len(labels)

    @jax.jit
    def accuracy(params: jd.models.Params) -> jax.Array:
        logits = model.apply(params, jnp.asarray(data.validation.images) / 255)
        return (logits.argmax(axis=-1) == data.validation.labels).mean()

    for epoch, key in enumerate(jax.random.split(jax.random.key(1), EPOCHS), 1):
        state, loss = train_epoch(state, key)
        print(f"epoch {epoch}: loss {loss:.3f}, accuracy {accuracy(state.params):.2%}")
    return float(accuracy(state.params))


if __name__ == "__main__":
    main()
