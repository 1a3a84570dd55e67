"""The command line: what it writes, prints and refuses."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import fastconv
from fastconv import demo

_MISSING = "the extra 'report' is not installed"
for _package in ("matplotlib", "rich", "skimage", "typer"):
    pytest.importorskip(_package, reason=_MISSING)
Image = pytest.importorskip("PIL.Image", reason=_MISSING)
testing = pytest.importorskip("typer.testing", reason=_MISSING)
commands = importlib.import_module("fastconv.commands")


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(demo, "_SECONDS", 0)  # one round is enough where nobody reads the time


@pytest.fixture
def photo(tmp_path) -> Path:
    """A small colour picture of odd size, where SAME pads differently for 2×2 and 3×3."""
    path = tmp_path / "photo.png"
    pixels = np.random.default_rng(3).integers(0, 256, (45, 31, 3), np.uint8)
    Image.fromarray(pixels).save(path)
    return path


def run(*arguments: object):
    return testing.CliRunner().invoke(commands.app, [str(a) for a in arguments])


def outcome(name: str) -> tuple[int, int]:
    """Height and width of a PNG that can be read."""
    with Image.open(name) as picture:
        picture.load()
        assert picture.format == "PNG"
        return picture.height, picture.width


# ---------------------------------------------------------------- demo


def test_demo_with_the_photograph_that_ships():
    result = run("demo")
    assert result.exit_code == 0, result.output
    height, width = outcome("demo.png")
    assert width > 3 * height  # five squares beside each other
    for kernel in (
        fastconv.explain("conv2d", (1, 1, 512, 512), (1, 1, 3, 3), padding="same").chosen,
        fastconv.explain("relu", (1, 1, 512, 512)).chosen,
        fastconv.explain("max_pool2d", (1, 1, 512, 512), 2, stride=2, padding="same").chosen,
    ):
        assert kernel in result.output
    for step in ("Filter", "Detect", "Condense 2×2", "Condense 3×3", "Wrote demo.png"):
        assert step in result.output


@pytest.mark.parametrize("backend", [b for b in fastconv.backends() if b != "cuda"])
def test_demo_agrees_with_scipy_on_every_backend(backend, photo):
    if reason := fastconv.backends()[backend]:
        pytest.skip(reason)
    result = run("demo", photo, "--backend", backend, "--threads", 1, "--output", "five.PNG")
    assert result.exit_code == 0, result.output
    assert result.output.count(f"@{backend}") == demo.STEPS
    assert "up to 1 thread," in result.output
    outcome("five.PNG")


def test_pooling_raises_the_share_of_active_pixels():
    steps = list(demo.layer(demo.photograph(None)))
    assert len(steps) == demo.STEPS
    shares = [step.active for step in steps[1:]]
    assert 0 < shares[0] < shares[1] < shares[2] < 1
    assert all(step.difference <= demo.TOLERANCE for step in steps)
    assert [s.picture.shape for s in steps] == [(512, 512)] * 2 + [(256, 256)] * 2


def test_demo_says_when_the_results_differ(photo, monkeypatch):
    right = demo.conv2d
    monkeypatch.setattr(demo, "conv2d", lambda *a, **k: right(*a, **k) + np.float32(1e-3))
    result = run("demo", photo)
    assert result.exit_code == 1
    assert "differ from SciPy's in Filter" in result.output


@pytest.mark.parametrize("shape", [(1, 1), (1, 40), (40, 1), (2, 3), (3, 2), (7, 400)])
def test_demo_with_pictures_of_odd_shapes(shape):
    Image.fromarray(np.full(shape, 200, np.uint8)).save("odd.png")
    result = run("demo", "odd.png")
    assert result.exit_code == 0, result.output
    outcome("demo.png")


@pytest.mark.parametrize(
    ("pixels", "name", "expected"),
    [
        (np.array([[0, 255], [51, 204]], np.uint8), "grey.png", [[0, 1], [0.2, 0.8]]),
        (np.array([[0, 65535], [13107, 0]], np.uint16), "deep.png", [[0, 1], [0.2, 0]]),
        (np.array([[0, 1], [1, 0]], bool), "bits.png", [[0, 1], [1, 0]]),
        (np.array([[0.0, 0.5]], np.float32), "float.tif", [[0, 0.5]]),
        (np.array([[-2, 6], [0, 2]], np.float32), "wide.tif", [[0, 1], [0.25, 0.5]]),
        (np.array([[7, 7]], np.float32), "even.tif", [[0, 0]]),
        (np.array([[[9, 9, 9, 0], [0, 0, 0, 255]]], np.uint8), "clear.png", [[1, 0]]),
        (np.array([[[51, 255], [204, 0]]], np.uint8), "la.png", [[0.2, 0.8]]),
        (np.array([[[255, 0, 0], [255, 255, 255]]], np.uint8), "red.png", [[0.2125, 1]]),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_every_kind_of_picture_becomes_grey(pixels, name, expected):
    Image.fromarray(pixels).save(name)
    grey = demo.photograph(Path(name))
    assert grey.dtype == np.float32
    np.testing.assert_allclose(grey, expected, atol=1e-6)


# ---------------------------------------------------------------- refusals


def _files() -> None:
    Path("text.png").write_text("not a picture")
    Path("empty.png").write_bytes(b"")
    Path("taken.png").mkdir()
    Image.fromarray(np.zeros((64, 64), np.uint8)).save("whole.png")
    Path("cut.png").write_bytes(Path("whole.png").read_bytes()[:60])
    frames = [Image.new("RGB", (9, 7), colour) for colour in ("red", "blue")]
    frames[0].save("moving.gif", save_all=True, append_images=frames[1:])
    Image.fromarray(np.array([[0, np.nan]], np.float32)).save("nan.tif")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["absent.png"], "absent.png does not exist"),
        (["."], ". is a folder"),
        (["text.png"], "text.png cannot be read as a picture"),
        (["empty.png"], "empty.png cannot be read as a picture"),
        (["cut.png"], "cut.png cannot be read as a picture"),
        (["moving.gif"], "moving.gif holds an array of shape (2, 7, 9, 3)"),
        (["nan.tif"], "nan.tif has pixels that are infinite or not a number"),
        (["--output", "nowhere/demo.png"], "the folder nowhere does not exist"),
        (["--output", "demo.jpg"], "--output must end in .png; got demo.jpg"),
        (["whole.png", "--output", "taken.png"], "taken.png cannot be written"),
        (["--backend", "abacus"], "unknown backend 'abacus'; valid are auto, "),
        (["--backend", "cuda"], "backend 'cuda' is not available"),
        (["--threads", "0"], "Invalid value"),
        (["--threads", "many"], "Invalid value"),
        (["--no-such-option"], "No such option"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_demo_refuses(arguments, words):
    _files()
    if arguments[1:] == ["cuda"] and fastconv.backends()["cuda"] is None:
        pytest.skip("there is a CUDA device")
    result = run("demo", *arguments)
    assert result.exit_code == 2
    assert words in result.output
    assert isinstance(result.exception, SystemExit)  # not an exception that got away
    if result.output.startswith("fastconv:"):
        assert result.output.count("\n") == 1
    assert not Path("demo.png").exists()


@pytest.mark.parametrize(
    ("variable", "value"), [("FASTCONV_BACKEND", "abacus"), ("FASTCONV_BACKEND", "cuda")]
)
def test_demo_refuses_settings_from_the_environment(variable, value, monkeypatch):
    monkeypatch.setenv(variable, value)
    result = run("demo")
    assert result.exit_code == 2
    assert value in result.output


# ---------------------------------------------------------------- info and the door


def test_info_prints_the_configuration():
    result = run("info")
    assert result.exit_code == 0
    assert result.output == f"{fastconv.show_config()}\n"
    assert "backend numpy" in result.output


def test_help_names_the_commands():
    result = run("--help")
    assert result.exit_code == 0
    assert "demo" in result.output
    assert "info" in result.output


def process(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, encoding="utf-8",
        env={**os.environ, "PYTHONIOENCODING": "utf-8", **environment}, timeout=300,
    )


def test_as_a_program(photo):
    done = process("-m", "fastconv", "demo", str(photo), "--output", "here.png")
    assert done.returncode == 0, done.stderr
    assert "Condense 3×3" in done.stdout
    outcome("here.png")


def test_a_refusal_is_one_line(tmp_path):
    (tmp_path / "text.png").write_text("not a picture")
    done = process("-m", "fastconv", "demo", "text.png")
    assert done.returncode == 2
    assert done.stderr == "fastconv: text.png cannot be read as a picture\n"


def test_info_refuses_a_broken_setting():
    done = process("-m", "fastconv", "info", FASTCONV_NUM_THREADS="many")
    assert done.returncode == 2
    assert done.stderr.startswith("fastconv: FASTCONV_NUM_THREADS must be a positive integer")
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("missing", ["typer", "rich", "skimage", "matplotlib"])
def test_a_missing_package_is_named_with_its_cure(missing, photo):
    program = f"""
import sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name == {missing!r}:
            raise ModuleNotFoundError("No module named " + repr(name), name=name)

sys.meta_path.insert(0, Absent())
sys.argv = ["fastconv", "demo", {str(photo)!r}]
from fastconv.cli import main
main()
"""
    done = process("-c", program)
    assert done.returncode == 1
    assert done.stderr.strip() == (
        f'fastconv: {missing} is not installed; pip install "fastconv[report]"'
    )
    assert not Path("demo.png").exists()


# ---------------------------------------------------------------- tune


def test_tune_measures_and_keeps(tmp_path, monkeypatch):
    monkeypatch.setenv("FASTCONV_CACHE_DIR", str(tmp_path / "kept"))
    result = run("tune", "1x4x9x9", "6x4x3x3", "--padding", "same", "--seconds", "0.001")
    assert result.exit_code == 0, result.output
    for part in ("conv2d.direct@", "measured", "chosen: the fastest when tuned"):
        assert part in result.output
    assert len(list((tmp_path / "kept").glob("*/*.json"))) == 1


def test_tune_says_where_it_cannot_keep(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("FASTCONV_CACHE_DIR", str(tmp_path / "file"))
    result = run("tune", "1x4x7x9", "6x4x3x3", "--seconds", "0.001")
    assert result.exit_code == 0, result.output
    assert "not kept: " in result.output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("1x4x9", "6x4x3x3"), "4 axes"), (("1x4x9x9", "6x3x3x3"), "channels"),
        (("photo.png", "6x4x3x3"), "x_shape must be sizes such as"),
        (("1x4x9x9", "6x4x3x3", "--padding", "some"), "unknown padding"),
        (("1x4x9x9", "6x4x3x3", "--dtype", "int8"), "unknown dtype"),
    ],
)
def test_tune_refuses(arguments, message):
    result = run("tune", *arguments)
    assert result.exit_code == 2
    assert message in result.output
