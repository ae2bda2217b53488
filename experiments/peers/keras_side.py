"""Keras: `model.fit`, compiled where its backend can.

The images are in memory as floats, scaled beforehand, channels last. Variants are its backends,
`jax`, `torch` and `tensorflow`; those that are installed are tried.
"""

import os

from sides import BATCH_SIZE, LEARNING_RATE, WEIGHT_DECAY, Task, read_task, serve

VARIANTS = ("jax", "torch", "tensorflow")
WORKLOADS = ("linear", "mlp", "letters")


def main(task: Task) -> None:
    """Prepares, and waits for its turns."""
    os.environ["KERAS_BACKEND"] = task.variant
    import keras
    from keras import layers

    def gelu(values):  # type: ignore[no-untyped-def]
        return keras.ops.gelu(values, approximate=False)

    parts: list = [keras.Input((28, 28))]
    if task.name == "letters":
        parts += [layers.Reshape((28, 28, 1))]
        for features in (32, 64, 128):
            parts += [layers.Conv2D(features, 3), layers.MaxPooling2D(2, padding="same")]
        parts += [layers.Flatten(), layers.Dense(64, gelu), layers.Dense(128, gelu)]
    else:
        parts += [layers.Flatten()]
        parts += [layers.Dense(30, "relu")] if task.name == "mlp" else []
    model = keras.Sequential([*parts, layers.Dense(task.workload.num_classes)])
    optimizer = keras.optimizers.AdamW(LEARNING_RATE, weight_decay=WEIGHT_DECAY)
    optimizer.exclude_from_weight_decay(var_names=["bias"])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer, loss)
    images, labels = task.pixels, task.labels

    def run() -> float:
        history = model.fit(images, labels, batch_size=BATCH_SIZE, epochs=1, verbose=0)
        return float(history.history["loss"][0])

    serve(model.count_params(), run)


if __name__ == "__main__":
    main(read_task())
