"""One reader for weights of every kind: names, containers, formats, and what is said of files that are no weights."""

from __future__ import annotations

import argparse
import io
import os
import re
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from safetensors.torch import save, save_file
from torch import Tensor, nn

from sai_core.acoustics.networks import LAM, UpLAM, UpLAMConfig, load_lam32, load_uplam, save_uplam
from sai_core.checkpoints import load_into, read_checkpoint, read_config, read_metadata, read_state_dict, save_network
from sai_core.detector.config import DetectorConfig
from sai_core.detector.models import SaiDetector, load_detector, save_detector
from sai_core.errors import InputError
from sai_core.inference.networks import describe_checkpoint, open_network
from sai_core.teacher.network import AvSeldNet, TeacherConfig, load_teacher, save_teacher

PREFIXES = ("_orig_mod", "module", "model", "net", "_fsdp_wrapped_module", "anything")
CONTAINERS = ("model_state_dict", "state_dict", "model", "ema", "of_mine")


def _small() -> nn.Module:
    return nn.Sequential(OrderedDict(first=nn.Linear(3, 2), second=nn.BatchNorm1d(2)))


def _filled(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Values of their own, so that an exchange of two tensors is seen."""
    return {k: torch.full_like(v, i + 1) for i, (k, v) in enumerate(state.items())}


def _bytes(content: Any, *, old: bool = False) -> bytes:
    stream = io.BytesIO()
    torch.save(content, stream, _use_new_zipfile_serialization=not old)
    return stream.getvalue()


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    prefixes=st.lists(st.sampled_from(PREFIXES), max_size=5),
    containers=st.lists(st.sampled_from(CONTAINERS), max_size=3),
    kind=st.sampled_from(["zip", "old", "safetensors"]),
    suffix=st.sampled_from([".pth", ".safetensors", ".SAFETENSORS", ".h5", ""]),
    middle=st.booleans(),
)
@example(prefixes=["_orig_mod", "module"], containers=[], kind="zip", suffix=".pth", middle=False)
@example(prefixes=["module", "model", "_orig_mod"], containers=["state_dict"], kind="old", suffix=".pt", middle=True)
def test_any_nesting_of_names_and_containers(
    tmp_path: Path, prefixes: list[str], containers: list[str], kind: str, suffix: str, middle: bool
) -> None:
    model = _small()
    wanted = _filled(model.state_dict())
    front = "".join(f"{p}." for p in prefixes)
    # torch.compile of one layer puts its part in the middle
    content: Any = {front + (k.replace("first.", "first._orig_mod.") if middle else k): v for k, v in wanted.items()}
    for name in containers:
        content = {"epoch": 3, name: content, "optimizer": {"state": {}, "param_groups": [{"lr": 0.1}]}}
    path = tmp_path / f"weights{suffix}"
    if kind == "safetensors":
        while not all(isinstance(v, Tensor) for v in content.values()):
            content = next(content[c] for c in CONTAINERS if c in content)
        path.write_bytes(save(content, metadata={"note": "mine"}))
        assert read_metadata(path) == {"note": "mine"}
    else:
        path.write_bytes(_bytes(content, old=kind == "old"))
        assert read_metadata(path) == {}
    load_into(model, read_state_dict(path), path, what="a small network")
    for key, value in wanted.items():
        torch.testing.assert_close(model.state_dict()[key], value, rtol=0, atol=0)


def test_a_running_mean_is_taken_only_where_there_is_nothing_else(tmp_path: Path) -> None:
    first, second = ({"a.weight": torch.full((2,), float(n))} for n in (1, 2))
    path = tmp_path / "both.pth"
    torch.save({"ema": second, "model": first}, path)
    assert float(read_state_dict(path)["a.weight"][0]) == 1.0
    torch.save({"ema": {"decay": 0.9, "shadow": second}}, path)
    assert float(read_state_dict(path)["a.weight"][0]) == 2.0


def test_averaged_models_of_torch_open(tmp_path: Path) -> None:
    model = _small()
    averaged = torch.optim.swa_utils.AveragedModel(model)
    averaged.update_parameters(model)
    torch.save(averaged.state_dict(), tmp_path / "swa.pth")
    load_into(_small(), read_state_dict(tmp_path / "swa.pth"), tmp_path / "swa.pth", what="a small network")


def test_two_tensors_of_one_name_are_refused(tmp_path: Path) -> None:
    torch.save({"a.weight": torch.zeros(1), "module.a.weight": torch.ones(1)}, tmp_path / "two.pth")
    with pytest.raises(InputError, match=r"two tensors are called a\.weight"):
        read_state_dict(tmp_path / "two.pth")


def _kinds() -> dict[str, tuple[Callable[[Path], object], Callable[[Path], object]]]:
    """Each kind of our own files: how it is written and how it is opened."""
    config = UpLAMConfig(base_filter=4, features=8)
    track_a = DetectorConfig.small("A", width=16, channels=32, first_level=3)
    return {
        "uplam": (lambda p: save_uplam(UpLAM(config), p), load_uplam),
        "detector": (lambda p: save_detector(SaiDetector(track_a), p), load_detector),
        "teacher": (lambda p: save_teacher(AvSeldNet(TeacherConfig(filters=8, hidden=16)), p), load_teacher),
    }


@pytest.mark.parametrize("kind", ["uplam", "detector", "teacher"])
@pytest.mark.parametrize("front", ["_orig_mod.module.", "module._orig_mod.", "model.net.", "own_name.module."])
def test_prefixes_of_every_kind_of_ours(tmp_path: Path, kind: str, front: str) -> None:
    write, load = _kinds()[kind]
    write(tmp_path / "plain.safetensors")
    made = read_checkpoint(tmp_path / "plain.safetensors")
    wrapped = tmp_path / "wrapped.pth"
    save_file({front + k: v for k, v in made.tensors.items()}, wrapped, metadata=made.metadata)
    one, other = load(tmp_path / "plain.safetensors"), load(wrapped)
    assert isinstance(one, nn.Module)
    assert isinstance(other, nn.Module)
    for (key, a), b in zip(one.state_dict().items(), other.state_dict().values(), strict=True):
        assert torch.equal(a, b), key
    if kind == "detector":
        assert describe_checkpoint(wrapped).kind == "track A"


@pytest.mark.parametrize("front", ["", "_orig_mod.module.", "lightning.model."])
def test_prefixes_of_lam_and_of_the_published_file(tmp_path: Path, front: str) -> None:
    model = LAM(dtype=torch.float64)
    torch.save({front + k: v for k, v in model.state_dict().items()}, tmp_path / "LAM.pth")
    assert torch.equal(load_lam32(tmp_path / "LAM.pth", dtype=torch.float64).D, model.D.detach())
    published = {
        f"{front}bproj_layers.{band}.{name}": value[band].detach().clone()
        for band in range(9)
        for name, value in (("tau", model.tau), ("D", model.D))
    }
    torch.save(published, tmp_path / "lam_32_ch.pth")
    assert torch.equal(load_lam32(tmp_path / "lam_32_ch.pth", dtype=torch.float64).D, model.D.detach())


@pytest.mark.parametrize("kind", ["uplam", "detector", "teacher"])
@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_values_that_are_no_numbers_are_refused_in_every_kind(tmp_path: Path, kind: str, value: float) -> None:
    write, load = _kinds()[kind]
    path = tmp_path / "nan.safetensors"
    write(path)
    made = read_checkpoint(path)
    key = [k for k in made.tensors if k.endswith("weight")][-1]
    made.tensors[key].view(-1)[-1] = value
    save_file(made.tensors, path, metadata=made.metadata)
    with pytest.raises(InputError, match=f"{key} holds NaN or infinite values"):
        load(path)


def test_values_too_large_for_the_network_are_refused(tmp_path: Path) -> None:
    model, path = _small(), tmp_path / "x.pth"
    state = {k: v.double() if v.is_floating_point() else v for k, v in model.state_dict().items()}
    state["first.bias"][0] = 1e300
    torch.save(state, path)
    with pytest.raises(InputError, match=r"first.bias holds NaN or infinite"):
        load_into(model, read_state_dict(path), path, what="a small network")


class Whole(nn.Linear):
    """A module that is pickled as it is."""


@pytest.mark.parametrize("old", [False, True])
@pytest.mark.parametrize(
    ("content", "said"),
    [
        (lambda s: {"model": s, "args": argparse.Namespace(lr=1)}, "argparse.Namespace"),
        (lambda s: {"model": s, "best": np.float64(0.3)}, "a NumPy number (numpy.float64)"),
        (lambda s: {"model": s, "best": np.float32(0.3)}, "a NumPy number (numpy.float32)"),
        (lambda s: {"model": s, "steps": np.int64(3)}, "a NumPy number (numpy.int64)"),
        (lambda s: {"model": s, "curve": np.zeros(3)}, "NumPy data"),
        (lambda s: {"model": s, "path": Path("x")}, "pathlib"),
        (lambda s: {"model": s, "run": os.system}, "system"),
        (lambda s: Whole(2, 2), "a whole pickled object (tests.test_checkpoints.Whole)"),
        (lambda s: {"model": Whole(2, 2)}, "tests.test_checkpoints.Whole"),
    ],
)
def test_what_is_in_the_way_is_named(tmp_path: Path, content: Callable, said: str, old: bool) -> None:
    path = tmp_path / "a.pth"
    path.write_bytes(_bytes(content(_small().state_dict()), old=old))
    for read in (read_state_dict, load_uplam, open_network):
        with pytest.raises(InputError) as caught:
            read(path)
        message = str(caught.value)
        assert said in message
        assert "save the weights alone, torch.save(model.state_dict(), PATH)" in message
        assert message.isprintable()
        assert message.endswith(".")
        assert "weights_only" not in message


def test_names_from_a_file_reach_no_terminal(tmp_path: Path) -> None:
    path = tmp_path / "x.pth"
    torch.save({"\x1b[2Jboo.\n": torch.zeros(1), "b": torch.zeros(1)}, path)
    with pytest.raises(InputError) as caught:
        load_into(_small(), read_state_dict(path), path, what="a small network")
    assert str(caught.value).isprintable()


def _no_weights() -> dict[str, bytes]:
    whole = _bytes(_small().state_dict())
    safe = save(_small().state_dict())
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", b"\x80\x02}." + b"0" * 10_000_000)
    other = io.BytesIO()
    with zipfile.ZipFile(other, "w") as archive:
        archive.writestr("word/document.xml", "<x/>")
    flipped = bytearray(whole)
    place = whole.index(_small().state_dict()["second.running_var"].numpy().tobytes())
    flipped[place + 1] ^= 0x40
    return {
        "empty": b"",
        "one byte": b"\x80",
        "wav": b"RIFF\x24\x00\x00\x00WAVEfmt " + bytes(40),
        "text": b"root:x:0:0:root:/root:/bin/bash\n",
        "page": b"<!DOCTYPE html><html></html>",
        "json": b'{"annotations": []}',
        "pointer": b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 12\n",
        "hdf5": b"\x89HDF\r\n\x1a\n" + bytes(100),
        "cut zip": whole[: len(whole) // 2],
        "zip without its end": whole[:-30],
        "flipped byte": bytes(flipped),
        "packed zip": packed.getvalue(),
        "another zip": other.getvalue(),
        "cut old file": _bytes(_small().state_dict(), old=True)[:-20],
        "pickle": b"\x80\x02garbage" * 50,
        "huge header": (1 << 40).to_bytes(8, "little") + b"{}" + bytes(50),
        "cut safetensors": safe[:-1],
        "cut header": safe[:40],
        "no tensors": save({}),
        "zeros": bytes(4096),
    }


@pytest.mark.parametrize("name", sorted(_no_weights()))
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_any_file_is_told_in_one_sentence(tmp_path: Path, name: str, suffix: str) -> None:
    path = tmp_path / f"file{suffix}"
    path.write_bytes(_no_weights()[name])
    for load in (
        read_state_dict,
        load_uplam,
        load_lam32,
        load_detector,
        load_teacher,
        describe_checkpoint,
        open_network,
    ):
        with pytest.raises(InputError) as caught:
            load(path)
        message = str(caught.value)
        assert message.startswith(str(path))
        assert message.isprintable()
        assert message.endswith(".")
        assert len(message) < len(str(path)) + 400


def test_folders_pipes_and_what_is_not_there(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.pth")
    for path, said in ((tmp_path, "folder"), (tmp_path / "none.pth", "no such"), (tmp_path / "pipe.pth", "pipe")):
        for load in (read_state_dict, read_metadata, load_uplam, describe_checkpoint):
            with pytest.raises(InputError, match=said):
                load(path)


_SOURCES = (
    _bytes({"model_state_dict": _small().state_dict()}),
    _bytes({"model_state_dict": _small().state_dict()}, old=True),
    save(_small().state_dict(), metadata={"sai_detector": DetectorConfig().to_json()}),
    save({}, metadata={"sai_teacher": "{}", "config": '{"scale": 8}', "sai_detector": '{"channels": 64}'}),
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), source=st.sampled_from(range(len(_SOURCES))))
def test_mutated_files_are_read_or_refused(tmp_path: Path, data: st.DataObject, source: int) -> None:
    content = bytearray(_SOURCES[source])
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(content) - 1))
        how = data.draw(st.sampled_from(["set", "cut", "repeat", "remove"]))
        if how == "set":
            content[place] = data.draw(st.integers(0, 255))
        elif how == "cut":
            content = content[: place + 1]
        elif how == "repeat":
            content[place:place] = content[place : place + data.draw(st.integers(1, 40))]
        else:
            del content[place : place + data.draw(st.integers(1, 40))]
        if not content:
            break
    path = tmp_path / "mutated.pth"
    path.write_bytes(bytes(content))
    for load in (read_state_dict, load_teacher):
        with suppress(InputError):  # every other error is a failure of the test
            load(path)


@pytest.mark.parametrize(
    "header",
    [
        '{"channels": 1000000000}',
        '{"channels": "64"}',
        '{"anchor_sizes_deg": ["a", 1, 2, 3]}',
        '{"anchor_sizes_deg": 4}',
        "[" * 100_000,
        '{"nonsense": 1}',
        "3",
    ],
)
def test_settings_in_a_header_that_make_no_sense(tmp_path: Path, header: str) -> None:
    path = tmp_path / "x.safetensors"
    save_file({"a": torch.zeros(1)}, path, metadata={"sai_detector": header, "sai_teacher": header, "config": header})
    for load in (load_detector, describe_checkpoint, load_teacher, load_uplam):
        with pytest.raises(InputError) as caught:
            load(path)
        assert str(caught.value).isprintable()


@pytest.mark.parametrize("half", [False, True])
def test_a_network_is_written_as_safetensors_has_it(tmp_path: Path, half: bool) -> None:
    model, path = _small(), tmp_path / "w.safetensors"
    save_network(model, path, {"mark": "{}"}, half=half)
    state = model.state_dict()
    # the count of batches is an integer, which half precision would not hold
    kept = {k: v.half() if half and v.is_floating_point() else v for k, v in state.items()}
    assert {str(v.dtype) for v in kept.values()} == {"torch.float16" if half else "torch.float32", "torch.int64"}
    assert path.read_bytes() == save(kept, metadata={"mark": "{}"})


def test_a_configuration_is_found_by_its_mark(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    save_network(_small(), path, {"mark": DetectorConfig.small("A").to_json()})
    read = DetectorConfig.from_json
    assert read_config(path, "mark", read, refusal="not one of ours.") == DetectorConfig.small("A")
    with pytest.raises(InputError, match=f"^{re.escape(str(path))}: not one of ours.$"):
        read_config(path, "another", read, refusal="not one of ours.")
    save_network(_small(), path, {"mark": "{"})
    with pytest.raises(InputError, match=f"^{re.escape(str(path))}: .*detector configuration"):
        read_config(path, "mark", read, refusal="not one of ours.")
