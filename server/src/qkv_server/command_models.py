"""The commands `qkv-server models …`: the folder of models, looked at and added to without a running server."""

import os
import shutil
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import click

from qkv.cli.tables import parameter_count, rounded
from qkv_server.operations.server import MissingExtraError
from qkv_server.packaged_models import PACKAGED, packaged_model
from qkv_server.transformers import gguf_parts
from qkv_server.transformers.errors import ModelFileError
from qkv_server.transformers.repository.folder import NAMES, is_name, scan

if TYPE_CHECKING:
    from qkv_server.transformers.files import ModelFiles, Progress

FOLDER = click.option(
    "--folder",
    type=click.Path(file_okay=False, path_type=Path),
    default="models",
    envvar="QKV_MODELS",
    show_default=True,
    show_envvar=True,
    help="The folder of models.",
)
COPY = click.option("--copy", is_flag=True, help="Copy the files: a container does not see what links lead to.")
COLUMNS = ("name", "state", "architecture", "parameters", "size")


@click.group()
def models() -> None:
    """The models that a server finds in a folder."""


@models.command()
@click.argument("path", type=click.Path(exists=True, path_type=Path))
@click.option("--name", help="What it is called; the name of the file or folder if not given.")
@COPY
@FOLDER
def add(path: Path, name: str | None, copy: bool, folder: Path) -> None:
    """Add the model at PATH, a folder or a .gguf file (of several parts any), by a link to it or a copy.

    A running server serves it within seconds.
    """
    path = Path(os.path.abspath(path))  # no link is followed: its name may be all that tells a .gguf file
    _add(folder, name or gguf_parts.model_name(path), path, copy=copy)


@models.command("add-packaged")
@COPY
@FOLDER
def add_packaged(copy: bool, folder: Path) -> None:
    """Add the models that installed packages bring (server/models.txt)."""
    for name in PACKAGED:
        path = packaged_model(name)
        if path is None:
            click.echo(f"{name}: its package is not installed")
        elif (folder / name).is_dir() and not (folder / name).is_symlink():
            click.echo(f"{name}: is there already, in a folder of its own")
        else:
            _add(folder, name, path, copy=copy)


@models.command("list")
@FOLDER
def list_models(folder: Path) -> None:
    """List the models, each loaded for a moment: what they are, or why they cannot be used."""
    try:
        found = scan(folder)
    except OSError as error:
        raise click.ClickException(f"{folder}: {error.strerror}") from None
    rows = [COLUMNS, *(_row(name, path) for name, path in sorted(found.models.items()))]
    rows += [(repr(name), f"left out: names are of {NAMES}") for name in sorted(found.misnamed)]
    widths = [max(len(row[column]) for row in rows if len(row) == len(COLUMNS)) for column in range(len(COLUMNS))]
    for row in rows:
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=False)).rstrip())


def _row(name: str, path: Path) -> tuple[str, ...]:
    try:
        files = _loaded(name, path)
    except ModelFileError as error:
        return name, f"failed: {error}"
    return (
        name,
        "ready",
        str(files.config.get("model_type")),
        parameter_count(files.weights.parameters),
        rounded(files.weights.nbytes, "B"),
    )


def _loaded(name: str, path: Path) -> "ModelFiles":
    """The files of a model that can be loaded. Raises ModelFileError."""
    try:
        from qkv_server.transformers.files import read_model  # noqa: PLC0415 - needs an extra
        from qkv_server.transformers.loading import load  # noqa: PLC0415 - as above
    except ModuleNotFoundError as error:
        raise click.ClickException(str(MissingExtraError("models", "models", error.name))) from error
    files = read_model(path, _progress_of(name))
    load(files)
    return files


def _add(folder: Path, name: str, path: Path, *, copy: bool) -> None:
    """Load a model, so that none is added that cannot be, and link to it or copy it."""
    if not is_name(name):
        raise click.ClickException(f"{name!r} is no name: {NAMES}")
    place = folder / name
    if os.path.lexists(place) and os.path.realpath(place) != os.path.realpath(path):
        raise click.ClickException(f"{place} is there already; remove it, or give another --name")
    try:
        if copy:
            files = _copy(name, path, place)
        else:
            files = _loaded(name, path)
            folder.mkdir(parents=True, exist_ok=True)
            if not place.is_symlink():
                place.symlink_to(path)
    except (ModelFileError, OSError) as error:
        raise click.ClickException(str(error)) from None
    parameters = parameter_count(files.weights.parameters)
    click.echo(f"{name}: {files.config.get('model_type')}, {parameters} parameters")


def _copy(name: str, path: Path, place: Path) -> "ModelFiles":
    """Make a folder of the files of a model, whole and loaded once when it gets its place; what it is then.

    It is the copy that is loaded, so that what has to be converted is converted once: it may be moved after.
    """
    if place.parent.resolve().is_relative_to(path.resolve()):
        raise click.ClickException(
            f"{place.parent} lies in {path}, and would be copied into itself: give another --folder"
        )
    place.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=".adding-", dir=place.parent) as scratch:  # hidden ones are no models
        copied = Path(scratch) / name
        file = gguf_parts.named(path)
        if file is None:
            shutil.copytree(path, copied)
        else:
            copied.mkdir()
            for part in gguf_parts.present(file):
                shutil.copyfile(part, copied / part.name)
        files = _loaded(name, copied)
        place.unlink(missing_ok=True)  # a link to the same model
        copied.rename(place)
    return files


def _progress_of(name: str) -> "Progress":
    """Says on standard error how far a conversion is; without a terminal, that there is one."""

    def progress(done: float) -> None:
        if sys.stderr.isatty():
            click.echo(f"\rconverting {name} {done:4.0%}", nl=done == 1, err=True)
        elif done == 0:
            click.echo(f"converting {name} …", err=True)

    return progress
