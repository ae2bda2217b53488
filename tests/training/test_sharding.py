"""What lies on which device."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import PartitionSpec

import jaxdigits as jd
from jaxdigits.training.sharding import (
    DEVICES,
    axis_of,
    default_mesh,
    make_mesh,
    num_devices,
    own_share,
    platform_of,
    replicate,
    shard,
    sum_over_devices,
)


@pytest.fixture(params=[1, 2])
def mesh(request):
    return make_mesh(jax.devices(), request.param, DEVICES)


def test_one_device_has_all_of_a_batch(mesh):
    """Alone in a mesh, or without one."""
    assert axis_of(None) is None
    assert axis_of(mesh) == (None if mesh.size == 1 else DEVICES)
    assert num_devices(None) == 1
    assert num_devices(mesh) == mesh.size
    assert platform_of(None) == platform_of(mesh) == "cpu"


def test_the_share_of_each_device():
    """Of the last axis, with zeros at the end; for arrays of any shape, in one program."""
    shapes = [(*front, count) for front in ((), (3,), (2, 3)) for count in (1, 4, 5)]
    arrays = [np.arange(1, 1 + np.prod(shape)).reshape(shape) for shape in shapes]
    shares = jax.shard_map(
        lambda arrays: [own_share(array, DEVICES) for array in arrays],
        mesh=make_mesh(jax.devices(), 2, DEVICES),
        in_specs=PartitionSpec(),
        out_specs=[PartitionSpec(*[None] * (array.ndim - 1), DEVICES) for array in arrays],
        check_vma=False,
    )
    for array, found in zip(arrays, jax.jit(shares)([*map(jnp.asarray, arrays)]), strict=True):
        *front, count = array.shape
        assert found.shape == (*front, 2 * -(-count // 2))
        np.testing.assert_array_equal(np.asarray(found)[..., :count], array)
        assert not np.asarray(found)[..., count:].any()
    alone = jnp.arange(3)
    assert own_share(alone, None) is alone


@pytest.mark.parametrize("processes", [1, 2])
def test_members_and_their_keys_are_sharded(processes, monkeypatch):
    """Also where each process puts its part: here one has all devices."""
    mesh = make_mesh(jax.devices(), 2, DEVICES)
    monkeypatch.setattr(jax, "process_count", lambda: processes)
    tree = {"keys": jax.random.split(jax.random.key(0), 4), "rates": np.arange(4.0)}
    found = shard(tree, mesh, PartitionSpec(DEVICES))
    np.testing.assert_array_equal(found["rates"], tree["rates"])
    assert jnp.issubdtype(found["keys"].dtype, jax.dtypes.prng_key)
    data, expected = (jax.random.key_data(keys) for keys in (found["keys"], tree["keys"]))
    np.testing.assert_array_equal(data, expected)
    for leaf in found.values():
        assert [piece.data.shape for piece in leaf.addressable_shards] == [(2,), (2,)]


@pytest.mark.parametrize(("count", "sums"), [(199_999, 1), (200_000, 2)])
def test_large_arrays_are_summed_by_themselves(count, sums):
    """Of 200,000 numbers or more; seen in the program, not run."""
    function = jax.shard_map(
        partial(sum_over_devices, axis_name=DEVICES),
        mesh=make_mesh(jax.devices(), 2, DEVICES),
        in_specs=PartitionSpec(),
        out_specs=PartitionSpec(),
        check_vma=False,
    )
    tree = [jax.ShapeDtypeStruct((size,), jnp.float32) for size in (5, count)]
    assert str(jax.make_jaxpr(function)(tree)).count("psum") == sums


def test_what_all_devices_need(mesh):
    array = np.arange(3.0)
    for where, count in ((None, 1), (mesh, mesh.size)):
        found = replicate({"a": array}, where)["a"]
        assert isinstance(found, jax.Array)
        pieces = [np.asarray(piece.data).tolist() for piece in found.addressable_shards]
        assert pieces == [[0, 1, 2]] * count


@pytest.mark.parametrize(("batch_size", "size"), [(32, 2), (30, None), (16, None), (34, 2)])
def test_each_device_has_sixteen_images(batch_size, size):
    mesh = default_mesh(jd.Hints(shard_on_cpu=True), batch_size)
    assert (mesh and mesh.size) == size


def test_one_device_shares_with_nobody(monkeypatch):
    """However much a network gains by it."""
    first = jax.devices()[:1]
    monkeypatch.setattr(jax, "devices", lambda: first)
    assert default_mesh(jd.Hints(shard_on_cpu=True), 64) is None


def test_a_mesh_of_all_devices():
    assert make_mesh(jax.devices(), None, "a").size == 2
    mesh = make_mesh(jax.devices(), 1, "a")
    assert mesh.axis_names == ("a",)
    assert mesh.devices.tolist() == [jax.devices()[0]]
