"""The commands of ``python -m fastconv``: arguments in, tables out."""

from __future__ import annotations

import json
import shlex
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, NoReturn

import typer
from rich import box
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from .bench import cases, records, run, selection
from .config import get_num_threads, options
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
    _check_output(output, ".png")
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
    _print(steps, output)
    if apart := [step.name for step in steps if not step.difference <= TOLERANCE]:
        typer.echo(f"fastconv: the results differ from SciPy's in {', '.join(apart)}", err=True)
        raise typer.Exit(1)


@app.command()
def bench(
    model: Annotated[
        list[str] | None, typer.Option(help="resnet50, vgg16 or mobilenet; may be repeated.")
    ] = None,
    layers: Annotated[
        str | None, typer.Option(help="Names such as 'resnet50.*', or a JSON file of layers.")
    ] = None,
    backends: Annotated[
        str | None, typer.Option(help="Such as cython,cuda; all that are here unless stated.")
    ] = None,
    algorithms: Annotated[
        str | None, typer.Option(help="Such as 'im2col,winograd*'; all unless stated.")
    ] = None,
    threads: Annotated[str | None, typer.Option(help="Such as 1,2; 1 and all unless stated.")]
    = None,
    batch: Annotated[str | None, typer.Option(help="Such as 1,16; each layer's own unless stated.")]
    = None,
    seconds: Annotated[float, typer.Option(min=0, help="Time for each kernel and case.")] = 0.2,
    precision: Annotated[str, typer.Option(help="strict, default or fast.")] = "default",
    output: Annotated[Path, typer.Option("--output", "-o", help="The JSON to write.")]
    = Path("bench.json"),
) -> None:
    """Time every kernel on the layers of networks; `report` makes a page of the JSON."""
    _check_output(output, ".json")
    try:
        chosen = selection.backends(backends)
        devices = selection.devices(chosen)
        counts = selection.numbers("--threads", threads, (1, get_num_threads()))
        plan = list(cases.cases(
            selection.layers(layers, model or ()), devices, backends=chosen,
            algorithms=selection.kernels(algorithms), threads=counts,
            batches=selection.numbers("--batch", batch), precision=precision,
        ))
    except (ValueError, OSError, BackendUnavailableError) as error:
        _refuse(str(error))
    if not plan:
        _refuse("no kernel of these backends and algorithms can serve any of these layers")
    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("Measuring the devices", total=sum(len(c.rows) for c in plan))
        added = records.environment(devices, counts, shlex.join(["fastconv", *sys.argv[1:]]))
        outcomes = []
        for outcome in run.run(plan, seconds, lambda: progress.advance(task)):
            progress.update(task, description=f"{outcome.case.layer}, batch {outcome.case.layer.N}")
            outcomes.append(outcome)
    measured = [o for o in outcomes if isinstance(o, run.Measured)]
    _save(output, json.dumps(records.document(measured, added), indent=1))
    typer.echo(f"Wrote {output}: {len(measured)} measurements")
    for failure in (o for o in outcomes if isinstance(o, run.Failed)):
        typer.echo(f"fastconv: not timed: {failure}", err=True)
    if len(measured) < len(outcomes):
        raise typer.Exit(1)


@app.command()
def report(
    results: Annotated[
        list[Path], typer.Argument(help="JSON of `bench`, or of pytest --benchmark-json.")
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="The page to write.")]
    = Path("report.html"),
) -> None:
    """Make one page of measurements: CPU against GPU, algorithms layer by layer, rooflines.

    It is a single file that needs no network.
    """
    _check_output(output, ".html")
    from .report import ReportError, page

    try:
        text = page(results)
    except ReportError as error:
        _refuse(str(error))
    _save(output, text)
    typer.echo(f"Wrote {output}")


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


def _check_output(output: Path, suffix: str) -> None:
    """Before anything is computed."""
    if output.suffix.lower() != suffix:
        _refuse(f"--output must end in {suffix}; got {output}")
    if not output.parent.is_dir():
        _refuse(f"the folder {output.parent} does not exist; make it first or change --output")
    if output.is_dir():
        _refuse(f"{output} cannot be written: it is a folder")


def _save(output: Path, text: str) -> None:
    try:
        output.write_text(text, encoding="utf-8")
    except OSError as error:
        _refuse(f"{output} cannot be written: {error.strerror}")


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


def _print(steps: Sequence[Step], output: Path) -> None:
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
