"""Compile the networks' programs for devices that are not here, and say what bounds a step.

XLA compiles for a GPU or a TPU on any machine. What comes out tells much: how long it takes, the
memory, kernels, and sums over devices, and how many operations and bytes there are at least. It
does not tell how fast it is: that takes the device.

- The memory is that of a whole epoch, with all images on the device.
- Everything else is of one step: training on one batch, or labels for one. (With several seeds the
  shuffle of one batch is part of it.)
- FLOPs are those of the network's products (`jaxdigits.bench.flops`). Bytes are what the kernels
  read and write in a device's memory, not what a TPU keeps on the chip. Divided by the rates of the
  datasheet (`jaxdigits.bench.peaks`), the longer of both times bounds the rate. This is a bound and
  no prediction.
- Cycles are XLA's own estimate for a TPU's kernels, without those that it does not estimate, such
  as gathers.
"""

import math
import re
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from jaxdigits.bench.chips import Target, find_target
from jaxdigits.bench.flops import PIXELS, forward_flops, training_flops
from jaxdigits.bench.peaks import datasheet_bandwidth, datasheet_peak
from jaxdigits.bench.timing import inference, uncached
from jaxdigits.bench.workloads import MNIST_COUNT, Mode
from jaxdigits.config import TrainConfig
from jaxdigits.data import Examples
from jaxdigits.data.specs import SPECS
from jaxdigits.environment import tracing_for
from jaxdigits.errors import ConfigError
from jaxdigits.sweeps.grid import program_bytes
from jaxdigits.training.members import MEMBERS, make_vectorized_trainer
from jaxdigits.training.resolve import DataSpec, fit_scaling
from jaxdigits.training.sharding import DEVICES
from jaxdigits.training.state import Batch
from jaxdigits.training.trainer import make_trainer, no_sums

SHAPE = (PIXELS, PIXELS)
"""Of an image."""


class Ahead(NamedTuple):
    """What a program compiled for other devices tells.

    Attributes:
        target: the devices, as they were asked for.
        device: the name of one.
        devices: how many share the work.
        mode: `train` or `inference`.
        model: the network.
        batch_size: images of a step, of all devices.
        seeds: networks that are trained together, each on its batches.
        compile_seconds: of an epoch, or of inference on one batch.
        program_bytes: memory that it needs on a device.
        kernels: programs that a device starts in a step.
        collectives: exchanges between devices in a step, by kind.
        flops: of a step's products, of all devices.
        bytes: that are read and written in a step, on each device.
        cycles: that a device takes for a step by XLA's estimate; None where it makes none.
        product_seconds: that the products of a step take at least.
        memory_seconds: that reading and writing take at least.
    """

    target: str
    device: str
    devices: int
    mode: Mode
    model: str
    batch_size: int
    seeds: int
    compile_seconds: float
    program_bytes: int
    kernels: int
    collectives: Mapping[str, int]
    flops: int
    bytes: int
    cycles: int | None
    product_seconds: float | None
    memory_seconds: float | None

    @property
    def bound(self) -> float | None:
        """Images a second that no program with as many products and bytes can exceed."""
        if self.product_seconds is None or self.memory_seconds is None:
            return None
        return self.seeds * self.batch_size / max(self.product_seconds, self.memory_seconds)

    def as_dict(self) -> dict[str, Any]:
        """All of it, for JSON."""
        return {**self._asdict(), "bound_images_per_second": self.bound}


