"""What suits a network where nothing was asked for."""

from typing import NamedTuple


class Hints(NamedTuple):
    """What suits a network where nothing was asked for.

    Attributes:
        augment: names of augmentations.
        examples: to train on in all, epochs counted, within 5 to 60 epochs; None for 10 epochs.
        microbatch_size: images that stay in a CPU core's cache, forward and back; None for all.
        shard_on_cpu: whether sharing each batch among a CPU's cores, as devices, pays.
        members_at_once_on_cpu: of a sweep, per CPU device; None for as many as fit into memory.
    """

    augment: tuple[str, ...] = ()
    examples: int | None = None
    microbatch_size: int | None = None
    shard_on_cpu: bool = False
    members_at_once_on_cpu: int | None = None
