"""TOML of unknown origin: one file is refused and named, whoever reads it; all else goes on."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sai_core.errors import InputError
from sai_core.postprocess.systems import list_systems, load_system, parse_system, refused_systems
from sai_core.runs.kinds import KINDS
from sai_core.settings import build, parse_toml, read_toml
from sai_core.training.config import TrainingConfig

HOSTILE = {
    "digits": "x = " + "9" * 5000,
    "hex digits": "x = 0x" + "f" * 5000,
    "brackets": "x = " + "[" * 5000 + "]" * 5000,
    "tables": "x = " + "{a = " * 5000 + "1" + "}" * 5000,
    "dotted": "[" + ".".join("a" * 5000) + "]",
    "dotted key": ".".join("a" * 5000) + " = 1",
    "large": "x = 1\n" * 1 + "#" * (2 << 20),
    "no text": "x = '\udc80'",
    "no toml": "= 1",
    "beyond 64 bits": "x = 9223372036854775808",
}


@pytest.fixture(params=list(HOSTILE))
def hostile(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    path = tmp_path / "systems" / "hostile.toml"
    path.parent.mkdir()
    path.write_bytes(('name = "Hostile"\n' + HOSTILE[request.param]).encode("utf-8", "surrogateescape"))
    return path


def test_every_reader_refuses_it_in_one_sentence(hostile: Path) -> None:
    for read in (parse_toml, read_toml, KINDS["detector"].read_config, load_system):
        with pytest.raises(InputError) as error:
            read(hostile)
        said = str(error.value)
        assert said.startswith(f"{hostile}: ")
        assert "\n" not in said
        assert len(said) < 500


def test_one_file_of_the_users_folder_takes_nothing_else_down(hostile: Path) -> None:
    (hostile.parent / "mine.toml").write_text('name = "Mine"')
    names = [system.name for system in list_systems(hostile.parent)]
    assert names == [*(system.name for system in list_systems()), "Mine"]
    (sentence,) = refused_systems(hostile.parent)
    assert sentence.startswith(f"{hostile}: ")


def test_pipes_and_folders_are_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.toml")
    (tmp_path / "folder.toml").mkdir()
    for name in ("pipe.toml", "folder.toml"):
        with pytest.raises(InputError, match="is not a regular file"):
            parse_toml(tmp_path / name)
    assert len(list_systems(tmp_path)) == len(list_systems())


@pytest.mark.parametrize("value", ["9" * 5000, "[" * 5000 + "]" * 5000])
def test_an_override_is_refused_in_one_sentence(value: str) -> None:
    with pytest.raises(InputError) as error:
        KINDS["detector"].read_config("small_a", [f"epochs={value}"])
    assert len(str(error.value)) < 300


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.dates() | st.times(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
keys = st.sampled_from(["name", "title", "version", "track", "clean", "settings", "format", "epochs", "loss", "model"])


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(st.dictionaries(keys | st.text(max_size=5), values, max_size=4))
def test_any_content_is_taken_or_refused(content: dict[str, object]) -> None:
    with suppress(InputError):
        parse_system(content)
    with suppress(InputError):
        parse_system({"name": "x", "settings": content})
    with suppress(InputError):
        build(TrainingConfig, content, "file")
