"""What the machine offers, and the one sentence about a torch and a torchvision that do not fit."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sai_core import environment
from sai_core.cli import main
from sai_core.commands import doctor
from sai_core.environment import PackageStatus, TorchFacts

GOOD = TorchFacts("2.14.1+cu130", "0.29.1+cu130", "13.0", (), None)


@pytest.fixture(autouse=True)
def _forget() -> Iterator[None]:
    environment.probe_torch.cache_clear()
    yield
    environment.probe_torch.cache_clear()


@pytest.fixture
def fake_packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Put packages of given versions in front of the installed ones, for this process and those it starts."""

    def install(name: str, version: str, *, requires: str = "", body: str = "", cuda_library: bool = True) -> None:
        folder = tmp_path / "site" / name
        (folder / "lib").mkdir(parents=True)
        (folder / "__init__.py").write_text(f"from .version import __version__\n{body}")
        (folder / "version.py").write_text(f"__version__ = '{version}'\ncuda = None\n")
        if cuda_library:
            (folder / "lib" / "libtorch_cuda.so").touch()
        info = tmp_path / "site" / f"{name}-{version.partition('+')[0]}.dist-info"
        info.mkdir()
        requirement = f"Requires-Dist: {requires}\n" if requires else ""
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{requirement}")
        monkeypatch.syspath_prepend(str(tmp_path / "site"))
        monkeypatch.setenv("PYTHONPATH", str(tmp_path / "site"))

    return install


NO_OPERATOR = "raise RuntimeError('operator torchvision::nms does not exist')\n"
# enough of torch for the probe
TORCH = """
from types import SimpleNamespace as _N
version = _N(cuda=None)
tensor = list
cuda = _N(is_available=lambda: False, device_count=lambda: 0)
backends = _N(mps=_N(is_available=lambda: False))
"""
TORCHVISION = "from types import SimpleNamespace as _N\nops = _N(nms=lambda *a: None)\n"


@pytest.mark.parametrize(
    ("torch", "torchvision", "requires", "cuda_library", "reason"),
    [
        ("2.13.0+cpu", "0.29.1+cu130", "torch (>=2.14.0)", True, "torchvision wants torch >=2.14.0"),
        ("2.15.0", "0.29.1", "torch==2.14.1", True, "torchvision wants torch ==2.14.1"),
        ("2.14.1+cpu", "0.29.1+cu130", "torch", True, "one is built for cpu, the other for cu130"),
        ("2.14.1", "0.29.1", "torch", False, "built without CUDA"),
    ],
)
def test_a_pair_that_does_not_fit_is_told_with_the_repair(
    fake_packages: Callable[..., None], torch: str, torchvision: str, requires: str, cuda_library: bool, reason: str
) -> None:
    if not cuda_library and sys.platform != "linux":
        pytest.skip("library names are those of Linux")
    fake_packages("torch", torch, body=TORCH, cuda_library=cuda_library)
    fake_packages("torchvision", torchvision, requires=requires, body=NO_OPERATOR)
    sentence = environment.check_torch_pair()
    assert sentence is not None
    assert "\n" not in sentence
    assert reason in sentence
    assert "operator torchvision::nms does not exist" in sentence
    assert f"torch {torch} and torchvision {torchvision} do not work together" in sentence
    assert 'pip install --force-reinstall "torch>=' in sentence


def test_an_unusual_pair_that_works_is_not_told(fake_packages: Callable[..., None]) -> None:
    fake_packages("torch", "2.15.0+cpu", body=TORCH)
    fake_packages("torchvision", "0.29.1+cu130", body=TORCHVISION)
    assert environment.check_torch_pair() is None


def test_the_installed_pair_is_found_good_without_importing_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object, **kwargs: object) -> None:
        raise AssertionError("a process was started")

    monkeypatch.setattr("subprocess.run", refuse)
    assert environment.check_torch_pair() is None


@pytest.mark.slow
def test_operators_of_the_installed_pair_run() -> None:
    facts = environment.probe_torch()
    assert facts.problem is None
    assert facts.torch is not None
    assert facts.torchvision is not None


def test_a_torch_that_crashes_or_hangs_is_told(
    fake_packages: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_packages("torch", "2.13.0+cpu", body="import os\nos._exit(3)\n")
    fake_packages("torchvision", "0.29.1+cu130", requires="torch (>=2.14.0)")
    assert "python ended with code 3" in str(environment.check_torch_pair())
    environment.probe_torch.cache_clear()
    (Path(str(environment._package_folder("torch"))) / "__init__.py").write_text("import time\ntime.sleep(60)\n")
    monkeypatch.setattr(environment, "_PROBE_TIMEOUT_S", 0.5)
    assert "took more than" in str(environment.check_torch_pair())


def test_a_missing_torch_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environment, "_version", lambda name: None if name == "torch" else "1.0")
    assert str(environment.check_torch_pair()).startswith("torch is not installed; run: ")


