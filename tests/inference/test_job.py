"""The job behind the command and the page, and the queue: one after another, cancellable, resumable."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from sai_core.acoustics.audio_input import AudioInput
from sai_core.annotations import read_annotations, read_dcase_csv
from sai_core.dataset import find_prediction_set, open_data_root
from sai_core.detections.raw import open_raw
from sai_core.detector.config import DetectorConfig, FieldConfig, WidebandConfig
from sai_core.detector.field import FieldNetwork, load_field, save_field
from sai_core.detector.models import SaiDetector, load_detector, save_detector
from sai_core.detector.wideband import WidebandNetwork, load_wideband, save_wideband
from sai_core.errors import CancelledError, InputError
from sai_core.inference.job import (
    PredictionJob,
    PredictionQueue,
    PredictionRequest,
    RecordingResult,
    check_request,
    lacks,
    predict_recordings,
)
from sai_core.inference.networks import NetworkOptions, describe_checkpoint
from sai_core.postprocess import PipelineSettings, System, load_system
from sai_core.postprocess.facts import centre_directions
from sai_core.teacher.network import AvSeldNet, TeacherConfig, save_teacher

PATIENCE_S = 120.0


@pytest.fixture(scope="module")
def request_(tmp_path_factory: pytest.TempPathFactory) -> PredictionRequest:
    """Two recordings of 0.8 s of noise (not a simulation), one that is silent about its audio, a tiny network."""
    root = tmp_path_factory.mktemp("data") / "root"
    rng = np.random.default_rng(1)
    for name in ("fold9_room1_mix001", "fold9_room1_mix002"):
        path = root / "mic_dev" / "dev-test-x" / f"{name}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, rng.normal(0, 0.1, (19200, 4)), 24000, subtype="PCM_16")
    torch.manual_seed(0)
    checkpoint = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
    config = DetectorConfig.small("A", channels=32, width=16, first_level=3, coarse_stem=True)
    model = SaiDetector(config)
    torch.nn.init.normal_(model.classifier.weight, std=0.5)
    save_detector(model, checkpoint, notes={"magnitude": "amplitude"})
    return PredictionRequest(
        data=root,
        recordings=open_data_root(root).recordings,
        checkpoint=checkpoint,
        out=root.parent / "out",
        system=System(name="all of it", settings=PipelineSettings(min_score=0.0, min_hits=1)),
        network=NetworkOptions(floor=0.0, at_most=4),
        device="cpu",
        batch=2,
    )


def test_files_results_and_the_checkpoints_own_inputs(request_: PredictionRequest, tmp_path: Path) -> None:
    request = replace(request_, out=tmp_path / "out")
    seen: list[int] = []
    results = predict_recordings(request, on_result=lambda index, result: seen.append(index))
    assert seen == [0, 1]
    for result in results:
        assert result.error == ""
        assert result.path is not None
        assert result.raw is not None
        assert len(read_annotations(result.path)) == result.n_annotations > 0
        assert result.n_candidates == 4 * 8
        # a detector is given the maps that it was trained on
        assert '"magnitude": "amplitude"' in (result.raw / "store.json").read_text()
    # the raw stores beside the files are no predictions
    found = find_prediction_set(request.out)
    assert sorted(found.files) == ["fold9_room1_mix001", "fold9_room1_mix002"]
    assert found.problems == ()


def test_maps_are_made_by_the_recipe_that_the_checkpoint_or_the_request_names(
    request_: PredictionRequest, tmp_path: Path
) -> None:
    checkpoint = tmp_path / "precedence.safetensors"
    save_detector(load_detector(request_.checkpoint), checkpoint, notes={"visibility": "precedence"})
    assert describe_checkpoint(request_.checkpoint).visibility is None
    assert describe_checkpoint(checkpoint).visibility == "precedence"
    one = request_.recordings[:1]
    features: list[str] = []
    for number, request in enumerate(
        (
            replace(request_, recordings=one),
            replace(request_, recordings=one, checkpoint=checkpoint),
            replace(request_, recordings=one, visibility="precedence"),
            replace(request_, recordings=one, checkpoint=checkpoint, visibility="official"),
        )
    ):
        (result,) = predict_recordings(replace(request, out=tmp_path / str(number)))
        assert result.raw is not None
        features.append(str(json.loads((result.raw / "store.json").read_text())["notes"]["features"]))
    assert features[0] == features[3]
    assert features[1] == features[2]
    assert features[0] != features[1]
    wrong = tmp_path / "wrong.safetensors"
    save_detector(load_detector(request_.checkpoint), wrong, notes={"visibility": "by ear"})
    assert describe_checkpoint(wrong).visibility is None


def test_one_bad_recording_does_not_end_a_run(request_: PredictionRequest, tmp_path: Path) -> None:
    broken = replace(request_.recordings[0], mic_path=tmp_path / "gone.wav")
    request = replace(request_, recordings=(broken, request_.recordings[1]), out=tmp_path / "out")
    first, second = predict_recordings(request)
    assert "gone.wav" in first.error
    assert first.path is None
    assert second.path is not None


def test_a_system_that_looks_at_all_recordings_first(request_: PredictionRequest, tmp_path: Path) -> None:
    settings = replace(request_.system.settings, keep_classes="best", reliability="score")
    request = replace(request_, out=tmp_path / "out", system=System(name="best", settings=settings))
    notes: list[str] = []
    told: list[tuple[int, bool]] = []
    results = predict_recordings(
        request, on_result=lambda i, r: told.append((i, r.path is not None)), on_note=notes.append
    )
    assert told == [(0, False), (1, False), (0, True), (1, True)]
    assert len(notes) == 1
    assert notes[0].startswith("best keeps ")
    classes = {int(c) for r in results if r.path for c in read_annotations(r.path).category_id}
    assert len(classes) <= 1


def test_a_teacher_that_listens_leaves_the_rows_that_it_was_asked_with(
    request_: PredictionRequest, tmp_path: Path
) -> None:
    torch.manual_seed(3)
    model = AvSeldNet(TeacherConfig(audio="mic", filters=8, hidden=16))
    # an untrained network says little: this one is sure of a class somewhere
    with torch.no_grad():
        model.head[-1].bias[:4] = torch.tensor([2.0, 0.5, 0.1, 0.4])
    weights = tmp_path / "teacher.safetensors"
    save_teacher(model, weights, threshold=0.3)
    listening = replace(request_, out=tmp_path / "a", system=load_system("TPAV"), teacher=weights)
    results = predict_recordings(listening)
    assert not [r.error for r in results if r.error]
    for recording in listening.recordings:
        rows = read_dcase_csv(listening.out / "teacher" / f"{recording.name}.csv")
        assert len(rows)
        assert set(rows.category_id.tolist()) >= {0}
    reading = replace(listening, out=tmp_path / "b", teacher=listening.out / "teacher")
    for one, other in zip(results, predict_recordings(reading), strict=True):
        assert one.path is not None
        assert other.path is not None
        assert one.path.read_bytes() == other.path.read_bytes()
    silent = replace(listening.recordings[0], mic_path=None, eigen_path=None)
    with pytest.raises(InputError, match="no mic_dev audio for the teacher to listen to"):
        check_request(replace(listening, recordings=(silent,)))
    with pytest.raises(InputError, match="no such file"):
        check_request(replace(listening, teacher=tmp_path / "gone.safetensors"))


def test_a_teacher_that_is_not_asked_is_said(request_: PredictionRequest, tmp_path: Path) -> None:
    notes: list[str] = []
    predict_recordings(replace(request_, teacher=tmp_path / "rows"), on_note=notes.append)
    assert any("does not use a teacher" in note and "rows was ignored" in note for note in notes)


def test_a_detector_with_a_field_of_its_own_needs_no_decoder_beside_it(
    request_: PredictionRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(5)
    size = {"field_channels": 8, "field_blocks": 1, "field_degree": 3}
    config = DetectorConfig.small("A", channels=32, width=16, first_level=3, coarse_stem=True, region="field", **size)
    model = SaiDetector(config)
    assert model.field_head is not None
    torch.nn.init.normal_(model.classifier.weight, std=0.5)
    torch.nn.init.constant_(model.field_head.network.out.bias, -6.5)
    torch.nn.init.normal_(model.field_head.out.weight, std=0.1)
    save_detector(model, tmp_path / "fielded.safetensors", notes={"magnitude": "amplitude"})
    assert describe_checkpoint(tmp_path / "fielded.safetensors").has_field
    # nothing that ships is looked for
    monkeypatch.setattr("sai_core.detector.field.SHIPPED_FIELD", tmp_path / "none.safetensors")
    by_field = System(name="by field", settings=PipelineSettings(min_score=0.0, min_hits=1, export="field"))
    request = replace(request_, checkpoint=tmp_path / "fielded.safetensors", out=tmp_path / "out", system=by_field)
    fields = {}
    for batch in (2, 3):
        for result in predict_recordings(replace(request, out=tmp_path / f"out{batch}", batch=batch)):
            assert result.error == ""
            assert result.n_annotations > 0
            assert result.raw is not None
            raw = open_raw(result.raw)
            assert raw is not None
            fields[batch, raw.recording] = raw.field
            assert raw.field.shape == (8, 484)
            # the decoder's word and what the pyramid adds to it
            array_path = result.recording.array_path
            assert array_path is not None
            decoder = load_detector(request.checkpoint).field_head
            assert decoder is not None
            alone = decoder.network.of_frames(AudioInput(array_path, channels=4), 0, 8)
            assert 0.0 < np.abs(raw.field - alone).max() < 3.0
    for recording in {name for _, name in fields}:
        np.testing.assert_allclose(fields[2, recording], fields[3, recording], atol=0.02)
    save_field(FieldNetwork(FieldConfig(channels=4, blocks=1, degree=2)), tmp_path / "field.safetensors")
    with pytest.raises(InputError, match="says an intensity field of its own"):
        check_request(replace(request, field_weights=tmp_path / "field.safetensors"))


def test_a_field_decoder_gives_the_regions_that_label_code_forms(
    request_: PredictionRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(1)
    network = FieldNetwork(FieldConfig(channels=8, blocks=1, degree=3))
    # an untrained network knows nothing but a strength that a label would show
    torch.nn.init.constant_(network.out.bias, -6.5)
    weights = tmp_path / "field.safetensors"
    save_field(network, weights)
    recording = request_.recordings[0]
    by_field = System(name="by field", settings=PipelineSettings(min_score=0.0, min_hits=1, export="field"))
    plain = replace(request_, recordings=(recording,), out=tmp_path / "out")
    notes: list[str] = []
    (without,) = predict_recordings(plain)
    (kept,) = predict_recordings(replace(plain, field_weights=weights), on_note=notes.append)
    assert "the field is kept" in notes[0]
    notes.clear()
    (result,) = predict_recordings(
        replace(plain, field_weights=weights, system=by_field, batch=3), on_note=notes.append
    )
    assert not notes
    # the same candidates, in one store for both systems; none of it in the store without a field
    assert result.raw == kept.raw != without.raw
    assert without.raw is not None
    assert result.raw is not None
    raw, bare = open_raw(result.raw), open_raw(without.raw)
    assert raw is not None
    assert bare is not None
    assert bare.field.size == 0
    np.testing.assert_array_equal(raw.boxes_xyxy, bare.boxes_xyxy)
    assert recording.array_path is not None
    expected = load_field(weights).of_frames(AudioInput(recording.array_path, channels=4), 0, raw.n_frames)
    np.testing.assert_allclose(raw.field, expected, atol=0.02)
    assert result.path is not None
    table = read_annotations(result.path)
    for row in range(len(table)):
        energy = table.energy[table.point_offsets[table.polygon_offsets[row]] :][:3]
        assert ((energy > 0.22) & (energy < 1)).all()  # a label's energies are never lower
    assert len(table) > 3
    with pytest.raises(InputError, match="not a field network"):
        check_request(replace(plain, field_weights=request_.checkpoint))
    monkeypatch.setattr("sai_core.detector.field.SHIPPED_FIELD", tmp_path / "none.safetensors")
    with pytest.raises(InputError, match="by field needs a field decoder"):
        check_request(replace(plain, system=by_field))


def test_a_wideband_listener_has_a_say_in_classes(
    request_: PredictionRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(2)
    weights = tmp_path / "wideband.safetensors"
    save_wideband(WidebandNetwork(WidebandConfig(width=2)), weights)
    recording = request_.recordings[0]
    heard = System(name="heard", settings=PipelineSettings(min_score=0.0, min_hits=1, wideband_weight=1.0))
    plain = replace(request_, recordings=(recording,), out=tmp_path / "out")
    notes: list[str] = []
    (without,) = predict_recordings(plain)
    (kept,) = predict_recordings(replace(plain, wideband_weights=weights), on_note=notes.append)
    assert "is kept with the raw detections" in notes[0]
    notes.clear()
    (result,) = predict_recordings(
        replace(plain, wideband_weights=weights, system=heard, batch=3), on_note=notes.append
    )
    assert not notes
    # the same candidates, in one store for both systems; none of it in the store that nobody listened for
    assert result.raw == kept.raw != without.raw
    assert without.raw is not None
    assert result.raw is not None
    raw, bare = open_raw(result.raw), open_raw(without.raw)
    assert raw is not None
    assert bare is not None
    assert bare.wideband.size == 0
    np.testing.assert_array_equal(raw.class_scores, bare.class_scores)
    assert recording.array_path is not None
    azimuth, elevation = centre_directions(raw.boxes_xyxy)
    source = AudioInput(recording.array_path, channels=4)
    expected = load_wideband(weights).of_frames(source, 0, raw.n_frames, raw.frame, azimuth, elevation)
    assert len(raw) > 5
    np.testing.assert_allclose(raw.wideband, expected, atol=0.01)
    assert result.path is not None
    table = read_annotations(result.path)
    # the listener alone: only classes that it puts first
    assert set(table.category_id.tolist()) <= set(raw.wideband[:, :13].argmax(axis=1).tolist())
    assert len(table)
    with pytest.raises(InputError, match="not a wideband listener"):
        check_request(replace(plain, wideband_weights=request_.checkpoint))
    monkeypatch.setattr("sai_core.detector.wideband.SHIPPED_WIDEBAND", tmp_path / "none.safetensors")
    with pytest.raises(InputError, match="heard needs a wideband listener"):
        check_request(replace(plain, system=heard))


def test_what_a_file_does_not_hold_for_the_listener_is_said(
    request_: PredictionRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(2)
    weights = tmp_path / "wideband.safetensors"
    save_wideband(WidebandNetwork(WidebandConfig(width=2)), weights)
    low = tmp_path / "root" / "mic_dev" / "dev-test-x" / "fold9_room1_mix003.wav"
    low.parent.mkdir(parents=True)
    noise = np.random.default_rng(5).normal(0, 0.1, (12800, 4))
    soundfile.write(low, noise, 16000, subtype="PCM_16")
    recordings = (request_.recordings[0], *open_data_root(tmp_path / "root").recordings)
    request = replace(request_, recordings=recordings, out=tmp_path / "out")
    opened: list[object] = []

    class Counted(AudioInput):
        def __init__(self, *args: object, **kwargs: object) -> None:
            opened.append(args[0])
            super().__init__(*args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr("sai_core.inference.engine.AudioInput", Counted)
    sentence = "Classes are heard without what is above 7600 Hz, which the file does not hold."
    full, bare = predict_recordings(request)
    assert full.error == bare.error == ""
    assert "Classes are heard" not in full.note + bare.note
    # without a listener nobody needs a second reader
    assert len(opened) == 2
    opened.clear()
    full, held = predict_recordings(replace(request, wideband_weights=weights))
    assert len(opened) == 4
    assert "Classes are heard" not in full.note
    assert held.note.startswith(bare.note)
    assert sentence in held.note
    # as it was stored: the next system of the same detections says so too
    (_, again) = predict_recordings(replace(request, wideband_weights=weights))
    assert again.note == held.note
    assert len(opened) == 4


def test_mistakes_are_told_before_any_work(request_: PredictionRequest, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no recordings"):
        check_request(replace(request_, recordings=()))
    with pytest.raises(InputError, match="in two splits"):
        check_request(replace(request_, recordings=request_.recordings[:1] * 2))
    with pytest.raises(InputError, match="inside the data"):
        check_request(replace(request_, out=request_.data / "labels_dev" / "mine"))
    file = tmp_path / "file"
    file.write_text("x")
    with pytest.raises(InputError, match="is a file"):
        check_request(replace(request_, out=file))
    with pytest.raises(InputError, match="needs a teacher"):
        check_request(replace(request_, system=load_system("TPAV")))
    with pytest.raises(InputError, match="batch 0"):
        replace(request_, batch=0)
    bare = replace(request_.recordings[0], mic_path=None)
    assert lacks(bare, needs_rgb=True) == "4-channel audio and video"
    assert lacks(request_.recordings[0], needs_rgb=False) == ""


def test_the_queue_runs_one_after_another_and_says_what_went_wrong(request_: PredictionRequest, tmp_path: Path) -> None:
    queue = PredictionQueue()
    good = queue.request(replace(request_, out=tmp_path / "a"))
    with pytest.raises(InputError, match="another job writes there"):
        queue.request(replace(request_, out=tmp_path / "a"))
    bad = queue.request(replace(request_, out=tmp_path / "b", checkpoint=tmp_path / "none.safetensors"))
    assert queue.jobs == (bad, good)
    assert bad.state == "queued"
    assert bad.wait(PATIENCE_S)
    assert (good.state, good.fraction, len(good.written)) == ("done", 1.0, 2)
    assert good.text == "2 of 2 recordings written"
    assert good.result == tuple(good.results[k] for k in range(2))
    assert bad.state == "failed"
    assert "no such file" in bad.error
    queue.remove(bad)
    assert queue.jobs == (good,)


def test_a_job_of_recordings_that_all_fail_has_failed(request_: PredictionRequest, tmp_path: Path) -> None:
    broken = replace(request_.recordings[0], mic_path=tmp_path / "gone.wav")
    job = PredictionQueue().request(replace(request_, recordings=(broken,), out=tmp_path / "out"))
    assert job.wait(PATIENCE_S)
    assert (job.state, job.written) == ("failed", [])
    assert "gone.wav" in job.error
    assert job.results[0].error == job.error


def test_a_cancelled_job_goes_on_where_it_was(
    request_: PredictionRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue = PredictionQueue()
    request = replace(request_, out=tmp_path / "out")

    class Stopping(PredictionJob):
        """Cancels itself as soon as the first recording is written."""

        def __init__(self, request: PredictionRequest) -> None:
            super().__init__(request)
            job = self

            class Results(dict[int, RecordingResult]):
                def __setitem__(self, key: int, value: RecordingResult) -> None:
                    super().__setitem__(key, value)
                    job.cancel()

            self.results = Results()

    monkeypatch.setattr("sai_core.inference.job.PredictionJob", Stopping)
    job = queue.request(request)
    waiting = queue.request(replace(request, out=tmp_path / "other"))
    waiting.cancel()  # what waits can be cancelled too
    assert job.wait(PATIENCE_S)
    assert (job.state, waiting.state) == ("cancelled", "cancelled")
    assert "continues from there" in job.text
    assert len(job.written) == 1
    monkeypatch.undo()
    again = queue.request(request)
    assert again.wait(PATIENCE_S)
    assert again.state == "done"
    assert len(again.written) == 2
    assert not (tmp_path / "other").exists()


def test_a_watcher_that_cancels_ends_the_run(request_: PredictionRequest, tmp_path: Path) -> None:
    def stop(fraction: float, message: str) -> None:
        raise CancelledError("enough")

    with pytest.raises(CancelledError, match="enough"):
        predict_recordings(replace(request_, out=tmp_path), progress_of=lambda index, recording: stop)