def compile_for(
    name: str,
    config: TrainConfig,
    *,
    mode: Mode = "train",
    devices: int | None = None,
    seeds: int = 1,
    progress: Callable[[str], Any] = lambda _: None,
) -> Ahead:
    """Compile a network for devices that are not here.

    Args:
        name: of the devices; see `jaxdigits.bench.chips.find_target`.
        config: the network and how it is trained. Of its dataset the number of classes matters,
            MNIST's for `auto`.
        mode: training, or inference.
        devices: how many of them share the work. Default: all.
        seeds: networks to train together, shared out over the devices.
        progress: called with what happens.

    Raises:
        ConfigError: the settings do not go together, or what compiles is not installed.

    Example:
        >>> from jaxdigits import TrainConfig
        >>> found = compile_for("tpu:v5e:2x2", TrainConfig(model="mlp"))   # doctest: +SKIP
        >>> found.collectives                                              # doctest: +SKIP
        {'all-reduce': 1}
    """
    if config.dataset == "auto":
        config = config.replace(dataset="mnist")
    if config.dataset not in SPECS:
        raise ConfigError(f"compile for one of {', '.join(SPECS)}, not for {config.dataset!r}")
    if seeds > 1 and mode != "train":
        raise ConfigError("several seeds are for training: omit them, or the inference")
    target = find_target(name)
    chosen = target.devices[: devices or len(target.devices)]
    count = len(chosen)
    if devices is not None and not 1 <= devices <= len(target.devices):
        raise ConfigError(f"{name} has {len(target.devices)} devices, not {devices}")
    shared, what = (seeds, "seeds") if seeds > 1 else (config.batch_size, "images of a batch")
    if shared % count:
        raise ConfigError(f"the {shared} {what} must be a multiple of the {count} devices")
    mesh = Mesh(np.array(chosen), (MEMBERS if seeds > 1 else DEVICES,))
    with uncached(), tracing_for("tpu" if target.platform == "tpu" else "gpu"):
        progress(f"compiling a step for {name}")
        step, seconds = _compile(target, *_program(config, mode, seeds, mesh))
        epoch = step
        if mode == "train":
            progress(f"compiling an epoch for {name}")
            epoch, seconds = _compile(target, *_program(config, mode, seeds, mesh, MNIST_COUNT))
    num_classes = len(SPECS[config.dataset].class_names)
    count_flops = training_flops if mode == "train" else forward_flops
    flops = seeds * config.batch_size * count_flops(config, num_classes)
    ops = list(_instructions(step.as_text()))
    if mode == "train" and seeds == 1:  # the loop is the step; around it, metrics are summed
        ops = [op for op in ops if op.looped]
    moved = sum(op.times * op.bytes for op in ops if op.is_kernel or op.is_copy)
    kind = chosen[0].device_kind
    peak, bandwidth = datasheet_peak(kind), datasheet_bandwidth(kind)
    cycles = sum(op.times * (op.cycles or 0) for op in ops)
    return Ahead(
        target=name,
        device=kind,
        devices=count,
        mode=mode,
        model=config.model,
        batch_size=config.batch_size,
        seeds=seeds,
        compile_seconds=seconds,
        program_bytes=program_bytes(epoch),
        kernels=sum(op.times for op in ops if op.is_kernel),
        collectives=dict(Counter(op.collective for op in ops if op.collective)),
        flops=flops,
        bytes=moved,
        cycles=cycles or None,
        product_seconds=flops / count / peak if peak else None,
        memory_seconds=moved / bandwidth if bandwidth else None,
    )


def _program(
    config: TrainConfig, mode: Mode, seeds: int, mesh: Mesh, num_examples: int | None = None
) -> tuple[Any, tuple[Any, ...]]:
    """A function to compile, one step or an epoch of examples, and the shapes of its arguments."""
    size = config.batch_size
    count = num_examples or size
    scaling = fit_scaling(config.scale, np.full((1, *SHAPE), 128, np.uint8))
    spec = DataSpec(count, SHAPE, len(SPECS[config.dataset].class_names), scaling)
    examples = Examples(
        jax.ShapeDtypeStruct((count, *SHAPE), jnp.uint8), jax.ShapeDtypeStruct((count,), jnp.int32)
    )
    if seeds > 1:
        members = make_vectorized_trainer(config, spec, mesh)
        keys = jax.eval_shape(lambda: jax.random.split(jax.random.key(0), seeds))
        states = jax.eval_shape(lambda keys: members.init(keys, {}, None), keys)
        arguments = _on(mesh, states, MEMBERS), _on(mesh, examples)
        return jax.jit(members.train_epoch, donate_argnums=0), arguments
    trainer = make_trainer(config, spec, mesh=mesh)
    key = jax.eval_shape(lambda: jax.random.key(0))
    state = _on(mesh, jax.eval_shape(trainer.init, key, examples))
    if mode == "inference":
        return inference(trainer), (state.params, _on(mesh, examples.images, DEVICES))
    if num_examples:
        return jax.jit(trainer.train_epoch, donate_argnums=0), (state, _on(mesh, examples))
    # As when images come from the disk: each device is given its share of the batch alone.
    batch = Batch(
        jax.ShapeDtypeStruct((1, size, *SHAPE), jnp.uint8),
        jax.ShapeDtypeStruct((1, size), jnp.int32),
        jax.ShapeDtypeStruct((1, size), jnp.float32),
    )
    sums, steps = _on(mesh, jax.eval_shape(lambda: (no_sums(), jnp.int32(1))))
    arguments = state, sums, _on(mesh, batch, None, DEVICES), steps
    return jax.jit(trainer.train_chunk, donate_argnums=(0, 1)), arguments


def _on(mesh: Mesh, tree: Any, *axes: str | None) -> Any:
    """The shapes of arrays that lie on devices, whole or shared along axes."""
    sharding = NamedSharding(mesh, PartitionSpec(*axes))
    return jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding), tree
    )


