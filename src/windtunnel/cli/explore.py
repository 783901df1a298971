"""`windtunnel explore`: the store in a browser, through datasette."""

import importlib.util
import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer

from windtunnel.cli import EXIT_INTERRUPTED
from windtunnel.errors import RunError, UnsupportedError
from windtunnel.records.store import DEFAULT_STORE, FILE_NAME, read_store


def command(
    store: Annotated[Path, typer.Argument(metavar="STORE", help="Folder of the store.")] = DEFAULT_STORE,
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="Port on this machine; 0: any.")] = 8001,
    open_browser: Annotated[bool, typer.Option("--open", help="Open a browser there.")] = False,
) -> None:
    """Browse the tables of a store, read-only, on this machine only; needs datasette.

    [bold]Example[/]

    windtunnel explore my-results --open
    """
    read_store(store).close()  # its message says what is wrong with the folder
    if importlib.util.find_spec("datasette") is None:
        raise UnsupportedError(
            "explore needs datasette, which is not installed: pip install 'windtunnel[explore]'; "
            f"or open {store / FILE_NAME} with any SQLite tool"
        )
    # Not --immutable: that would pass over what still is in the write-ahead log. It opens files read-only by default.
    arguments = ["serve", str(store / FILE_NAME), "--host", "127.0.0.1", "--port", str(port)]
    try:
        code = subprocess.call([sys.executable, "-m", "datasette", *arguments, *(["--open"] if open_browser else [])])
    except KeyboardInterrupt:
        raise typer.Exit(EXIT_INTERRUPTED) from None
    if code:
        raise RunError(f"datasette ended with exit code {code}; is port {port} taken? choose another with --port")
