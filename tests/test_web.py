"""The app's scripts (``pages/components/web``): how they are joined, and their unit tests, which node runs."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sai_core.player import scripts
from sai_core.viewing.player import encode_block, pack
from tests.figures.scenes import tables

TESTS = Path(__file__).parent / "web"
ENTRIES = ("player", "desk", "history", "notebook")
MODULES = sorted(path.stem for path in scripts.FOLDER.glob("*.js"))


@pytest.fixture(scope="module")
def node() -> str:
    path = shutil.which("node")
    if path is None:
        if os.environ.get("SAI_REQUIRE_NODE"):
            pytest.fail("no node on this machine, and SAI_REQUIRE_NODE asks for it")
        pytest.skip("no node on this machine; only tests need it")
    return path


def run(*command: object, folder: Path = TESTS) -> str:
    done = subprocess.run([str(part) for part in command], cwd=folder, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    return done.stdout


def test_unit_tests(node: str) -> None:
    files = sorted(TESTS.glob("*.test.mjs"))
    assert len(files) >= 7
    output = run(node, "--test", *files)
    count = re.search(r"^(?:# |\S )pass (\d+)", output, flags=re.MULTILINE)
    assert count is not None
    assert int(count.group(1)) >= 40


@pytest.mark.parametrize("entry", ENTRIES)
def test_the_joined_script_is_a_module(entry: str, node: str, tmp_path: Path) -> None:
    """Node refuses names that two of the modules share."""
    text = scripts.script(entry)
    assert text.count("export default function") == 1
    assert "import {" not in text
    path = tmp_path / "joined.mjs"
    path.write_text(text, encoding="utf-8")
    run(node, "--check", path)


def test_every_module_is_used_and_comes_after_what_it_needs() -> None:
    used = {name for entry in ENTRIES for name in scripts.order(entry)}
    assert used == set(MODULES)
    for entry in ENTRIES:
        order = scripts.order(entry)
        assert order[-1] == entry
        for name in order:
            for other in re.findall(r'from "\./(\w+)\.js"', (scripts.FOLDER / f"{name}.js").read_text("utf-8")):
                assert order.index(other) < order.index(name)


def test_modules_import_by_name_alone() -> None:
    """What the joining relies on: no other kind of import or export, and no other name for what is imported."""
    for name in MODULES:
        text = (scripts.FOLDER / f"{name}.js").read_text("utf-8")
        lines = [line for line in text.splitlines() if line.startswith(("import ", "export "))]
        for line in lines:
            assert not re.search(r"import\b.*\bas\b|import \*|export \{|export \*", line), (name, line)
        default = [line for line in lines if line.startswith("export default")]
        assert len(default) == (name in ENTRIES)
        assert text.startswith("// @ts-check\n"), name


@pytest.mark.parametrize("path", sorted(scripts.FOLDER.iterdir()) + sorted(TESTS.glob("*.mjs")), ids=lambda p: p.name)
def test_no_line_is_longer_than_120_characters(path: Path) -> None:
    if path.is_file() and path.suffix in (".js", ".mjs", ".html", ".css"):
        long = [n for n, line in enumerate(path.read_text("utf-8").splitlines(), 1) if len(line) > 120]
        assert long == []


def test_the_lock_file_names_no_registry() -> None:
    lock = json.loads((TESTS / "package-lock.json").read_text("utf-8"))
    assert all("resolved" not in entry for entry in lock["packages"].values())
    assert all("integrity" in entry for name, entry in lock["packages"].items() if name)


def test_scripts_read_what_python_packs(node: str, tmp_path: Path) -> None:
    """The same containers and blocks on both sides, to the last value."""
    rng = np.random.default_rng(3)
    arrays: dict[str, Any] = {
        "small": rng.integers(-128, 127, 5).astype(np.int8),
        "wide": rng.normal(size=7),
        "none": np.zeros(0, np.float32),
        "raw": b"\x00\xff\x07",
    }
    (tmp_path / "container").write_bytes(pack({"name": "grün", "nested": {"a": [1, None]}}, arrays))
    table = tables(20)[0]
    (tmp_path / "block").write_bytes(encode_block(0, {"L": table}, n_frames=20))
    found = json.loads(run(node, TESTS / "read_container.mjs", tmp_path / "container", tmp_path / "block"))
    assert found["header"]["name"] == "grün"
    assert found["header"]["nested"] == {"a": [1, None]}
    for name, expected in arrays.items():
        np.testing.assert_array_equal(found["arrays"][name], list(expected))
    assert len(found["patches"]) == 20
    for frame, patches in enumerate(found["patches"]):
        span = table.frame_slice(frame)
        assert sorted(patch["row"] for patch in patches) == list(range(span.start, span.stop))
        for patch in patches:
            energy = table.points(patch["row"])[1]
            assert patch["peak"] == round(float(energy.max()) * 255)
