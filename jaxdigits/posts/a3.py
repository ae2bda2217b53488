"""A3: cross-entropy through a clamp.

Post A, "Cross-Entropy Loss Implementation": `-sum(onehot * log(clamp(p, 1e-10, 1)))`, summed over
the batch. Its examples are two vectors that do not add up to 1, and four images on which the
untrained network is confidently wrong: each then costs -log(1e-10) = 23.0259, the most there is.
Here logits of 0 and 100 stand for such an image.

Posted: 0.2231, 1.6094, 92.1034.
Expect: the same digits. What matters for rows A5 to A7 is what cannot be seen here: below 1e-10 the
clamp is flat, so that nothing is learned from the images that are most wrong.
"""

import jax.numpy as jnp

from jaxdigits import losses
from jaxdigits.posts import Comparison, Study

SETUP = "cross-entropy, probabilities clamped to at least 1e-10"


def run(study: Study) -> list[Comparison]:
    """The post's two vectors, and four times a confidently wrong answer."""
    del study  # there are no data in it
    label = jnp.zeros(1, jnp.int32)
    near, far = jnp.array([[0.8, 0.2, 0.2]]), jnp.array([[0.2, 0.6, 0.2]])
    loss_of = losses.cross_entropy_from_probabilities
    wrong_logits, labels = jnp.tile(jnp.array([0.0, 100.0]), (4, 1)), jnp.zeros(4, jnp.int32)
    wrong = losses.clamped_cross_entropy(wrong_logits, labels)
    return [
        Comparison.exact("p = (.8, .2, .2), y = 0", loss_of(near, label)[0], "0.2231"),
        Comparison.exact("p = (.2, .6, .2), y = 0", loss_of(far, label)[0], "1.6094"),
        Comparison.exact("four confidently wrong", wrong.sum(), "92.1034"),
    ]


if __name__ == "__main__":
    from jaxdigits.posts.script import main

    main(__file__)
