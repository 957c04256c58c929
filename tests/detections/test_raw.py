"""Stores of raw detections: written in blocks, continued after a kill, verified, never stale."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest

from sai_core.detections.raw import RawWriter, open_raw, store_folder, store_key
from sai_core.errors import InputError

KEY = store_key({"checkpoint": "abc", "features": "uplam"})


def block(first: int, n_frames: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
    n = int(rng.integers(0, 3 * n_frames + 1))
    return {
        "frame": np.sort(rng.integers(first, first + n_frames, n)),
        "boxes_xyxy": np.tile([10.0, 20, 40, 60], (n, 1)),
        "class_scores": rng.dirichlet(np.ones(14), n)[:, 1:],
        "objectness": rng.random(n),
        "category_id": rng.integers(0, 13, n),
        "energy": rng.random((n, 28, 28)),
        "distance_cm": rng.uniform(50, 500, n),
        "embedding": rng.random((n, 8)),
        "full_energy": rng.random((n_frames, 4, 8)),
    }


def write_all(folder: Path, *, n_frames: int = 50, stop_after: int | None = None) -> RawWriter:
    writer = RawWriter(folder, recording="r", key=KEY, n_frames=n_frames, notes={"seed": "1"})
    while (first := writer.next_frame()) < n_frames:
        if stop_after is not None and first >= stop_after:
            return writer
        writer.write(first, block(first, min(16, n_frames - first), np.random.default_rng(first)))
    return writer


def test_blocks_become_one_store(tmp_path: Path) -> None:
    folder = store_folder(tmp_path, "r", KEY)
    raw = write_all(folder).finish()
    expected = [block(f, min(16, 50 - f), np.random.default_rng(f)) for f in (0, 16, 32, 48)]
    np.testing.assert_array_equal(raw.frame, np.concatenate([b["frame"] for b in expected]))
    np.testing.assert_array_equal(raw.energy, np.concatenate([b["energy"] for b in expected]).astype(np.float16))
    assert raw.full_energy.shape == (50, 4, 8)
    with pytest.raises(ValueError, match="read-only"):
        raw.energy[:] = 0
    assert not list(folder.glob("block_*"))
    again = open_raw(folder, key=KEY)
    assert again is not None
    np.testing.assert_array_equal(again.class_scores, raw.class_scores)


def test_an_unfinished_store_continues_and_ends_the_same(tmp_path: Path) -> None:
    whole = write_all(tmp_path / "whole").finish()
    write_all(tmp_path / "part", stop_after=32)
    assert open_raw(tmp_path / "part") is None
    writer = RawWriter(tmp_path / "part", recording="r", key=KEY, n_frames=50)
    assert writer.next_frame() == 32
    continued = write_all(tmp_path / "part").finish()
    np.testing.assert_array_equal(continued.frame, whole.frame)
    np.testing.assert_array_equal(continued.embedding, whole.embedding)


def test_a_kill_loses_no_finished_block(tmp_path: Path) -> None:
    script = textwrap.dedent(
        """
        import sys
        from pathlib import Path
        from tests.detections.test_raw import write_all
        write_all(Path(sys.argv[1]), stop_after=32)
        print("ready", flush=True)
        while True:
            write_all(Path(sys.argv[1]), stop_after=32)
        """
    )
    root = Path(__file__).resolve().parents[2]
    process = subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path / "r")], cwd=root, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline().strip() == "ready"
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    process.stdout.close()
    assert RawWriter(tmp_path / "r", recording="r", key=KEY, n_frames=50).next_frame() == 32


def test_another_key_starts_anew(tmp_path: Path) -> None:
    write_all(tmp_path / "r").finish()
    assert open_raw(tmp_path / "r", key="other") is None
    writer = RawWriter(tmp_path / "r", recording="r", key="other", n_frames=50)
    assert writer.next_frame() == 0
    assert open_raw(tmp_path / "r") is None


@pytest.mark.parametrize("how", ["flipped", "cut", "empty", "foreign"])
def test_a_damaged_store_is_made_anew_not_shown(tmp_path: Path, how: str, rng: np.random.Generator) -> None:
    write_all(tmp_path / "r").finish()
    whole = open_raw(tmp_path / "r", key=KEY)
    assert whole is not None
    other = RawWriter(tmp_path / "other", recording="o", key=KEY, n_frames=50)
    while (first := other.next_frame()) < 50:
        other.write(first, block(first, 25, np.random.default_rng(first + 1)))
    other.finish()
    for path in [*sorted((tmp_path / "r").glob("*.npy")), tmp_path / "r" / "store.json"]:
        good = path.read_bytes()
        for _ in range(40 if how == "flipped" else 1):
            data = bytearray(good)
            if how == "flipped":
                data[rng.integers(len(data))] ^= 1 << int(rng.integers(8))
            elif how == "cut":
                data = data[: len(data) // 2]
            elif how == "empty":
                data.clear()
            else:
                data = bytearray((tmp_path / "other" / path.name).read_bytes())
            if data == good:
                continue  # class_scores and boxes of both may be alike
            path.write_bytes(data)
            found = open_raw(tmp_path / "r", key=KEY)
            # white space of the JSON file may differ without a consequence
            assert found is None or (path.name == "store.json" and found.notes == whole.notes), path.name
        path.write_bytes(good)
    assert open_raw(tmp_path / "r", key=KEY) is not None


def test_a_store_that_is_copied_over_while_it_is_open(tmp_path: Path) -> None:
    """A memory map would end the process with a bus error."""
    raw = write_all(tmp_path / "r").finish()
    before = raw.energy.copy()
    for path in (tmp_path / "r").iterdir():
        os.truncate(path, 10)
    np.testing.assert_array_equal(raw.energy, before)
    assert open_raw(tmp_path / "r") is None


def test_stores_without_checksums_are_read_and_said_to_be_unchecked(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    raw = write_all(tmp_path / "r").finish()
    path = tmp_path / "r" / "store.json"
    facts = json.loads(path.read_text())
    del facts["checksum"], facts["checksums"]
    path.write_text(json.dumps(facts | {"format": 1}))
    again = open_raw(tmp_path / "r")
    assert again is not None
    np.testing.assert_array_equal(again.energy, raw.energy)
    assert "cannot be checked" in caplog.text
    path.write_text(json.dumps(facts))
    assert open_raw(tmp_path / "r") is None


def test_a_damaged_block_is_predicted_again(tmp_path: Path) -> None:
    write_all(tmp_path / "r", stop_after=32)
    (tmp_path / "r" / "block_0000016.entry").write_bytes(b"broken")
    assert RawWriter(tmp_path / "r", recording="r", key=KEY, n_frames=50).next_frame() == 16


def test_recordings_without_frames_and_mistakes(tmp_path: Path) -> None:
    raw = RawWriter(tmp_path / "none", recording="r", key=KEY, n_frames=0).finish()
    assert len(raw) == 0
    writer = RawWriter(tmp_path / "r", recording="r", key=KEY, n_frames=50)
    with pytest.raises(InputError, match="only 0 of 50"):
        writer.finish()
    bad = block(0, 4, np.random.default_rng(1)) | {"frame": np.array([7])}
    with pytest.raises(InputError, match="outside"):
        writer.write(0, bad)
    del bad["energy"]
    with pytest.raises(InputError, match="lacks the column energy"):
        writer.write(0, bad)
