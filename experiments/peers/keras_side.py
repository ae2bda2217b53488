"""Keras: `model.fit`, compiled where its backend can.

The images are in memory as floats, scaled beforehand, channels last. Variants are its backends,
`jax`, `torch` and `tensorflow`; those that are installed are tried.
"""

import math
import os

from sides import BATCH_SIZE, DROPOUT, LEARNING_RATE, WEIGHT_DECAY, Task, read_task, serve

VARIANTS = ("jax", "torch", "tensorflow")


def main(task: Task) -> None:
    """Prepares, and waits for its turns."""
    os.environ["KERAS_BACKEND"] = task.variant
    import keras
    from keras_networks import letters_network, perceptron, resnet18

    name, num_classes = task.name, task.workload.num_classes
    if name in ("linear", "mlp"):
        model = perceptron(num_classes, () if name == "linear" else (30,))
    elif name == "letters":
        model = letters_network(num_classes)
    else:
        model = resnet18(num_classes, "3x3" if name.endswith("3x3") else "7x7", DROPOUT)
    optimizer = keras.optimizers.AdamW(LEARNING_RATE, weight_decay=WEIGHT_DECAY)
    optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer, loss)
    images, labels = task.pixels, task.labels

    def run() -> float:
        history = model.fit(images, labels, batch_size=BATCH_SIZE, epochs=1, verbose=0)
        return float(history.history["loss"][0])

    serve(sum(math.prod(weight.shape) for weight in model.trainable_weights), run)


if __name__ == "__main__":
    main(read_task())
