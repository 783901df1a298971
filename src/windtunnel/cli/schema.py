"""`windtunnel schema`: what a sweep file may say, for editors."""

import json

import typer

from windtunnel.spec.sweep import Sweep


def command() -> None:
    """Print the JSON Schema of a sweep file.

    Editors complete and check TOML by it: save it, and put [cyan]#:schema sweep.schema.json[/] on top of a sweep.

    [bold]Example[/]

    windtunnel schema > sweep.schema.json
    """
    typer.echo(json.dumps(Sweep.model_json_schema(), indent=2, ensure_ascii=False))
