"""Teachers of either kind, ours and the official SELDnet: opened by content, asked for the rows of a recording."""

from __future__ import annotations

from pathlib import Path

import torch

from sai_core.annotations import DcaseMetadata
from sai_core.checkpoints import read_metadata, read_state_dict
from sai_core.dataset import Recording
from sai_core.errors import InputError
from sai_core.teacher.decode import decode
from sai_core.teacher.features import HOPS_PER_FRAME, recording_features, visual_features
from sai_core.teacher.network import AvSeldNet, load_teacher, output_of
from sai_core.teacher.seldnet import SeldNet, is_seldnet, predict_with_seldnet, read_scaler, seldnet_of

Teacher = AvSeldNet | SeldNet


def open_teacher(path: Path, *, scaler: Path | None = None, device: str | torch.device = "cpu") -> Teacher:
    """Open a teacher's weights: of this program, or an official DCASE 2024 SELDnet checkpoint.

    Parameters
    ----------
    path : Path
    scaler : Path, optional
        Means and deviations of the official network's training features (:func:`read_scaler`).
    device : str or torch.device

    Raises
    ------
    InputError
        No teacher, or a scaler that does not fit or is given to a teacher of ours, which has none.
    """
    path = Path(path)
    if "sai_teacher" in read_metadata(path):
        if scaler is not None:
            raise InputError(f"{scaler}: a teacher of this program needs no scaler; leave it out.")
        return load_teacher(path, device=device)
    state = read_state_dict(path)
    if not is_seldnet(state):
        raise InputError(
            f"{path}: not a teacher; give what `train teacher` wrote, an official DCASE 2024 SELDnet checkpoint, or "
            "the folder of a DCASE system's CSV files."
        )
    model = seldnet_of(state, path)
    model.scaler = None if scaler is None else read_scaler(scaler, model.audio)
    return model.to(device)


def teacher_note(model: Teacher) -> str:
    """What a user should know of a teacher's figures, in one sentence; empty where there is nothing to say."""
    if isinstance(model, SeldNet) and model.scaler is None:
        return (
            "The official SELDnet was trained on features scaled by its training set; without that scaler "
            "(--teacher-scaler) each recording is scaled by its own means and deviations, which changes what is heard."
        )
    return ""


def check_audio(model: Teacher, recording: Recording) -> None:
    """Raise :class:`InputError` where a recording lacks the audio that a teacher listens to."""
    if (recording.foa_path if model.audio == "foa" else recording.array_path) is None:
        raise InputError(
            f"{recording.name}: there is no {model.audio}_dev audio for the teacher to listen to; give another "
            "teacher, or the folder of a DCASE system's CSV files."
        )


def predict_recording(model: Teacher, recording: Recording, *, threshold: float | None = None) -> DcaseMetadata:
    """DCASE rows of a recording.

    Parameters
    ----------
    model : Teacher
    recording : Recording
    threshold : float, optional
        Least length of an active vector; the model's own when left out.

    Raises
    ------
    InputError
        The recording lacks the audio that the teacher listens to.
    """
    check_audio(model, recording)
    if isinstance(model, SeldNet):
        return predict_with_seldnet(model, recording, threshold=threshold)
    spectral = recording_features(recording, model.config.audio)
    frames = spectral.shape[1] // HOPS_PER_FRAME
    visual = visual_features(recording, frames) if model.config.visual else None
    return decode(
        output_of(model, spectral, visual),
        threshold=model.threshold if threshold is None else threshold,
        recording=recording.name,
    )
