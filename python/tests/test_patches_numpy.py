"""Methods of the table against NumPy references that are written from their formulas."""

import numpy as np
import pytest

import slimgrad as sg


def close(actual, expected, dtype, what):
    tolerance = 1e-10 if dtype == np.float64 else 1e-4
    assert actual.shape == expected.shape and actual.dtype == dtype, what
    assert np.abs(actual - expected).max() <= tolerance * np.abs(expected).max(), what


# --- tokens as an image in patches: lbp-wht


def layer(h, w, extra, dtype, cx=5, cy=4, batch=3):
    rng = np.random.default_rng([h, w, extra])
    shapes = [(batch, h * w + extra, cx), (cy, cx), (batch, h * w + extra, cy)]
    return [rng.standard_normal(shape).astype(dtype) for shape in shapes]


def around(length, patch):
    """How much padding a side needs before it and after it."""
    pad = -length % patch
    return (pad + 1) // 2, pad // 2


def patches_of(t, h, w, patch, **pad):
    """(B, h·w, C) as (B, patches, patch², C), padded."""
    image = t.reshape(len(t), h, w, -1)
    image = np.pad(image, [(0, 0), around(h, patch), around(w, patch), (0, 0)], **pad)
    b, rows, columns, c = image.shape
    cut = image.reshape(b, rows // patch, patch, columns // patch, patch, c)
    return cut.transpose(0, 1, 3, 2, 4, 5).reshape(b, -1, patch * patch, c)


def image_of(cut, h, w, patch):
    """The way back, without the padding."""
    b, _, _, c = cut.shape
    (top, bottom), (left, right) = around(h, patch), around(w, patch)
    rows, columns = h + top + bottom, w + left + right
    image = cut.reshape(b, rows // patch, columns // patch, patch, patch, c)
    image = image.transpose(0, 1, 3, 2, 4, 5).reshape(b, rows, columns, c)
    return image[:, top : top + h, left : left + w].reshape(b, h * w, c)


def lbp_wht(x, w, gy, grid, order):
    height, width = grid
    extra = x.shape[1] - height * width
    hadamard = np.array([[1]])
    for _ in range(3):
        hadamard = np.kron([[1, 1], [1, -1]], hadamard)
    walsh = hadamard[np.argsort([np.count_nonzero(np.diff(row)) for row in hadamard])]
    basis = np.array(
        [np.kron(walsh[r], walsh[c]) for r in range(8) for c in range(8) if r + c < order]
    )
    x_hat = basis @ patches_of(x[:, extra:], height, width, 8, mode="reflect")
    g_hat = basis @ patches_of(gy[:, extra:], height, width, 8, mode="reflect") / 64
    gx = image_of(basis.T @ (g_hat @ w), height, width, 8)
    gw = np.einsum("bprj,bpri->ji", g_hat, x_hat)
    gw += np.einsum("blj,bli->ji", gy[:, :extra], x[:, :extra])
    numbers = extra + x_hat.shape[1] * len(basis)
    return np.concatenate([gy[:, :extra] @ w, gx], axis=1), gw, numbers


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("h, w, extra", [(8, 8, 0), (16, 8, 1), (4, 9, 0), (11, 13, 2), (5, 17, 1)])
def test_lbp_wht(h, w, extra, dtype):
    x, weight, gy = layer(h, w, extra, dtype)
    for order in (1, 2, 4, 6, 8, 12, 15):
        what = f"{h}x{w} + {extra}, order {order}"
        r = sg.lab.linear(x, weight, gy, method="lbp-wht", grid=(h, w), order=order)
        gx, gw, rows = lbp_wht(x.astype(float), weight.astype(float), gy.astype(float), (h, w), order)
        close(r.y, x @ weight.T, dtype, what)
        close(r.gx, gx.astype(dtype), dtype, what)
        close(r.gw, gw.astype(dtype), dtype, what)
        assert r.saved_bytes == x.itemsize * len(x) * rows * x.shape[2], what


def test_lbp_wht_of_all_functions_is_vanilla():
    x, weight, gy = layer(16, 24, 1, np.float64)
    r = sg.lab.linear(x, weight, gy, method="lbp-wht", grid=(16, 24), order=15)
    exact = sg.lab.linear(x, weight, gy, method="vanilla")
    close(r.gx, exact.gx, np.float64, "gx")
    close(r.gw, exact.gw, np.float64, "gw")


def test_the_grid_is_asked_for_and_checked():
    x, weight, gy = layer(3, 16, 0, np.float64)

    def refused(message, **options):
        with pytest.raises(sg.Error, match=message):
            sg.lab.linear(x, weight, gy, method="lbp-wht", **options)

    refused("--grid 16x32")
    refused("a side of 3 tokens", grid=(3, 16))
    refused("expected a grid of at most 48 tokens, got 7x7", grid=(7, 7))
    refused("expected a whole number from 1 to 15 as order, got 16", grid=(4, 12), order=16)


def test_the_grid_of_texts_is_an_option():
    options = dict(model="bert-base", train_blocks="last:1", method="lbp-wht", order=2)
    with pytest.raises(sg.Error, match="nothing says of how many rows and columns.*--grid 16x32"):
        sg.cost(**options)
    cost = sg.cost(**options, grid="16x32")
    assert cost["paper"]["saved_bytes"] == 663_552
    assert round(cost["paper"]["backward"] / 1e6, 2) == 764.41


# --- tokens as an image in patches: gradient-filter


def gradient_filter(x, w, gy, grid, patch):
    height, width = grid
    extra, length = x.shape[1] - height * width, len(x)
    true = patches_of(np.ones((length, height * width, 1)), height, width, patch).sum(axis=2)
    x_sum = patches_of(x[:, extra:], height, width, patch).sum(axis=2)
    g_mean = patches_of(gy[:, extra:], height, width, patch).sum(axis=2) / true
    gx = np.repeat((g_mean @ w)[:, :, None], patch * patch, axis=2)
    gw = np.einsum("bpj,bpi->ji", g_mean, x_sum)
    gw += np.einsum("blj,bli->ji", gy[:, :extra], x[:, :extra])
    rows = extra + x_sum.shape[1]
    return np.concatenate([gy[:, :extra] @ w, image_of(gx, height, width, patch)], axis=1), gw, rows


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("h, w, extra", [(8, 8, 0), (16, 8, 1), (1, 9, 0), (11, 13, 2), (5, 17, 1)])
def test_gradient_filter(h, w, extra, dtype):
    x, weight, gy = layer(h, w, extra, dtype)
    for patch in (1, 2, 5, 8, 32):
        what = f"{h}x{w} + {extra}, patch {patch}"
        r = sg.lab.linear(x, weight, gy, method="gradient-filter", grid=(h, w), patch=patch)
        gx, gw, rows = gradient_filter(
            x.astype(float), weight.astype(float), gy.astype(float), (h, w), patch
        )
        close(r.gx, gx.astype(dtype), dtype, what)
        close(r.gw, gw.astype(dtype), dtype, what)
        assert r.saved_bytes == x.itemsize * len(x) * rows * x.shape[2], what
        numbers, product = len(x) * h * w, 2 * len(x) * rows * x.shape[2] * len(weight)
        assert r.flops["compress"] == numbers * x.shape[2], what
        assert r.flops["g_w"] == numbers * len(weight) + product, what
        assert r.flops["g_x"] == product, what
