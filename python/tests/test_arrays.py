"""Tensors and arrays on the same memory."""

import gc

import numpy as np
import pytest

import slimgrad as sg


def test_array_to_tensor_shares_memory(precision):
    x = precision.normal(3, 4)
    t = sg.tensor(x)
    assert t.dtype == precision.dtype and t.shape == (3, 4)
    assert np.shares_memory(np.asarray(t), x)
    x[1, 2] = 7
    assert t[1, 2] == 7
    np.asarray(t)[0, 0] = -3
    assert x[0, 0] == -3


def test_tensor_keeps_the_array_alive(precision):
    expected = precision.normal(1000, seed=3)
    t = sg.tensor(expected.copy())
    gc.collect()
    junk = [np.full(1000, 9, precision.dtype) for _ in range(50)]
    np.testing.assert_array_equal(np.asarray(t), expected)
    del junk


def test_array_keeps_the_tensor_alive(precision):
    a = np.asarray(precision.sg.normal((64, 64), seed=1))
    expected = a.copy()
    gc.collect()
    others = [precision.sg.zeros((64, 64)) for _ in range(50)]
    np.testing.assert_array_equal(a, expected)
    del others


def test_indexing_gives_views_that_own_their_memory(precision):
    expected = precision.normal(4, 6, seed=2)
    view = sg.tensor(expected.copy())[:, ::2]
    gc.collect()
    assert view.base is not None
    np.testing.assert_array_equal(view, expected[:, ::2])
    t = sg.tensor(expected.copy())
    t[1, :] = 0
    assert t[1, 3] == 0 and t[0, 0] == expected[0, 0]


def test_round_trip_gives_the_same_storage(precision):
    ledger = precision.sg.ledger
    t = precision.sg.normal((100,), seed=1)
    before = ledger["workspace"].live
    again = sg.tensor(np.asarray(t)[10:60])
    assert ledger["workspace"].live == before  # not counted twice
    again[0] = 5
    assert t[10] == 5
    del t
    gc.collect()
    assert again[0] == 5


@pytest.mark.parametrize(
    "make",
    [
        lambda x: x[:, ::2],
        lambda x: x.T,
        lambda x: np.broadcast_to(x[0], x.shape),
        lambda x: np.frombuffer(b"\0" + x.tobytes(), dtype=x.dtype, offset=1).reshape(x.shape),
    ],
    ids=["strided", "transposed", "broadcast", "misaligned"],
)
def test_other_layouts_are_copied(precision, make):
    x = make(precision.normal(4, 6))
    t = sg.tensor(x)
    np.testing.assert_array_equal(np.asarray(t), x)
    assert not np.shares_memory(np.asarray(t), x)


def test_read_only_arrays_are_copied(precision):
    x = precision.normal(5)
    x.flags.writeable = False
    t = sg.tensor(x)
    t[0] = 1000
    assert x[0] != 1000


def test_lists_scalars_and_dtypes():
    assert sg.tensor([[1, 2], [3, 4]]).dtype == np.float32
    assert sg.tensor([1, 2], dtype="float64").dtype == np.float64
    assert sg.tensor(2.5).shape == ()
    assert sg.tensor(np.arange(3), dtype=np.float32)[2] == 2
    assert sg.tensor(np.zeros((0, 3), np.float32)).shape == (0, 3)


def test_wrong_dtypes_are_named():
    with pytest.raises(sg.Error, match="expected float32 or float64 values, got int64"):
        sg.tensor(np.arange(3))
    with pytest.raises(sg.Error, match=r"\[tape.input\] expected float32 values, got float64"):
        sg.Tape().input(np.zeros(3))
    with pytest.raises(sg.Error, match=r"expected float64 values, got float32.*Hint"):
        sg.float64.Tape().input(np.zeros(3, np.float32))
    with pytest.raises(sg.Error, match="expected a tensor or an array of float32"):
        sg.Tape().input("seven")


def test_conversions(precision):
    t = sg.tensor(precision.normal(2, 3))
    assert np.asarray(t).base is not None
    assert np.array(t).dtype == precision.dtype
    assert not np.shares_memory(np.array(t), np.asarray(t))
    assert np.asarray(t, dtype=np.float16).dtype == np.float16
    assert t.reshape([3, 2]).shape == (3, 2)
    assert len(t) == 2 and t.size == 6 and t.nbytes == 6 * precision.dtype.itemsize
    assert str(precision.dtype) in repr(t)


def test_dlpack_with_numpy(precision):
    t = sg.tensor(precision.normal(4, 5))
    a = np.from_dlpack(t)
    assert np.shares_memory(a, np.asarray(t))
    np.testing.assert_array_equal(a, np.asarray(t))
    back = sg.from_dlpack(precision.normal(2, 2))
    assert back.dtype == precision.dtype


def test_dlpack_with_torch(precision):
    torch = pytest.importorskip("torch")
    dtype = getattr(torch, precision.name)
    there = torch.from_dlpack(sg.tensor(precision.normal(3, 4)))
    assert there.dtype == dtype
    x = torch.arange(12, dtype=dtype).reshape(3, 4)
    t = sg.from_dlpack(x)
    x[1, 1] = 100
    assert t[1, 1] == 100
    np.testing.assert_array_equal(np.asarray(sg.from_dlpack(x.T)), x.T.numpy())
    assert sg.tensor(x).dtype == precision.dtype


def test_parameters_are_views(precision):
    layer = precision.sg.nn.Linear(3, 2, seed=0)
    np.asarray(layer.weight.value)[:] = 2
    np.testing.assert_array_equal(np.asarray(layer.weight.value), 2)
    view = np.asarray(layer.weight.value)
    del layer
    gc.collect()
    np.testing.assert_array_equal(view, 2)


def test_mixing_precisions_is_refused():
    a, b = sg.zeros((2, 2)), sg.float64.zeros((2, 2))
    with pytest.raises(sg.Error, match=r"\[matmul\] expected float32 values, got float64. Hint"):
        a @ b
    with pytest.raises(TypeError, match="f32.Tensor, slimgrad._core.f64.Tensor"):
        sg.matmul(a, b)
    with pytest.raises(TypeError, match="f64.Linear"):
        sg.Calibrator(sg.float64.nn.Linear(2, 2))
    assert (a + np.ones((2, 2), np.float32)).dtype == np.float32
    with pytest.raises(sg.Error, match="expected a Var of a float32 tape"):
        sg.nn.Linear(2, 2)(sg.float64.Tape().input(b))
