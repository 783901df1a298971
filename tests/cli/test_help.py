"""The help pages teach, and cost nothing."""

import subprocess
import sys

import pytest

from calling import CallCli
from windtunnel.cli import _COMMANDS, _load


def test_help_loads_neither_torch_nor_pydantic_nor_numpy() -> None:
    code = (
        "import sys, contextlib\n"
        "sys.argv = ['windtunnel', '--help']\n"
        "from windtunnel.cli import main\n"
        "with contextlib.suppress(SystemExit): main()\n"
        "slow = {'torch', 'pydantic', 'numpy', 'triton', 'plotly'} & set(sys.modules)\n"
        "print('loaded:', sorted(slow), file=sys.stderr)\n"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert "Measure" in done.stdout
    assert "loaded: []" in done.stderr


@pytest.mark.parametrize("name", sorted(_COMMANDS))
def test_every_command_has_a_help_page_with_an_example(cli: CallCli, name: str) -> None:
    outcome = cli(name, "--help")

    assert outcome.code == 0
    assert "Example" in outcome.out
    assert f"windtunnel {name}" in outcome.out


@pytest.mark.parametrize("name", sorted(_COMMANDS))
def test_a_command_that_writes_a_report_writes_it_in_any_language(name: str) -> None:
    options = {option for parameter in _load(name).params for option in parameter.opts}

    assert "--report" not in options or "--lang" in options


def test_version_is_that_of_the_package(cli: CallCli) -> None:
    import windtunnel

    outcome = cli("--version")

    assert outcome.out.strip() == f"windtunnel {windtunnel.__version__}"


def test_schema_is_json_that_names_every_field_of_sweeps_of_both_kinds(cli: CallCli) -> None:
    import json

    from windtunnel.spec.attention_sweep import AttentionSweep
    from windtunnel.spec.sweep import Sweep

    outcome = cli("schema")

    definitions = json.loads(outcome.out)["$defs"]
    assert set(definitions["Sweep"]["properties"]) == set(Sweep.model_fields)
    assert set(definitions["AttentionSweep"]["properties"]) == set(AttentionSweep.model_fields)