def test_packages_are_held_against_their_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    assert environment.required_packages()["torchvision"].startswith(">=0.29")
    assert all(status.problem is None for status in environment.check_packages())
    monkeypatch.setattr(environment, "required_packages", lambda: {"numpy": ">=99,<100", "no-such-package": ">=1"})
    old, missing = environment.check_packages()
    assert old.installed is not None
    assert "outside the tested range >=99,<100" in str(old.problem)
    assert missing == PackageStatus("no-such-package", ">=1", None, missing.problem)
    assert "no-such-package is not installed; run: " in str(missing.problem)


def test_without_a_requirements_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environment, "requirements_file", lambda: tmp_path / "none.txt")
    assert environment.check_packages() == ()


def in_fresh_process(code: str, folder: Path, *, expect: int = 0) -> str:
    """Output of ``code`` in a new Python that finds the modules of ``folder`` first.

    Not in this process: a compiled package such as OpenCV cannot be taken out of a process and put back.
    """
    repository = Path(environment.__file__).parents[1]
    path = os.pathsep.join([str(folder), str(repository)])
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "PYTHONPATH": path},
        check=False,
    )
    assert done.returncode == expect, done.stderr
    return done.stdout


@pytest.mark.parametrize(
    ("module", "words"),
    [
        (
            "raise ImportError('libGL.so.1: cannot open shared object file: No such file or directory')",
            "libGL.so.1 is missing; on Debian run: apt-get",
        ),
        ("raise ImportError('numpy.core.multiarray failed to import')", "cannot be loaded"),
        ("", "only partly installed"),  # what an interrupted uninstall leaves
    ],
)
def test_an_opencv_that_does_not_load(tmp_path: Path, module: str, words: str) -> None:
    (tmp_path / "cv2.py").write_text(module + "\n")
    out = in_fresh_process("from sai_core.environment import check_opencv; print(check_opencv())", tmp_path)
    assert words in out
    assert out.count("\n") == 1


def test_opencv_and_pyav_work_here() -> None:
    assert environment.check_opencv() is None
    assert environment.check_pyav() is None


def test_a_pyav_that_does_not_load(tmp_path: Path) -> None:
    (tmp_path / "av.py").write_text("raise ImportError('broken')\n")
    assert "(broken)" in in_fresh_process("from sai_core.environment import check_pyav; print(check_pyav())", tmp_path)


def test_codecs_that_can_be_decoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    codecs = environment.video_codecs()
    assert {name for name, there in codecs.items() if there} >= {"H.264", "MPEG-4", "MJPEG"}
    monkeypatch.setitem(environment._VIDEO_CODECS, "Nonesuch", ("nonesuch", "libx264"))  # that one only writes
    assert environment.video_codecs()["Nonesuch"] is False
    assert doctor.codecs_text({"H.264": True, "AV1": False}) == "decodes H.264; cannot decode AV1"
    (tmp_path / "av.py").write_text("raise ImportError('broken')\n")
    code = "from sai_core import doctor as d; print(d.codecs_text(d.environment.video_codecs()))"
    assert "unknown, since PyAV does not load" in in_fresh_process(code, tmp_path)


def test_machine_and_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = tmp_path / "not" / "yet"
    monkeypatch.setenv("SAI_CACHE_DIR", str(cache))
    machine = environment.look_at_machine()
    assert machine.n_cores >= 1
    assert machine.cache_bytes == 0
    assert machine.cache_writable
    assert machine.cache_free is not None
    assert machine.cache_budget == pytest.approx(machine.cache_free / 2, rel=0.2)
    assert not cache.exists()
    (cache / "deep").mkdir(parents=True)
    (cache / "deep" / "a").write_bytes(b"12345")
    assert environment.look_at_machine().cache_bytes == 5
    blocked = tmp_path / "file"
    blocked.touch()
    monkeypatch.setenv("SAI_CACHE_DIR", str(blocked / "cache"))
    assert not environment.look_at_machine().cache_writable


