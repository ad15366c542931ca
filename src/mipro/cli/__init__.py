"""The command `mipro`."""

from __future__ import annotations

from typing import Annotated

import typer

from mipro._version import __version__
from mipro.errors import MiproError

app: typer.Typer = typer.Typer(
    name="mipro",
    help="MIPROv2, standalone: improves the prompts of language-model programs on your data.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

DEFAULT_MODEL = "qwen2.5-coder-0.5b-instruct"


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"mipro {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool,
        typer.Option("--version", help="Show the version and exit.", callback=_show_version, is_eager=True),
    ] = False,
) -> None:
    del version


@app.command()
def pull(
    model: Annotated[str, typer.Argument(help="Name of an embedded model.")] = DEFAULT_MODEL,
) -> None:
    """Fetch the weights of an embedded model, verify them and keep them in the cache folder."""
    from mipro import fetch  # noqa: PLC0415 - loaded when used

    typer.echo(fetch.pull(model, progress=True))


@app.command()
def demo(
    model: Annotated[
        str, typer.Option(help="Embedded model that runs the program and proposes.")
    ] = DEFAULT_MODEL,
    seed: Annotated[int, typer.Option(help="Seeds everything that is drawn.")] = 0,
    search: Annotated[str, typer.Option(help="bayes, tpe, random or halving.")] = "bayes",
    out: Annotated[str, typer.Option(help="Where to save the best program.")] = "best.json",
    run_dir: Annotated[
        str | None, typer.Option(help="Folder of the run; given again, the run resumes.")
    ] = None,
    picture: Annotated[str | None, typer.Option(help="Where to save the result as an SVG picture.")] = None,
) -> None:
    """Improve a deliberately vague one-line program on a real model and real data, offline."""
    from mipro.cli._demo import run_demo  # noqa: PLC0415 - loaded when used

    run_demo(model=model, seed=seed, search=search, out=out, run_dir=run_dir, picture=picture)


def main() -> None:
    """Run the command; an error of mipro is shown as one message, without a traceback."""
    try:
        app()
    except MiproError as error:
        typer.echo(f"error: {error}", err=True)
        raise SystemExit(1) from error
