"""What ``pip install`` makes: the wheel in an empty folder, without the repository."""

from __future__ import annotations

import argparse
import json
import os
import re
import signal
import socket
import subprocess
import sys
import tomllib
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from sai_core import __version__, cli, environment
from sai_core.installation import SHIPPED_NETWORKS, asset, network_path, program_folder

REPOSITORY = Path(__file__).resolve().parents[1]


def _requirements(lines: list[str]) -> dict[str, str]:
    found = (re.match(r"([A-Za-z0-9][\w.-]*)\s*([^#]*)", line) for line in lines)
    return {match[1]: match[2].strip() for match in found if match}


def test_requirements_and_the_package_ask_for_the_same() -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text("utf-8"))["project"]
    extras = project["optional-dependencies"]
    run = _requirements(project["dependencies"] + extras["train"])
    assert run == _requirements((REPOSITORY / "requirements.txt").read_text("utf-8").splitlines())
    tests = _requirements((REPOSITORY / "tests" / "requirements.txt").read_text("utf-8").splitlines())
    assert _requirements(extras["docs"] + extras["server"] + extras["notebook"]).items() <= tests.items()


def test_in_the_repository_the_program_is_the_repository() -> None:
    assert program_folder() == REPOSITORY
    assert asset("weights", "uplam.safetensors").is_file()


def test_detectors_that_ship_have_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert SHIPPED_NETWORKS.keys() == {"track-A", "track-B"}
    assert all(network_path(name).is_file() for name in SHIPPED_NETWORKS)
    assert network_path("own.pth") == Path("own.pth")
    Path("track-A").touch()  # a user's own file of that name is what is meant
    assert network_path("track-A") == Path("track-A")


def test_the_overview_says_of_every_verb_what_the_verb_says() -> None:
    def lines(parser: argparse.ArgumentParser) -> dict[str, str | None]:
        (choices,) = (a for a in parser._actions if isinstance(a, argparse._SubParsersAction))
        return {choice.dest: choice.help for choice in choices._choices_actions}

    overview = lines(cli._overview())
    assert overview == lines(cli.build_parser())
    assert all(overview.values())


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, installed into a folder of its own (what it needs comes from this environment)."""
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder / "dist")]
    subprocess.run(build, cwd=REPOSITORY, check=True, capture_output=True)
    (wheel,) = (folder / "dist").glob("*.whl")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--no-compile"]
    subprocess.run([*pip, "--target", str(folder / "site"), str(wheel)], check=True, capture_output=True)
    wheel.unlink()
    return folder / "site"


@pytest.fixture
def environ(installed: Path) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(installed), "PYTHONSAFEPATH": "1"}


def _run(command: list[str], cwd: Path, environ: dict[str, str]) -> str:
    done = subprocess.run(command, cwd=cwd, env=environ, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
def test_the_wheel_has_the_program_the_demo_and_the_weights(
    installed: Path, environ: dict[str, str], tmp_path: Path
) -> None:
    # one module besides the package's own data: no "pages", no "tests" in anybody's environment
    assert sorted(p.name for p in installed.iterdir() if "dist-info" not in p.name) == ["bin", "sai_core"]
    sai = [sys.executable, str(installed / "bin" / "sai")]
    assert _run([*sai, "--version"], tmp_path, environ) == f"SAI Explorer {__version__}\n"
    facts = """
import json
from sai_core.dataset import demo_root, open_data_root
from sai_core.acoustics.features import SHIPPED_UPLAM
from sai_core.teacher import SHIPPED_TEACHER
from sai_core.environment import required_packages
import sai_core
print(json.dumps([sai_core.__file__, len(open_data_root(demo_root()).recordings),
                  SHIPPED_UPLAM.is_file() and SHIPPED_TEACHER.is_file(), required_packages()]))
"""
    place, recordings, weights, packages = json.loads(_run([sys.executable, "-c", facts], tmp_path, environ))
    assert Path(place).parent == installed / "sai_core"
    assert recordings == 4
    assert weights
    own = environment.required_packages()
    assert packages.keys() == own.keys()
    assert {name: set(bounds.split(",")) for name, bounds in packages.items()} == {
        name: set(bounds.split(",")) for name, bounds in own.items()
    }


_FIRST_PAGE = """
import json, sys
from streamlit.testing.v1 import AppTest
from sai_core.installation import SHIPPED_NETWORKS, asset, network_path, program_folder
sys.path.insert(0, str(program_folder()))  # as `streamlit run` does
app = AppTest.from_file(str(program_folder() / "app.py"), default_timeout=120).run()
import pages
print(json.dumps([[str(e.value) for e in app.exception], len(app.main.children), pages.__file__]))
"""


@pytest.mark.slow
def test_the_installed_app_draws_and_is_served(installed: Path, environ: dict[str, str], tmp_path: Path) -> None:
    output = _run([sys.executable, "-c", _FIRST_PAGE], tmp_path, environ)
    exceptions, drawn, place = json.loads(output.splitlines()[-1])
    assert exceptions == []
    assert drawn > 0
    assert Path(place).is_relative_to(installed / "sai_core" / "_program")

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, str(installed / "bin" / "sai"), "app", "--no-browser", "--port", str(port)]
    data = tmp_path / "mine & yours"
    data.mkdir()
    server = subprocess.Popen([*command, "--data", data.name], cwd=tmp_path, env=environ, stdout=subprocess.PIPE)
    try:
        assert server.stdout is not None
        printed = b""
        while b"SAI Explorer" not in printed:
            line = server.stdout.readline()
            assert line, "the app ended"
            printed = line
        # the guard and the theme are there: a name that is not this computer's gets nothing
        assert f"http://127.0.0.1:{port}/?root=".encode() in printed
        assert b"mine+%26+yours" in printed
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=60) as answer:
            assert answer.status == 200
        foreign = urllib.request.Request(f"http://127.0.0.1:{port}/", headers={"Host": "evil.example"})
        with pytest.raises(urllib.error.HTTPError):
            urllib.request.urlopen(foreign, timeout=60)
        # a second one is refused in a sentence
        again = subprocess.run([*command], cwd=tmp_path, env=environ, capture_output=True, text=True, check=False)
        assert again.returncode == 2
        assert "is in use" in again.stderr
        server.send_signal(signal.SIGTERM)
        server.wait(60)
    finally:
        server.kill()
        server.communicate()
    with socket.socket() as free:
        free.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        free.bind(("127.0.0.1", port))  # nobody is left behind


@pytest.mark.parametrize(
    ("arguments", "words"),
    [(["--data", "nowhere"], "nowhere: there is no such folder"), (["--port", "0"], "choose a number from 1 to 65535")],
)
def test_app_says_what_is_wrong(arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["app", *arguments]) == 2
    assert words in capsys.readouterr().err
