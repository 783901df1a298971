"""`windtunnel schema`: what a sweep file may say, for editors."""

import json

import typer

from windtunnel.spec.sweep import sweep_schema


def command() -> None:
    """Print the JSON Schema of a sweep file, of steps or (with `kind = "attention"`) of attention alone.

    Editors complete and check TOML by it: save it, and put [cyan]#:schema sweep.schema.json[/] on top of a sweep.

    [bold]Example[/]

    windtunnel schema > sweep.schema.json
    """
    typer.echo(json.dumps(sweep_schema(), indent=2, ensure_ascii=False))
