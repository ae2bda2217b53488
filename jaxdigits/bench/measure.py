"""Times programs in turns, and says how sure the result is.

- The data are on the device. A call is one XLA program: an epoch of training steps, or inference
  on as many images, batch by batch. It is waited for (`block_until_ready`), and nothing else is.
- Compiling is timed apart, without the persistent cache, and so is the first call, which still
  warms up. Neither is in the rate.
- The programs take turns: a round of each, then another of each. A machine that drifts drifts for
  all. A round is as many calls as take `round_seconds`, and counts as their mean.
- In each turn is a matrix product too, as large as the machine likes it. Its fastest round is the
  speed to which the networks' use of the machine is compared, beside the datasheet's.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from jaxdigits.bench.workloads import Benchmark
from jaxdigits.data import Dataset, Examples
from jaxdigits.models import make_model
from jaxdigits.sweeps.grid import program_bytes
from jaxdigits.training.trainer import (
    DEVICES,
    TrainingData,
    compiler_options,
    compute_logits,
    default_mesh,
    make_trainer,
)

PRODUCT = "product"
PRODUCT_SIDES = {"cpu": 1024}
"""Rows and columns of the matrices, by platform; elsewhere 8192."""


class Program(NamedTuple):
    """Something compiled, warm and ready to be timed.

    Attributes:
        call: does it once and waits for it.
        images: in a call; 0 in the matrix product.
        flops: in a call.
        trace_seconds: from Python to XLA's input.
        compile_seconds: from there to a program.
        first_seconds: of the first call.
        program_bytes: what the program needs on a device by XLA's account: arguments, results and
            what lies between.
        devices: how many share the work.
    """

    call: Callable[[], Any]
    images: int
    flops: int
    trace_seconds: float
    compile_seconds: float
    first_seconds: float
    program_bytes: int
    devices: int


class Timing(NamedTuple):
    """What the rounds of a program gave.

    Attributes:
        program: what was timed.
        calls: in a round.
        seconds: of a call, the mean over each round.
    """

    program: Program
    calls: int
    seconds: list[float]


def measure(
    benchmarks: Sequence[Benchmark],
    dataset: Dataset,
    *,
    rounds: int,
    round_seconds: float,
    turn: Callable[[], Any] = lambda: None,
    progress: Callable[[str], Any] = lambda _: None,
) -> dict[str, Timing]:
    """Compiles all, then times them in turns.

    Args:
        benchmarks: what to measure.
        dataset: whose images to use, over and over.
        rounds: of each.
        round_seconds: of each round, about; a call may take longer.
        turn: is called before each round of each.
        progress: is told what happens.

    Returns:
        Timings by name; the matrix product's is `product`.

    Raises:
        ConfigError: there are not so many devices.
    """
    programs = {}
    for benchmark in benchmarks:
        progress(f"compiling {benchmark.name}")
        programs[benchmark.name] = prepare(benchmark, dataset)
    programs[PRODUCT] = prepare_product()
    return in_turns(
        programs, rounds=rounds, round_seconds=round_seconds, turn=turn, progress=progress
    )


def in_turns(
    programs: Mapping[str, Program],
    *,
    rounds: int,
    round_seconds: float,
    turn: Callable[[], Any] = lambda: None,
    progress: Callable[[str], Any] = lambda _: None,
) -> dict[str, Timing]:
    """Times programs that are ready; arguments and result as of `measure`."""
    calls = {}
    for name, program in programs.items():
        alone = min(_round(program, 1) for _ in range(2))
        calls[name] = max(round(round_seconds / alone), 1)
    seconds: dict[str, list[float]] = {name: [] for name in programs}
    for number in range(rounds):
        progress(f"round {number + 1} of {rounds}")
        for name, program in programs.items():
            turn()
            seconds[name].append(_round(program, calls[name]))
    return {name: Timing(program, calls[name], seconds[name]) for name, program in programs.items()}


def _round(program: Program, calls: int) -> float:
    began = time.perf_counter()
    for _ in range(calls):
        program.call()
    return (time.perf_counter() - began) / calls


def prepare(benchmark: Benchmark, dataset: Dataset) -> Program:
    """A benchmark as a program that is ready to be timed; arguments and errors as of `measure`."""
    config, num_classes = benchmark.config, benchmark.num_classes
    mesh = default_mesh(config, benchmark.devices)
    count = benchmark.images(jax.default_backend())
    images = np.resize(dataset.images, (count, *dataset.images.shape[1:]))
    examples = Examples(images, np.resize(dataset.labels, count))
    trainer = make_trainer(config, num_classes, mesh=mesh)
    data = trainer.put(TrainingData(examples, examples, num_classes))
    state = trainer.jit(trainer.init)(jax.random.key(0), data)
    flops = count * benchmark.flops_per_image
    if benchmark.mode == "train":
        step = trainer.jit(trainer.train_epoch, donate_argnums=0)
        states = [state]

        def train(compiled: Any) -> Any:
            states[0], metrics = compiled(states[0], data.train)
            return metrics

        return _ready(step, (state, data.train), train, count, flops, mesh)
    model = make_model(config, num_classes)

    def infer(state: Any, images: Any) -> Any:
        share = compute_logits(model.apply, state.params, state.scaling, images, batch)
        return share.argmax(axis=-1)

    batch = benchmark.batch_size // (mesh.size if mesh else 1)
    if mesh:
        whole, along = PartitionSpec(), PartitionSpec(DEVICES)
        infer = jax.shard_map(
            infer, mesh=mesh, in_specs=(whole, along), out_specs=along, check_vma=False
        )
        images = jax.device_put(data.train.images, NamedSharding(mesh, along))
    else:
        images = data.train.images
    program = trainer.jit(infer)
    return _ready(
        program, (state, images), lambda compiled: compiled(state, images), count, flops, mesh
    )


def prepare_product() -> Program:
    """The matrix product, on each device one of its own."""
    side = PRODUCT_SIDES.get(jax.default_backend(), 8192)
    mesh = Mesh(np.array(jax.devices()), (DEVICES,))
    along = PartitionSpec(DEVICES)
    matrices = jax.device_put(
        np.random.default_rng(0).normal(size=(mesh.size, side, side)).astype(np.float32),
        NamedSharding(mesh, along),
    )
    square = jax.shard_map(jnp.matmul, mesh=mesh, in_specs=(along, along), out_specs=along)
    program = jax.jit(square, compiler_options=compiler_options(mesh))
    return _ready(
        program,
        (matrices, matrices),
        lambda compiled: compiled(matrices, matrices),
        0,
        mesh.size * 2 * side**3,
        mesh,
    )


def _ready(
    function: Any,
    arguments: tuple[Any, ...],
    use: Callable[[Any], Any],
    images: int,
    flops: int,
    mesh: Mesh | None,
) -> Program:
    """Compiles a jitted function and calls it once; `use` calls what is compiled."""
    began = time.perf_counter()
    lowered = function.lower(*arguments)
    traced = time.perf_counter()
    program = lowered.compile()
    compiled = time.perf_counter()

    def call() -> None:
        jax.block_until_ready(use(program))

    call()
    first = time.perf_counter()
    return Program(
        call=call,
        images=images,
        flops=flops,
        trace_seconds=traced - began,
        compile_seconds=compiled - traced,
        first_seconds=first - compiled,
        program_bytes=program_bytes(program),
        devices=mesh.size if mesh else 1,
    )
