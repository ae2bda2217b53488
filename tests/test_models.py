import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jaxtyping import TypeCheckError

from jaxdigits.config import TrainConfig
from jaxdigits.models import ACTIVATIONS, count_params, linear, make_model, mlp, pixel
from jaxdigits.models.initializers import INITIALIZERS


def test_parameter_counts_of_post_a():
    """Row A8."""
    for config, count in (
        (TrainConfig(model="linear"), 7_850),
        (TrainConfig(model="mlp", hidden=(30,)), 23_860),
    ):
        assert count_params(make_model(config, 10).init(jax.random.key(0))) == count


@pytest.mark.parametrize("hidden", [(), (7,), (7, 5, 3)])
@pytest.mark.parametrize("activation", sorted(ACTIVATIONS))
def test_mlp_against_plain_numpy(hidden, activation, rng):
    import scipy.special

    functions = {
        "relu": lambda z: np.maximum(z, 0),
        "sigmoid": scipy.special.expit,
        "tanh": np.tanh,
        "gelu": lambda z: z * scipy.special.ndtr(z),
    }
    images = rng.normal(size=(4, 28, 28)).astype(np.float32)
    params = mlp.init(jax.random.key(1), 10, hidden)
    values = images.reshape(4, 784)
    for index, layer in enumerate(params):
        values = values @ np.asarray(layer["weight"]).T + np.asarray(layer["bias"])
        if index < len(hidden):
            values = functions[activation](values)
    logits = mlp.apply(params, jnp.asarray(images), activation)
    np.testing.assert_allclose(logits, values, rtol=1e-4, atol=1e-5)


def test_any_function_is_an_activation():
    params = mlp.init(jax.random.key(0), 10, (5,))
    images = jnp.ones((2, 28, 28))
    np.testing.assert_array_equal(
        mlp.apply(params, images, jnp.tanh), mlp.apply(params, images, "tanh")
    )


def test_linear_against_torch(rng):
    torch = pytest.importorskip("torch")
    layer = torch.nn.Linear(784, 10)
    weight, bias = (jnp.asarray(p.detach().numpy()) for p in layer.parameters())
    images = rng.normal(size=(3, 784)).astype(np.float32)
    expected = layer(torch.tensor(images)).detach().numpy()
    np.testing.assert_allclose(
        linear.apply({"weight": weight, "bias": bias}, jnp.asarray(images)),
        expected,
        rtol=1e-4,
        atol=1e-5,
    )


@pytest.mark.parametrize(
    ("name", "mean_square", "bound"), [("normal", 1.0, np.inf), ("uniform", 1 / 300, 0.1)]
)
def test_initializers(name, mean_square, bound):
    drawn = np.asarray(INITIALIZERS[name](jax.random.key(0), (40_000,), 100))
    # The mean of 40,000 squares: within five of its standard errors.
    error = 5 * (drawn**2).std() / np.sqrt(drawn.size)
    assert abs((drawn**2).mean() - mean_square) < error
    assert abs(drawn.mean()) < 5 * drawn.std() / np.sqrt(drawn.size)
    assert np.abs(drawn).max() <= bound
    layer = linear.init(jax.random.key(0), 10, 784, name)
    assert not np.array_equal(layer["bias"], layer["weight"][0, :10])


def test_pixel_model_by_hand(rng):
    images = rng.uniform(size=(6, 28, 28)).astype(np.float32)
    labels = np.array([0, 1, 0, 2, 1, 0])
    params = pixel.fit(jnp.asarray(images), jnp.asarray(labels), num_classes=4)
    np.testing.assert_allclose(params["means"][0], images[[0, 2, 5]].mean(axis=0), rtol=1e-5)
    assert not params["means"][3].any()  # nobody's mean
    cases: tuple[tuple[pixel.Distance, np.ufunc], ...] = (
        ("absolute", np.abs),
        ("squared", np.square),
    )
    for distance, function in cases:
        expected = [
            [-function(image - mean).mean() for mean in np.asarray(params["means"])]
            for image in images
        ]
        logits = pixel.apply(params, jnp.asarray(images), distance)
        np.testing.assert_allclose(logits, expected, rtol=1e-4)


def test_annotations_are_checked():
    """Or the annotations would be mere prose."""
    with pytest.raises(TypeCheckError):
        linear.apply(
            {"weight": jnp.zeros((10, 784)), "bias": jnp.zeros(10)}, jnp.zeros((2, 784), jnp.int32)
        )
