"""Sorting of recordings: the reader of TensorFlow's variables, the tagger's form, the rules, and what is left out."""

from __future__ import annotations

import struct
from itertools import takewhile
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional

from tests.benchmarks import sort_sounds
from tests.benchmarks.sort_sounds import Heard, class_of, fundamental_hz, hear, link_all, sort_out, to_be_heard
from tests.benchmarks.tagger import RATE_HZ, _Convolution, read_variables


def varint(number: int) -> bytes:
    out = b""
    while number > 127:
        out += bytes((number & 127 | 128,))
        number >>= 7
    return out + bytes((number,))


def block_of(entries: list[tuple[bytes, bytes]]) -> bytes:
    """A block of a LevelDB table, keys shortened by what they share with the one before."""
    out, before = b"", b""
    for key, value in entries:
        shared = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(key, before, strict=False)))
        out += varint(shared) + varint(len(key) - shared) + varint(len(value)) + key[shared:] + value
        before = key
    return out + struct.pack("<II", 0, 1)


def write_variables(folder: Path, variables: dict[str, np.ndarray]) -> None:
    """A checkpoint of one shard, as TensorFlow writes it: a header, entries, their offsets."""
    folder.mkdir(parents=True, exist_ok=True)
    content, entries = b"", [(b"", b"\x08\x01")]
    for name, array in sorted(variables.items()):
        sizes = b"".join(b"\x12" + varint(len(size)) + size for size in (b"\x08" + varint(n) for n in array.shape))
        entry = b"\x08\x01\x12" + varint(len(sizes)) + sizes
        if content:  # an offset of 0 is left out
            entry += b"\x20" + varint(len(content))
        data = array.astype("<f4").tobytes()
        entries.append((name.encode(), entry + b"\x28" + varint(len(data)) + b"\x35" + b"\x00" * 4))
        content += data
    blocks, table = [], b""
    for half in (entries[: len(entries) // 2], entries[len(entries) // 2 :]):
        block = block_of(half)
        blocks.append((half[-1][0], varint(len(table)) + varint(len(block))))
        table += block + b"\x00" * 5
    index, start = block_of(blocks), len(table)
    footer = varint(0) + varint(0) + varint(start) + varint(len(index))
    table += index + b"\x00" * 5 + footer + b"\x00" * (40 - len(footer)) + struct.pack("<Q", 0xDB4775248B80FB57)
    (folder / "variables.index").write_bytes(table)
    (folder / "variables.data-00000-of-00001").write_bytes(content)


def test_variables_are_read(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    written = {
        "layer-1/kernel/.ATTRIBUTES/VARIABLE_VALUE": rng.normal(size=(3, 3, 1, 32)),
        "layer-1/beta/.ATTRIBUTES/VARIABLE_VALUE": rng.normal(size=32),
        "layer-10/kernel/.ATTRIBUTES/VARIABLE_VALUE": rng.normal(size=(200, 3)),
    }
    write_variables(tmp_path, written)
    read = read_variables(tmp_path)
    assert read.keys() == written.keys()
    for name, array in written.items():
        np.testing.assert_array_equal(read[name], array.astype(np.float32))


@given(st.integers(3, 20), st.sampled_from((1, 2)))
def test_a_stride_pads_as_tensorflow_does(size: int, stride: int) -> None:
    layer = _Convolution(1, 1, size=3, stride=stride)
    with torch.no_grad():
        layer.weight.copy_(torch.arange(9.0).reshape(1, 1, 3, 3))
        layer.variance.fill_(1.0)
    image = torch.rand(1, 1, size, size)
    found = layer(image)
    assert found.shape[-1] == -(-size // stride)
    before = (1 if stride == 1 or size % 2 else 0), 1  # the odd row of a pair goes to the end
    plain = functional.conv2d(functional.pad(image, (*before, *before)), layer.weight, stride=stride)
    torch.testing.assert_close(found, torch.relu(plain) / (1 + 1e-4) ** 0.5)


@pytest.mark.parametrize("frequency", [90.0, 130.0, 210.0, 260.0])
def test_the_pitch_of_a_voice_is_found(frequency: float) -> None:
    t = np.arange(2 * RATE_HZ) / RATE_HZ
    voice = sum(np.sin(2 * np.pi * k * frequency * t + k) / k for k in range(1, 12))
    noise = np.random.default_rng(0).normal(scale=0.1, size=t.size)
    assert fundamental_hz((voice + noise).astype(np.float32)) == pytest.approx(frequency, rel=0.03)
    assert fundamental_hz((10 * noise).astype(np.float32)) == 0.0


NAMES = {
    name: number
    for number, name in enumerate(
        sorted(
            {n for rule in sort_sounds.RULES.values() for n in (*rule.names, *rule.unless)}
            | {"Speech", "Conversation", "Narration, monologue", "Singing", "Child speech, kid speaking", "Music"}
            | {"Musical instrument", *sort_sounds._INSTRUMENTS}
        )
    )
}


def scores(**heard: float) -> np.ndarray:
    out = np.zeros(len(NAMES), np.float32)
    for name, score in heard.items():
        out[NAMES[name.replace("_", " ")]] = score
    return out


@pytest.mark.parametrize(
    ("stem", "heard", "pitch", "seconds", "name"),
    [
        ("step_3", {}, 0.0, 0.2, "walk_footsteps"),  # single steps are heard as nothing
        ("step_3", {"Speech": 0.9}, 200.0, 1.0, ""),  # a voice that says "step"
        ("door_close", {"Knock": 0.7}, 0.0, 1.0, "door_open_close"),
        ("thing", {"Knock": 0.7}, 0.0, 1.0, "knock"),
        ("thing", {"Knock": 0.5}, 0.0, 1.0, ""),
        ("thing", {"Bell": 0.8, "Speech": 0.4}, 0.0, 1.0, ""),
        ("laugh", {"Speech": 0.9, "Laughter": 0.1}, 200.0, 1.0, ""),
        ("hello", {"Speech": 0.95}, 120.0, 1.0, "male_speech"),
        ("hello", {"Speech": 0.95}, 220.0, 1.0, "female_speech"),
        ("hello", {"Speech": 0.95}, 165.0, 1.0, ""),
        ("hello", {"Speech": 0.95}, 390.0, 1.0, ""),
        ("song", {"Music": 0.9}, 0.0, 60.0, "music"),
        ("note", {"Music": 0.9, "Piano": 0.7}, 0.0, 2.0, "musical_instrument"),
        ("note", {"Music": 0.9}, 0.0, 2.0, ""),
    ],
)
def test_a_name_and_a_tagger_say_the_class(
    stem: str, heard: dict[str, float], pitch: float, seconds: float, name: str
) -> None:
    assert class_of(stem, scores(**heard), pitch, seconds, NAMES) == name


def heard_as(files: dict[str, dict[str, float]], means: np.ndarray, seconds: float = 1.0) -> Heard:
    n = len(files)
    return Heard(
        tuple(files),
        np.array([scores(**heard) for heard in files.values()]),
        means.astype(np.float32),
        np.full(n, 120.0, np.float32),
        np.full(n, seconds, np.float32),
        unreadable=1,
    )


def test_copies_of_what_is_tested_with_and_voices_known_by_name_are_left_out_and_counted() -> None:
    means = np.eye(4)
    heard = {
        "a": heard_as({"bell.wav": {"Bell": 0.9}, "chime.wav": {"Bell": 0.9}, "noise.wav": {}}, means[:3]),
        "b": heard_as({"hello.wav": {"Speech": 0.95}}, means[3:]),
        "c": heard_as({"hello.wav": {"Speech": 0.95}}, means[3:]),
    }
    tested = heard_as({"x.wav": {}}, means[:1] + 0.01, seconds=1.01)
    found = sort_out(heard, tested, NAMES, by_name=["c"])
    assert found.files == {("bell", "a"): ["chime.wav"], ("male_speech", "b"): ["hello.wav"]}
    assert (found.copies, found.unsure, found.too_many, found.unreadable) == (1, 2, 0, 3)
    longer = heard_as({"x.wav": {}}, means[:1] + 0.01, seconds=2.0)
    assert found.files[("bell", "a")] != sort_out(heard, longer, NAMES, by_name=[]).files[("bell", "a")]


def test_a_package_gives_forty_files_of_a_class_and_links_stay(tmp_path: Path) -> None:
    package = tmp_path / "packages" / "p"
    for number in range(50):
        path = package / f"usr/step_{number:02d}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, np.full(1600, 0.1), RATE_HZ)
    (package / "usr/broken.wav").write_bytes(b"RIFF")
    assert len(to_be_heard(package)) == 51
    heard = heard_as({f"usr/step_{n:02d}.wav": {} for n in range(50)}, np.random.default_rng(0).normal(size=(50, 8)))
    found = sort_out({"p": heard}, heard_as({}, np.zeros((0, 8))), NAMES, by_name=[])
    assert len(found.files["walk_footsteps", "p"]) == 40
    assert found.too_many == 10
    assert link_all(found, {"p": package}, tmp_path / "sounds") == 40
    assert link_all(found, {"p": package}, tmp_path / "sounds") == 0
    assert all(path.is_symlink() for path in (tmp_path / "sounds/train/walk_footsteps/p").iterdir())


def test_what_cannot_be_read_is_counted(tmp_path: Path) -> None:
    class Deaf:
        names = ("Speech",)
        last = torch.nn.Linear(3, 1)

        def hear(self, samples: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            return np.ones(1, np.float32), np.ones(3, np.float32)

    soundfile.write(tmp_path / "good.wav", np.sin(np.arange(44_100)), 44_100)
    soundfile.write(tmp_path / "silent.wav", np.zeros(44_100), 44_100)
    (tmp_path / "broken.wav").write_bytes(b"RIFF")
    heard = hear(sorted(tmp_path.iterdir()), tmp_path, Deaf())  # type: ignore[arg-type]
    assert heard.files == ("good.wav",)
    assert heard.unreadable == 2
    assert heard.seconds[0] == pytest.approx(1.0)
