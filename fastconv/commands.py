"""The commands of ``python -m fastconv``: arguments in, tables out."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, NoReturn

import typer
from rich import box
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from .config import options
from .demo import ACTIVE, STEPS, TOLERANCE, PhotoError, Picture, Step, draw, layer, photograph
from .environment import show_config
from .errors import BackendUnavailableError
from .explanation import explain
from .tuner import tune

app = typer.Typer(
    help="conv2d, activations and pooling for NumPy arrays.", no_args_is_help=True,
    add_completion=False, pretty_exceptions_enable=False,
)


@app.command()
def demo(
    photo: Annotated[
        Path | None, typer.Argument(help="A picture; without it, one from scikit-image.")
    ] = None,
    output: Annotated[Path, typer.Option(help="The PNG to write.")] = Path("demo.png"),
    backend: Annotated[str, typer.Option(help="The backend to use.")] = "auto",
    threads: Annotated[int | None, typer.Option(min=1, help="How many threads to use.")] = None,
) -> None:
    """Filter, Detect, Condense: a photograph through one layer, timed beside SciPy."""
    if output.suffix.lower() != ".png":
        _refuse(f"--output must end in .png; got {output}")
    if not output.parent.is_dir():
        _refuse(f"the folder {output.parent} does not exist; make it first or change --output")
    with options(backend=backend, threads=threads):
        try:
            show_config()  # shows at once whether threads and instruction set can be had,
            explain("relu", (1,))  # and the backend
            picture = photograph(photo)
        except (ValueError, BackendUnavailableError, PhotoError) as error:
            _refuse(str(error))
        steps = _run(picture)
    try:
        draw(picture, steps, output)
    except OSError as error:
        _refuse(f"{output} cannot be written: {error.strerror}")
    _report(steps, output)
    if apart := [step.name for step in steps if not step.difference <= TOLERANCE]:
        typer.echo(f"fastconv: the results differ from SciPy's in {', '.join(apart)}", err=True)
        raise typer.Exit(1)


@app.command()
def info() -> None:
    """Versions, instruction sets, threads, backends and environment variables."""
    try:
        typer.echo(show_config())
    except ValueError as error:
        _refuse(str(error))


@app.command("tune")
def tune_command(
    x_shape: Annotated[str, typer.Argument(help="The input's shape, such as 1x64x56x56.")],
    w_shape: Annotated[str, typer.Argument(help="The weights' shape, such as 64x64x3x3.")],
    stride: Annotated[int, typer.Option()] = 1,
    padding: Annotated[str, typer.Option(help='A number, "same", "valid" or "full".')] = "0",
    dilation: Annotated[int, typer.Option()] = 1,
    groups: Annotated[int, typer.Option()] = 1,
    layout: Annotated[str, typer.Option(help="NCHW or NHWC.")] = "NCHW",
    dtype: Annotated[str, typer.Option()] = "float32",
    precision: Annotated[str, typer.Option(help="strict, default or fast.")] = "default",
    threads: Annotated[int | None, typer.Option(min=1, help="How many threads to use.")] = None,
    seconds: Annotated[float, typer.Option(help="Time for each kernel.")] = 0.2,
) -> None:
    """Measure every kernel on one convolution; the fastest serves it from now on."""
    with options(threads=threads), warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # the table says it too
        try:
            tuning = tune(
                "conv2d", _shape("x_shape", x_shape), _shape("w_shape", w_shape), stride=stride,
                padding=int(padding) if padding.isdecimal() else padding, dilation=dilation,
                groups=groups, layout=layout, dtype=dtype, precision=precision, seconds=seconds,
            )
        except (ValueError, TypeError) as error:
            _refuse(str(error))
    for call in tuning.calls:
        typer.echo(call.explanation)
        if call.gain > 1:
            typer.echo(f"{call.gain:.2f} × as fast as {call.before}, which was predicted")
    if tuning.not_kept:
        typer.echo(f"not kept: {tuning.not_kept}")


def _shape(name: str, text: str) -> tuple[int, ...]:
    sizes = text.lower().replace("×", "x").replace(",", "x").split("x")
    if not all(size.strip().isdecimal() for size in sizes):
        _refuse(f"{name} must be sizes such as 1x64x56x56; got {text!r}")
    return tuple(map(int, sizes))


def _refuse(message: str) -> NoReturn:
    """End with a line that says what is wrong with the request."""
    typer.echo(f"fastconv: {message}", err=True)
    raise typer.Exit(2)


def _run(picture: Picture) -> list[Step]:
    """All steps, with a bar for those who wait."""
    steps = []
    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("Timing fastconv and SciPy", total=STEPS)
        for step in layer(picture):
            steps.append(step)
            progress.advance(task)
    return steps


def _report(steps: Sequence[Step], output: Path) -> None:
    threads = max(step.threads for step in steps)
    table = Table(
        box=box.SIMPLE_HEAD, show_edge=False, padding=0, caption_justify="left",
        caption=(
            f"Best of several runs, in turns; fastconv with up to {threads} "
            f"{'thread' if threads == 1 else 'threads'}, SciPy and NumPy have one. "
            "Their side: ndimage.correlate, numpy.maximum, ndimage.maximum_filter[::2, ::2]."
        ),
    )
    table.add_column("Step", no_wrap=True)
    table.add_column("Kernel", overflow="fold", min_width=16)  # folds below 80 columns
    for title in ("fastconv", "SciPy", "Speed-up", "Differs"):
        table.add_column(title, justify="right", no_wrap=True)
    for step in steps:
        table.add_row(
            step.name, step.kernel, f"{step.seconds * 1e3:.3f} ms",
            f"{step.scipy_seconds * 1e3:.3f} ms", f"{step.scipy_seconds / step.seconds:.3g}×",
            f"{step.difference:.1e}",
        )
    console = Console()
    if not console.is_terminal:
        console.width = 100  # a file or a pipe has no width of its own
    console.print(table)
    shares = ", ".join(f"{step.name} {step.active:.1%}" for step in steps[1:])
    console.print(f"Active pixels (above {ACTIVE}): {shares}", soft_wrap=True, highlight=False)
    console.print(f"Wrote {output}", soft_wrap=True, highlight=False, markup=False)