def test_chromium(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "chromium"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    monkeypatch.setenv("CHROMIUM_PATH", str(program))
    assert environment.find_chromium() == str(program)
    monkeypatch.setenv("CHROMIUM_PATH", str(tmp_path / "none"))
    assert environment.find_chromium() is None
    monkeypatch.delenv("CHROMIUM_PATH")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert environment.find_chromium() == str(program)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for file in ("labels_dev/s/a_std.json", "video_dev/s/b.mp4", "predictions/stand-in-x/a.json"):
        (tmp_path / file).parent.mkdir(parents=True)
        (tmp_path / file).touch()
    return tmp_path


def test_doctor_json(root: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environment, "probe_torch", lambda: GOOD)
    assert main(["doctor", "--data", str(root), "--json"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    report = json.loads(out)
    assert report["problems"] == []
    assert not report["broken"]
    assert report["torch"]["operators_work"]
    assert {p["name"] for p in report["packages"]} >= {"torch", "torchvision", "streamlit", "numpy"}
    assert report["devices"][-1]["name"] == "cpu"
    data = report["data"]
    assert data["splits"]["s"] == {
        "recordings": 2, "labels": 1, "metadata": 0, "mic": 0, "foa": 0, "eigen": 0, "video": 1, "frames": 0,
        "seconds": 0.0,
    }  # fmt: skip
    assert data["predictions"][0]["stand_in"]
    assert "No 4-channel microphone audio (mic_dev)." in data["missing"]
    assert report["workspace"] == {"path": os.environ["SAI_WORKSPACE"], "predictions": 0, "labels": 0}
    assert not Path(os.environ["SAI_WORKSPACE"]).exists()


def test_doctor_tells_of_a_workspace_that_cannot_be_used(
    root: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(environment, "probe_torch", lambda: GOOD)
    file = tmp_path_factory.mktemp("elsewhere") / "file"
    file.touch()
    for place, said in ((root / "inside", "lies inside the data root"), (file / "w", "is a file; give another folder")):
        monkeypatch.setenv("SAI_WORKSPACE", str(place))
        assert [said in problem for problem in doctor.gather()["problems"]] == [True]


def test_doctor_text(root: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    device = {"name": "cuda:0", "model": "Some GPU", "memory_bytes": 80 << 30}
    monkeypatch.setattr(environment, "probe_torch", lambda: TorchFacts("2", "0", "13", (device,), None))
    (root / "mic_dev").mkdir()
    (root / "mic_dev" / "broken.wav").write_bytes(b"nothing")
    assert main(["doctor", "--data", str(root)]) == 0
    out = capsys.readouterr().out
    for words in (
        "cuda:0 (Some GPU, 80.0 GiB), cpu",
        "their operators run",
        "stand-in-x: 1 files (stand-in, made up for demonstration)",
        "(no split)",
        "No first-order ambisonics (foa_dev).",
        "Problems",
        "broken.wav: cannot be read as a sound file",
    ):
        assert words in out


def test_doctor_says_of_an_empty_folder_what_it_looked_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--data", str(tmp_path)]) == 0
    text = capsys.readouterr().out
    assert f"{tmp_path}: there are no recordings; looked for files in labels_dev, metadata_dev, mic_dev" in text
    assert "No problems found" not in text


def test_doctor_on_a_machine_that_cannot_work(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(environment, "probe_torch", lambda: TorchFacts("1", "2", None, (), "They do not fit."))
    assert main(["doctor", "--quiet"]) == 1
    assert capsys.readouterr().out == "  - They do not fit.\n"


def test_doctor_keeps_quiet_when_all_is_well(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(environment, "probe_torch", lambda: GOOD)
    assert main(["doctor", "--quiet"]) == 0
    assert capsys.readouterr().out == ""


def test_doctor_with_a_mistyped_root(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--data", "/no/such/folder"]) == 2
    assert capsys.readouterr().err == "error: /no/such/folder: no such folder; check the path of the data root.\n"


@pytest.mark.parametrize("module", ["raise ImportError('libGL.so.1: cannot open shared object file')", ""])
def test_doctor_works_where_opencv_does_not(root: Path, tmp_path: Path, module: str) -> None:
    (tmp_path / "cv2.py").write_text(module + "\n")
    code = (
        "import sys; from sai_core import cli, environment as e;"
        "e.probe_torch = lambda: e.TorchFacts('1', '2', None, (), None);"
        f"sys.exit(cli.main(['doctor', '--data', {str(root)!r}]))"
    )
    out = in_fresh_process(code, tmp_path, expect=1)
    assert "OpenCV     does not work" in out
    assert "The data root was not checked" in out


def test_many_problems_are_cut_short(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    report = {"problems": [f"p{n}" for n in range(50)], "data": None, "broken": False}
    monkeypatch.setattr(doctor, "gather", lambda root: report)
    assert main(["doctor", "--quiet"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 21
    assert lines[-1] == "  and 30 more; --json lists them all"


def test_what_the_cache_had_to_tell_is_in_the_report(monkeypatch: pytest.MonkeyPatch) -> None:
    from sai_core import cache
    from sai_core.doctor import gather

    monkeypatch.setattr(cache, "_notices", cache.deque(["an entry was damaged."]))
    assert "an entry was damaged." in gather()["problems"]
