"""C4: the digit network of the chapter before.

Post C begins with it: 784-128-64-10, ReLU, softmax, stochastic gradient descent at a learning rate
of 0.01, batches of 64, one pass over EMNIST's 240,000 digits. Where the data are fewer, a second
network sees about as many images in several passes: four over MNIST.

Posted: 92.2%, on EMNIST digits.
Expect: about so much, from as many images; less from one pass over fewer.
"""

from jaxdigits.posts import SGD, Comparison, Study, Trained

DATA = "emnist/digits"
SETUP = "784-128-64-10, ReLU, SGD, learning rate 0.01"

CONFIG = SGD.replace(model="mlp", hidden=(128, 64), scale="unit", learning_rate=0.01)
IMAGES = 240_000


def train(study: Study) -> dict[str, Trained]:
    """The networks of this row, by how long they were trained."""
    networks = {}
    for epochs in sorted({1, max(round(IMAGES / len(study.train_set)), 1)}):
        length = "one pass" if epochs == 1 else f"{epochs} passes, {IMAGES:,} images"
        networks[length] = study.train(f"C4, {length}", CONFIG.replace(epochs=epochs))
    return networks


def run(study: Study) -> list[Comparison]:
    """As posted."""
    return [
        Comparison(length, trained.accuracy[:, -1], "0.922")
        for length, trained in train(study).items()
    ]


if __name__ == "__main__":
    from jaxdigits.posts.script import main

    main(__file__)
