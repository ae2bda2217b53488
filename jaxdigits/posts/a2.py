"""A2: a softmax that no logit is too large for.

Post A, "SoftMax Implementation". The post subtracts the largest logit of each row of a batch before
it takes exponentials, so that none overflows. It checks that the probabilities add up to 1 on a
single vector, for which its function leaves the subtraction out.

Posted: 1.0.
Expect: 1.0, for the post's own logits and for the same raised by 1000, where exp() would overflow.
"""

import jax.numpy as jnp

from jaxdigits.losses import softmax
from jaxdigits.posts import Comparison, Study

SETUP = "softmax, the largest logit subtracted first"

POSTED_LOGITS = jnp.array(
    [24.3919, -51.7686, 13.9901, -22.6144, 47.2925, 4.1529, -24.6324, -37.5008, 47.0262, 35.0089]
)


def run(study: Study) -> list[Comparison]:
    """Add up the probabilities."""
    del study  # there are no data in it
    total = float(softmax(POSTED_LOGITS).sum())
    raised = float(softmax(POSTED_LOGITS + 1000).sum())
    return [
        Comparison.exact("sum of the probabilities", total, "1.0"),
        Comparison.exact("the same with 1000 added to each logit", raised, digits=1),
    ]


if __name__ == "__main__":
    from jaxdigits.posts.script import main

    main(__file__)
