"""A8: how many parameters the two networks have.

Post A, "Number of Model Parameters": 784 x 10 weights and 10 biases; 784 x 30 and 30, then 30 x 10
and 10.

Posted: 7,850 and 23,860.
Expect: the same.
"""

import jax

import jaxdigits as jd
from jaxdigits.posts import Comparison, Study, a4, a9

SETUP = "number of parameters"


def run(study: Study) -> list[Comparison]:
    """Count the parameters of A4 and A9."""

    def count(config: jd.TrainConfig) -> int:
        model = jd.models.make_model(config, study.data.num_classes)
        return jd.models.count_params(model.init(jax.random.key(0)))

    return [
        Comparison.exact("A4, linear", count(a4.CONFIG), "7850"),
        Comparison.exact("A9, one hidden layer", count(a9.CONFIG), "23860"),
    ]


if __name__ == "__main__":
    from jaxdigits.posts.script import main

    main(__file__)
