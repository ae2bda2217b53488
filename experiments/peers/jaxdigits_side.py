"""jaxdigits: a round is one XLA program.

The images are bytes on the device, gathered and scaled batch by batch; nothing is augmented. It
also counts correct predictions.
"""

from sides import BATCH_SIZE, DROPOUT, LEARNING_RATE, WEIGHT_DECAY, Task, read_task, serve

from jaxdigits.environment import prepare_jax

prepare_jax()

import jax

import jaxdigits as jd
from jaxdigits.models import count_params, make_model
from jaxdigits.training.sharding import default_mesh, replicate
from jaxdigits.training.trainer import make_trainer

SETTINGS = {
    "linear": {"model": "linear"},
    "mlp": {"model": "mlp", "hidden": (30,)},
    "letters": {"model": "convnet", "pool_activation": "none"},
    "resnet18": {"model": "resnet18", "dropout": DROPOUT},
    "resnet18-3x3": {"model": "resnet18", "dropout": DROPOUT, "stem": "3x3"},
}


def main(task: Task) -> None:
    """Prepare, and wait for turns."""
    config = jd.TrainConfig(
        **SETTINGS[task.name],
        augment=(),
        optimizer="adamw",
        weight_decay=WEIGHT_DECAY,
        schedule="constant",
        learning_rate=LEARNING_RATE,
        batch_size=BATCH_SIZE,
    )
    examples = jd.Examples(task.images, task.labels)
    num_classes = task.workload.num_classes
    mesh = default_mesh(make_model(config, num_classes).hints, BATCH_SIZE)
    data = jd.TrainingData(examples, examples, num_classes)
    trainer = make_trainer(config, data, mesh=mesh)
    examples = replicate(examples, mesh)
    state = replicate(trainer.jit(trainer.init)(jax.random.key(0)), mesh)
    parameters = count_params(state.params)
    train_epoch = trainer.jit(trainer.train_epoch, donate_argnums=0)

    def run() -> float:
        nonlocal state
        state, measured = jax.block_until_ready(train_epoch(state, examples))
        return float(measured.loss)

    serve(parameters, run)


if __name__ == "__main__":
    main(read_task())
