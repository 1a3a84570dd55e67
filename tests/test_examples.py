"""The systems that fastconv was made to reproduce, with their figures."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from scipy import ndimage

import fastconv

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
PICTURES = {
    "s1_edges": True,
    "s1b_translation_invariance": False,
    "s2_first_kernel": True,
    "s4_sobel": True,
    "s5_first_principles": False,
}
"""Each example, and whether it needs a photograph."""


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def need(package: str) -> None:
    pytest.importorskip(package, reason=f"{package} is not installed (the extra 'report')")


def test_every_example_is_tested():
    assert {path.stem for path in EXAMPLES.glob("*.py")} == set(PICTURES)


@pytest.mark.parametrize("name", PICTURES)
def test_draws_only_when_asked(name, tmp_path, monkeypatch):
    if PICTURES[name]:
        need("skimage")
    need("matplotlib")
    monkeypatch.chdir(tmp_path)
    example = load(name)
    example.main()
    assert list(tmp_path.iterdir()) == []
    example.main(tmp_path / "new" / "folder")
    drawn = tmp_path / "new" / "folder" / f"{name}.png"
    assert list(drawn.parent.iterdir()) == [drawn]
    assert drawn.read_bytes().startswith(b"\x89PNG")


# ---------------------------------------------------------------- S1


def test_s1_pooling_raises_the_share_of_active_pixels(capsys):
    need("skimage")
    example = load("s1_edges")
    pictures = example.main()
    image, filtered, detected, condensed2, condensed3 = pictures
    assert [p.shape for p in pictures] == [(1, 512, 512, 1)] * 3 + [(1, 256, 256, 1)] * 2
    assert 0 <= image.min() < image.max() <= 1
    assert filtered.min() < 0
    assert detected.min() == 0
    shares = [example.active(p) for p in (detected, condensed2, condensed3)]
    assert 0 < shares[0] < shares[1] < shares[2] < 1
    assert capsys.readouterr().out.count("active pixels") == 3


def test_s1_equals_scipy():
    example = load("s1_edges")
    image = np.random.default_rng(1).random((1, 37, 50, 1), dtype=np.float32)
    _, filtered, detected, condensed2, condensed3 = (p[0, :, :, 0] for p in example.layer(image))
    kernel = np.full((3, 3), -1.0)
    kernel[1, 1] = 8
    expected = ndimage.correlate(image[0, :, :, 0].astype(np.float64), kernel, mode="constant")
    np.testing.assert_allclose(filtered, expected, atol=1e-5)
    np.testing.assert_array_equal(detected, np.where(filtered > 0, filtered, 0))
    # SAME at stride 2 on 37×50 cells: a window of 2 is completed after the last row, a window
    # of 3 on both sides in height and after the last column in width.
    padded = np.pad(detected, ((0, 1), (0, 0)))
    np.testing.assert_array_equal(condensed2, padded.reshape(19, 2, 25, 2).max(axis=(1, 3)))
    padded = np.pad(detected, ((1, 1), (0, 1)))
    taps = [padded[i : i + 37 : 2, j : j + 49 : 2] for i in range(3) for j in range(3)]
    np.testing.assert_array_equal(condensed3, np.max(taps, axis=0))


def test_s1_even_areas_give_nothing():
    example = load("s1_edges")
    filtered = example.layer(np.full((1, 9, 9, 1), 0.5, np.float32)).filtered
    np.testing.assert_array_equal(filtered[0, 1:-1, 1:-1, 0], 0)
    # SAME padding is black: at a side three of the eight neighbours are missing, at a corner 5.
    np.testing.assert_array_equal(filtered[0, 0, 1:-1, 0], 1.5)
    assert filtered[0, 0, 0, 0] == 2.5


# ---------------------------------------------------------------- S1b


def test_s1b_near_dots_merge_and_far_dots_stay_apart():
    figures = load("s1b_translation_invariance").main()
    assert figures.near == [2, 2, 1, 1, 1]
    assert figures.far == [2, 2, 2, 2, 2]
    assert figures.moved_is_same == [False, False, True, True, True]


# ---------------------------------------------------------------- S2


def test_s2_shapes_and_kernels():
    need("skimage")
    example = load("s2_first_kernel")
    w = example.kernels()
    assert w.shape == (2, 1, 5, 5)
    assert w[0, 0, 2, 2] == 24
    assert np.count_nonzero(w[0] == -1) == 24
    assert np.abs(w[1]).max() <= 0.2
    np.testing.assert_array_equal(w, example.kernels())
    assert not np.array_equal(w[1], example.kernels(seed=1)[1])
    maps = example.main()
    assert [m.shape for m in maps] == [(1, 2, 508, 508), (1, 2, 254, 254), (1, 2, 254, 254)]


@pytest.mark.parametrize("seed", [0, 7])
def test_s2_equals_pytorch(seed):
    torch = pytest.importorskip("torch", reason="torch is not installed")
    example = load("s2_first_kernel")
    image = np.random.default_rng(seed).random((1, 1, 65, 94), dtype=np.float32)
    w = example.kernels(seed)
    convolution = torch.nn.Conv2d(1, 2, kernel_size=5, bias=False)
    with torch.no_grad():
        convolution.weight.copy_(torch.from_numpy(w))
        convolved = convolution(torch.from_numpy(image))
        expected = (convolved, torch.nn.MaxPool2d(2, stride=2)(convolved),
                    torch.nn.AvgPool2d(2, stride=2)(convolved))
    for ours, theirs in zip(example.first_layer(image, w), expected, strict=True):
        np.testing.assert_allclose(ours, theirs.numpy(), rtol=1e-5, atol=1e-5)


def test_s2_photograph_equals_pytorch():
    torch = pytest.importorskip("torch", reason="torch is not installed")
    need("skimage")
    example = load("s2_first_kernel")
    image, w = (torch.from_numpy(a) for a in (example.grey_image(), example.kernels()))
    convolved = torch.nn.functional.conv2d(image, w)
    expected = (convolved, torch.nn.functional.max_pool2d(convolved, 2, stride=2),
                torch.nn.functional.avg_pool2d(convolved, 2, stride=2))
    for ours, theirs in zip(example.main(), expected, strict=True):
        np.testing.assert_allclose(ours, theirs.numpy(), rtol=1e-5, atol=1e-5)


# ---------------------------------------------------------------- S4


@pytest.fixture
def exact() -> Iterator[None]:
    """Sums as they are defined: of small integers and halves, none is rounded."""
    with fastconv.options(precision="strict"):
        yield


@pytest.mark.usefixtures("exact")
def test_s4_x_and_y_are_kept_apart_and_added():
    example = load("s4_sobel")
    image = np.zeros((300, 300, 3), np.float32)
    image[:, 150:] = [1, 0.5, 0.25]
    x, y, both = example.sobel(image)
    inside = np.s_[1:-1, 1:-1]
    np.testing.assert_array_equal(y[inside], 0)
    # 1 + 2 + 1 rows, times the height of the step in the three colours together.
    np.testing.assert_array_equal(np.flatnonzero(x[inside][0]), [148, 149])
    np.testing.assert_array_equal(x[inside][:, 148:150], 4 * 1.75)
    np.testing.assert_array_equal(both, x + y)
    turned_x, turned_y, _ = example.sobel(np.ascontiguousarray(image.transpose(1, 0, 2)))
    np.testing.assert_array_equal(turned_x, y.T)
    np.testing.assert_array_equal(turned_y, x.T)


@pytest.mark.usefixtures("exact")
def test_s4_edges_from_dark_to_bright_and_back_are_equal():
    example = load("s4_sobel")
    image = np.zeros((20, 30, 3), np.float32)
    image[:, 10:20] = 1
    x, _, _ = example.sobel(image)
    assert x[10, 10] == x[10, 19] == 12


def test_s4_banks_and_global_pooling():
    need("skimage")
    example = load("s4_sobel")
    found = example.main()
    image = example.picture()
    assert image.shape == (300, 300, 3)
    assert found.x.shape == found.y.shape == found.both.shape == (300, 300)
    assert found.bank2.shape == (300, 300, 2)
    np.testing.assert_allclose(np.abs(found.bank2[:, :, 0]), found.x, atol=1e-5)
    np.testing.assert_allclose(np.abs(found.bank2[:, :, 1]), found.y, atol=1e-5)
    grey = image.sum(axis=2, dtype=np.float64)  # equal kernels: the colours may be added first
    expected = np.abs(ndimage.correlate(grey, example.SOBEL_X, mode="constant"))
    np.testing.assert_allclose(found.x, expected, atol=1e-5)

    assert found.bank64.shape == (300, 300, 64)
    maps = found.bank64.reshape(-1, 64).astype(np.float64)
    # Four times what PyTorch's sums of such maps are off; one cell after the other would be 1e-5.
    rounding = 1e-6 * np.abs(maps).sum(axis=0)
    assert found.sums.shape == found.maxima.shape == found.means.shape == (64,)
    assert (np.abs(found.sums - maps.sum(axis=0)) <= rounding).all()
    assert (np.abs(found.means - maps.mean(axis=0)) <= rounding / len(maps)).all()
    np.testing.assert_array_equal(found.maxima, maps.max(axis=0))


# ---------------------------------------------------------------- S5


def test_s5_figures():
    found = load("s5_first_principles").main()
    np.testing.assert_array_equal(found.vertical, [[0, 39, 39, 0]] * 4)
    np.testing.assert_array_equal(found.horizontal, np.zeros((4, 4)))
    np.testing.assert_array_equal(found.several, [found.vertical, found.horizontal])
    # The channels are 1, 2 and 3 times the image.
    np.testing.assert_array_equal(found.three_channels, [[0, 234, 234, 0]] * 4)
    # Three rows of 0 − 39, then three of 39 − 0; the second map is all zeros.
    np.testing.assert_array_equal(found.next_layer, [[-117, 117]] * 2)


def test_s5_prints_the_four_rows(capsys):
    load("s5_first_principles").main()
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert rows.count(["0", "39", "39", "0"]) == 4
    assert rows.count(["0", "0", "0", "0"]) == 4