def _compile(target: Target, function: Any, arguments: tuple[Any, ...]) -> tuple[Any, float]:
    """Compile, and say how long it took from Python to a program."""
    start = time.perf_counter()
    lowered = function.trace(*arguments).lower(lowering_platforms=(target.platform,))
    compiled = lowered.compile(compiler_options=dict(target.options))
    return compiled, time.perf_counter() - start


class _Instruction(NamedTuple):
    """A line of a compiled program.

    Attributes:
        opcode: what it does.
        scalar: whether the result is one number.
        times: how often it runs.
        looped: whether it is in a loop.
        cycles: that it takes by XLA's estimate, if there is one.
        bytes: of its operands and results that lie in the device's memory, not on the chip.
    """

    opcode: str
    scalar: bool
    times: int
    looped: bool
    cycles: int | None
    bytes: int

    @property
    def is_kernel(self) -> bool:
        """Whether a device starts a program for it."""
        if self.collective:
            return True
        small = self.scalar and self.opcode not in _HEAVY
        # Copies that run beside the kernels start and end.
        return not small and self.opcode not in _FREE and not self.opcode.endswith(_ENDS)

    @property
    def is_copy(self) -> bool:
        """Whether it copies between memory and chip while kernels run."""
        return self.opcode in ("copy-start", "slice-start")

    @property
    def collective(self) -> str | None:
        """The exchange between devices that begins here, if one does."""
        name = self.opcode.removesuffix("-start")
        return name if name in _COLLECTIVES else None


_COLLECTIVES = {"all-reduce", "all-gather", "all-to-all", "reduce-scatter", "collective-permute"}
_HEAVY = {"fusion", "custom-call", "dot", "convolution", "reduce"}
_ENDS = ("-start", "-done")
_FREE = {
    *("parameter", "constant", "tuple", "get-tuple-element", "bitcast", "after-all", "while"),
    *("conditional", "call", "partition-id", "replica-id", "reshape", "opt-barrier"),
}
_LINE = re.compile(r"  (?:ROOT )?%?(?P<name>[\w.-]+) = (?P<type>\(.*?\)|\S+) (?P<op>[a-z][\w-]*)\(")
_ARRAY = re.compile(r"(pred|bf|[a-z])(\d*)\w*\[([\d,]*)\](\{[^}]*\})?")


def _instructions(text: str) -> Iterator[_Instruction]:
    """What a compiled program runs, loops as often as they are known to turn."""
    bodies: dict[str, list[str]] = {}
    entry, lines = "", []
    for line in text.splitlines():
        head = re.match(r"(ENTRY )?%?([\w.-]+) .*\{$", line)
        if head:
            lines = bodies.setdefault(head[2], [])
            entry = head[2] if head[1] else entry
        elif line.startswith("  "):
            lines.append(line)

    def walk(name: str, times: int, looped: bool) -> Iterator[_Instruction]:
        types: dict[str, str] = {}
        for line in bodies.get(name, []):
            found = _LINE.match(line)
            if not found:
                continue
            kind, opcode = found["type"], found["op"]
            types[found["name"]] = kind
            operands = re.findall(r"%([\w.-]+)", line[found.end() :].partition(")")[0])
            if opcode.endswith("-start"):  # the results name the operands again
                kind = kind.partition(", ")[0]
            arrays = [kind, *(types.get(operand, "") for operand in operands)]
            cycles = re.search(r'"estimated_cycles":"(\d+)"', line)
            yield _Instruction(
                opcode,
                scalar=bool(re.match(r"\w+\[(1(,1)*)?\]", kind)),
                times=times,
                looped=looped,
                cycles=int(cycles[1]) if cycles else None,
                bytes=sum(map(_memory_bytes, arrays)),
            )
            if opcode in ("while", "call", "conditional"):
                turns = re.search(r'"known_trip_count":\{"n":"(\d+)"', line)
                inner = re.findall(r"(?:body|to_apply|branch_computations)=\{?%?([\w.-]+)", line)
                for body in inner:
                    often = times * (int(turns[1]) if turns else 1)
                    yield from walk(body, often, looped or opcode == "while")

    yield from walk(entry, 1, False)


def _memory_bytes(kind: str) -> int:
    """The bytes of an array's type, or of a tuple's, that lie in memory.

    Example:
        >>> _memory_bytes("(f32[4,2]{1,0}, bf16[8]{0:T(256)S(1)}, pred[3])")
        35
    """
    total = 0
    for name, bits, sizes, layout in _ARRAY.findall(kind):
        if re.search(r"S\([1-9]", layout):  # on the chip
            continue
        width = 1 if name == "pred" else int(bits or 0) // 8
        total += width * math.prod(int(size) for size in sizes.split(",") if size)
    return total
