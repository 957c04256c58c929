"""The documentation as a site: it builds without a warning, every link leads somewhere, and nothing is fetched."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from sai_core import cli

REPOSITORY = Path(__file__).resolve().parents[1]


def _build(config: Path, out: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "-f", str(config), "-d", str(out)]
    environ = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    return subprocess.run(command, cwd=REPOSITORY, env=environ, capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_the_site_builds_and_needs_no_network(tmp_path: Path) -> None:
    done = _build(REPOSITORY / "mkdocs.yml", tmp_path / "site")
    assert done.returncode == 0, done.stdout + done.stderr
    pages = {path.stem: path.read_text("utf-8") for path in (tmp_path / "site").glob("*.html")}
    assert {path.stem for path in (REPOSITORY / "docs").glob("*.md")} <= pages.keys()
    fetched = re.compile(r"""<(?:script|img|iframe|audio|video)[^>]+src="?(https?:|//)|<link[^>]+href="?(https?:|//)""")
    assert [name for name, text in pages.items() if fetched.search(text)] == []
    for verb in cli.verbs():
        assert f'<h2 id="{verb}"' in pages["commands"]
    assert 'id="sai_core.api.evaluate"' in pages["api"]
    assert ":func:" not in pages["api"]


def test_a_dead_link_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "index.md").write_text("# Start\n[there](index.md#nowhere)\n")
    # the site's own rules for links, on a page with a dead one
    text = "".join(
        match[0].rstrip() + "\n"
        for match in re.finditer(
            r"^strict:.*$|^validation:\n(?:  .*\n)+", REPOSITORY.joinpath("mkdocs.yml").read_text("utf-8"), re.M
        )
    )
    (tmp_path / "mkdocs.yml").write_text(f"site_name: x\ntheme: mkdocs\n{text}")
    done = _build(tmp_path / "mkdocs.yml", tmp_path / "site")
    assert done.returncode != 0
    assert "nowhere" in done.stdout + done.stderr
