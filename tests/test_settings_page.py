"""docs/settings.md is made from the settings themselves (with SAI_UPDATE_DOCS=1 in the environment, by this test)."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import pytest

from sai_core.cli import main
from sai_core.errors import InputError
from sai_core.postprocess.pipeline import PipelineSettings
from sai_core.runs.kinds import KINDS
from sai_core.settings import Settings, about, build, describe, markdown_table
from sai_core.training.uplam.config import StageConfig
from sai_core.training.uplam.config import TrainingConfig as UplamConfig

REPOSITORY = Path(__file__).resolve().parents[1]
PAGE = REPOSITORY / "docs" / "settings.md"


def page() -> str:
    parts = [
        "# Settings",
        "Made from the fields themselves (`SAI_UPDATE_DOCS=1 python -m pytest tests/test_settings_page.py`); the same\n"
        "tables on the command line: `python -m sai_core settings detector`. Recipes are TOML files; `--set\n"
        "NAME=VALUE` and the Train page's *Changed settings* change single ones. `N` numbers entries, from 0.",
    ]
    for kind in KINDS.values():
        parts += [f"## {kind.title}: `train {kind.name}`", markdown_table(kind.settings())]
    parts += [
        "## Systems",
        "Of post-processing, in a system's `[settings]` and on the Tune page.",
        markdown_table(describe(PipelineSettings)),
    ]
    return "\n\n".join(parts) + "\n"


def test_the_page_is_what_the_fields_say() -> None:
    if os.environ.get("SAI_UPDATE_DOCS"):
        PAGE.write_text(page(), encoding="utf-8")
    assert PAGE.read_text(encoding="utf-8") == page()


@pytest.mark.parametrize("name", [*KINDS, "system"])
def test_every_setting_says_what_it_means(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["settings", name, "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert listed
    for setting in listed:
        assert len(setting["help"]) > 3, setting["name"]
        assert setting["wanted"] != "another value", setting["name"]
        assert not setting["help"].endswith("."), setting["name"]


def test_settings_are_listed_without_torch() -> None:
    code = (
        "import sys; from sai_core.runs.kinds import KINDS\n"
        "[kind.settings() for kind in KINDS.values()]; print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


@dataclass(frozen=True, kw_only=True)
class _Mine(Settings):
    """A setting is one line."""

    share: Annotated[float, about("a new setting", label="Share of it", unit="s", ge=0, lt=1)] = 0.5


def test_a_new_setting_is_one_line_and_everywhere() -> None:
    (setting,) = describe(_Mine)
    assert (setting.label, setting.unit, setting.low, setting.high) == ("Share of it", "s", 0, 1)
    assert "| `share` | a new setting, in s | a number of at least 0 and below 1 | `0.5` |" in markdown_table([setting])
    assert build(_Mine, {"share": 0}, "x.toml").share == 0.0
    with pytest.raises(InputError, match=r"x.toml: share is 1; a number of at least 0 and below 1 is needed\."):
        build(_Mine, {"share": 1}, "x.toml")
    with pytest.raises(InputError, match="unknown settings shar; known are share"):
        build(_Mine, {"shar": 1}, "x.toml")


@pytest.mark.parametrize("stages", [(), [1], "maps", ({"steps": 3},)])
def test_a_list_of_tables_holds_tables_alone(stages: object) -> None:
    with pytest.raises(InputError, match=r"stages is .*; a list of at least one table is needed\."):
        UplamConfig(stages=stages)  # type: ignore[arg-type]
    assert build(UplamConfig, {"stages": [{"steps": 3}]}, "x.toml").stages == (StageConfig(steps=3),)
