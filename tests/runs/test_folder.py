"""The run folder: whole files, growing metrics, event files that others can read."""

from __future__ import annotations

import json
import math
import struct
from pathlib import Path

import pytest

from sai_core.environment import run_environment
from sai_core.errors import EnvironmentProblem, InputError
from sai_core.runs.folder import EventFile, RunFolder
from sai_core.training.config import COLUMNS


def test_a_folder_holds_one_run(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run")
    folder.begin({"epochs": 3})
    assert folder.config() == {"epochs": 3}
    with pytest.raises(InputError, match="already"):
        RunFolder(tmp_path / "run").begin({})
    with pytest.raises(InputError, match="the folder of a run"):
        RunFolder(tmp_path / "none").config()
    (tmp_path / "list").mkdir()
    (tmp_path / "list" / "config.json").write_text("[1]")
    with pytest.raises(InputError, match="object"):
        RunFolder(tmp_path / "list").config()


def test_status_keeps_what_it_was_told(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path, columns=COLUMNS)
    folder.status(force=True, epochs=4, message="one")
    folder.status(message="two")  # too soon to be written
    assert json.loads((tmp_path / "status.json").read_text())["message"] == "one"
    folder.status(force=True, epoch=2)
    status = json.loads((tmp_path / "status.json").read_text())
    assert (status["message"], status["epoch"], status["epochs"], status["state"]) == ("two", 2, 4, "running")
    keys = "pid pid_started host step steps frames_per_s eta_s frozen rates memory_mb gpu_memory_mb updated"
    assert set(keys.split()) <= set(status)
    assert not list(tmp_path.glob(".*"))  # no temporary file stays


def test_the_wish_to_stop(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path, columns=COLUMNS)
    assert not folder.stop_wanted()
    (tmp_path / "stop").touch()
    assert folder.stop_wanted()
    folder.clear_stop()
    folder.clear_stop()
    assert not folder.stop_wanted()


def test_metrics_grow_and_forget(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path, columns=COLUMNS)
    for step in (1, 2, 3):
        folder.append({"epoch": 0, "step": step, "seconds": 1.5, "kind": "train", "total": 0.1 + step, "class": 1 / 3})
    text = (tmp_path / "metrics.csv").read_text()
    assert text.splitlines()[0].split(",") == list(COLUMNS)
    assert repr(1 / 3) in text  # every bit
    with open(tmp_path / "metrics.csv", "a", encoding="utf-8") as stream:
        stream.write("0,3,1.5,tr")
    folder.forget_after(2)
    rows = (tmp_path / "metrics.csv").read_text().splitlines()
    assert [row.split(",")[1] for row in rows] == ["step", "1", "2"]
    RunFolder(tmp_path / "new").forget_after(2)  # nothing there: nothing to do


def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "metrics.csv").mkdir()
    with pytest.raises(EnvironmentProblem, match=r"metrics\.csv"):
        RunFolder(tmp_path, columns=COLUMNS).append({"epoch": 0, "step": 1, "seconds": 0.0, "kind": "train"})


def _crc32c(data: bytes) -> int:
    """Bit by bit, from the polynomial."""
    value = 0xFFFFFFFF
    for byte in data:
        value ^= byte
        for _ in range(8):
            value = (value >> 1) ^ (0x82F63B78 * (value & 1))
    return value ^ 0xFFFFFFFF


def _records(data: bytes) -> list[bytes]:
    out = []
    while data:
        (length,) = struct.unpack("<Q", data[:8])
        for part, crc in ((data[:8], data[8:12]), (data[12 : 12 + length], data[12 + length : 16 + length])):
            plain = _crc32c(part)
            assert struct.unpack("<I", crc)[0] == ((plain >> 15 | plain << 17) + 0xA282EAD8) & 0xFFFFFFFF
        out.append(data[12 : 12 + length])
        data = data[16 + length :]
    return out


def test_event_files_have_the_format_of_tensorboard(tmp_path: Path) -> None:
    assert _crc32c(b"123456789") == 0xE3069283  # the check value of CRC-32C
    folder = RunFolder(tmp_path, columns=COLUMNS)
    folder.append(
        {"epoch": 0, "step": 300, "seconds": 1.0, "kind": "validation", "total": 2.5, "mAP": 0.25, "box": math.nan}
    )
    (path,) = (tmp_path / "tensorboard").glob("events.out.tfevents.*")
    first, second = _records(path.read_bytes())
    assert first.endswith(b"\x1a\x0dbrain.Event:2")
    # step (field 2, varint 300) and two values: tag and simple_value
    assert second[9:12] == b"\x10\xac\x02"
    wanted = b"".join(
        b"\x0a" + bytes([len(tag) + 7]) + b"\x0a" + bytes([len(tag)]) + tag + b"\x15" + struct.pack("<f", value)
        for tag, value in ((b"validation/total", 2.5), (b"validation/mAP", 0.25))
    )
    assert second[12:] == b"\x2a" + bytes([len(wanted)]) + wanted


def test_event_files_parse_as_protocol_buffers(tmp_path: Path) -> None:
    pytest.importorskip("google.protobuf")
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory  # type: ignore[import-untyped]

    field = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(name="event.proto", package="t", syntax="proto3")
    fields = {
        "Value": [("tag", 1, field.TYPE_STRING, ""), ("simple_value", 2, field.TYPE_FLOAT, "")],
        "Summary": [("value", 1, field.TYPE_MESSAGE, ".t.Value")],
        "Event": [
            ("wall_time", 1, field.TYPE_DOUBLE, ""),
            ("step", 2, field.TYPE_INT64, ""),
            ("file_version", 3, field.TYPE_STRING, ""),
            ("summary", 5, field.TYPE_MESSAGE, ".t.Summary"),
        ],
    }
    for name, listed in fields.items():
        message = file.message_type.add(name=name)
        for label, number, kind, of in listed:
            repeated = field.LABEL_REPEATED if label == "value" else field.LABEL_OPTIONAL
            added = message.field.add(name=label, number=number, type=kind, label=repeated)
            if of:
                added.type_name = of
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    kind_of = message_factory.GetMessageClass(pool.FindMessageTypeByName("t.Event"))
    events = EventFile(tmp_path)
    scalars = {f"train/term_{k}": k / 7 for k in range(40)}  # longer than one byte of length can say
    events.write(scalars, step=123_456)
    events.write({}, step=1)
    first, second = (kind_of.FromString(r) for r in _records(events.path.read_bytes()))
    assert first.file_version == "brain.Event:2"
    assert first.wall_time > 1e9
    assert second.step == 123_456
    assert {v.tag: v.simple_value for v in second.summary.value} == pytest.approx(scalars)


def test_the_environment_is_told() -> None:
    facts = run_environment()
    assert facts["python"].count(".") == 2
    assert "cores" in facts["machine"]


def test_samples_are_replaced(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path, columns=COLUMNS)
    folder.clear_samples()
    folder.save_sample("a", b"x")
    folder.clear_samples()
    folder.save_sample("b", b"y")
    assert [p.name for p in (tmp_path / "samples").iterdir()] == ["b.png"]
