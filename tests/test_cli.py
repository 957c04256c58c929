"""Exit codes and messages of the command line."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from sai_core import cli
from sai_core.errors import CancelledError, EnvironmentProblem, InputError

REPOSITORY = Path(__file__).resolve().parents[1]


@pytest.fixture
def verb(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], int | None]], None]:
    """Replace all verbs by one, ``work``, that does what the test says."""

    def install(action: Callable[[], int | None]) -> None:
        def build(only: str | None = None) -> argparse.ArgumentParser:
            parser = cli._Parser(prog="python -m sai_core")
            work = parser.add_subparsers(dest="verb", required=True).add_parser("work")
            work.add_argument("--count", type=int)
            work.set_defaults(run=lambda args: action())
            return parser

        monkeypatch.setattr(cli, "build_parser", build)
        monkeypatch.setattr(cli, "_overview", build)
        monkeypatch.setattr(cli, "verbs", lambda: ["work"])

    return install


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (InputError("a.json: no such file; check the path."), 2, "error: a.json: no such file; check the path.\n"),
        (CancelledError("stopped by the user"), 2, "error: stopped by the user\n"),
        (EnvironmentProblem("the disk is full"), 1, "error: the disk is full\n"),
        (KeyboardInterrupt(), 1, "stopped\n"),
    ],
)
def test_errors_become_exit_codes(
    verb: Callable, capsys: pytest.CaptureFixture[str], error: BaseException, code: int, message: str
) -> None:
    def fail() -> None:
        raise error

    verb(fail)
    assert cli.main(["work"]) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert err == message


def test_a_bug_shows_its_traceback(verb: Callable, capsys: pytest.CaptureFixture[str]) -> None:
    def fail() -> None:
        raise ZeroDivisionError("a bug")

    verb(fail)
    assert cli.main(["work"]) == 1
    err = capsys.readouterr().err
    assert "Traceback" in err
    assert "a bug" in err


@pytest.mark.parametrize(("returned", "code"), [(None, 0), (0, 0), (1, 1), (2, 2)])
def test_what_a_verb_returns_is_the_exit_code(verb: Callable, returned: int | None, code: int) -> None:
    verb(lambda: returned)
    assert cli.main(["work"]) == code


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "required: verb"),
        (["nonsense"], "invalid choice: 'nonsense'"),
        (["work", "--count", "many"], "invalid int value: 'many'"),
        (["work", "--nonsense"], "unrecognized arguments: --nonsense"),
    ],
)
def test_wrong_calls_are_one_sentence(
    verb: Callable, capsys: pytest.CaptureFixture[str], arguments: list[str], words: str
) -> None:
    verb(lambda: 0)
    with pytest.raises(SystemExit) as leaving:
        cli.main(arguments)
    assert leaving.value.code == 2
    err = capsys.readouterr().err
    assert words in err
    assert "--help" in err
    assert err.count("\n") == 1


def test_there_are_verbs_and_each_has_an_example(capsys: pytest.CaptureFixture[str]) -> None:
    assert "doctor" in cli.verbs()
    with pytest.raises(SystemExit) as leaving:
        cli.main(["doctor", "--help"])
    assert leaving.value.code == 0
    assert "python -m sai_core doctor" in capsys.readouterr().out


def run_in_shell(command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", "-o", "pipefail", "-c", command],
        capture_output=True,
        text=True,
        timeout=120,
        cwd=REPOSITORY,
        # buffered, as in a user's shell
        env={**{k: v for k, v in os.environ.items() if k != "PYTHONUNBUFFERED"}, "PY": sys.executable},
        check=False,
    )


def test_from_a_shell() -> None:
    done = run_in_shell('"$PY" -m sai_core doctor --data /no/such/folder')
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr == "error: /no/such/folder: no such folder; check the path of the data root.\n"
    assert run_in_shell('"$PY" -m sai_core doctor --help').returncode == 0


@pytest.mark.parametrize("lines", [1, 300_000])
def test_a_reader_that_goes_away_is_no_error(lines: int) -> None:
    code = (
        "import sys; from sai_core import cli; import sai_core.commands.doctor as d;"
        f"d.run = lambda args: sum(print(n) or 0 for n in range({lines}));"
        "sys.exit(cli.main(['doctor']))"
    )
    done = run_in_shell(f'{{ sleep 0.3; "$PY" -c "{code}"; }} | true')
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""


def test_help_of_a_verb_does_not_wait_for_torch() -> None:
    code = (
        "import sys; from sai_core import cli\n"
        "try: cli.main(['doctor', '--help'])\n"
        "except SystemExit: pass\n"
        "sys.exit('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, timeout=60, check=False)
    assert done.returncode == 0
