"""Settings of a teacher and of its training; read without torch."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Literal

from sai_core.errors import InputError
from sai_core.settings import Settings, about

AudioKind = Literal["mic", "foa"]


@dataclass(frozen=True)
class TeacherConfig(Settings):
    """What a teacher is built from; saved in its file."""

    audio: Annotated[
        AudioKind, about("foa: log-mel and intensity vectors; mic: log-mel and GCC-PHAT", label="Audio")
    ] = "mic"
    visual: Annotated[bool, about("pictures averaged over cells of 30 degrees beside the sound")] = False
    filters: Annotated[int, about("width of the convolutions", ge=8, le=4096)] = 48
    hidden: Annotated[
        int, about("width of the recurrent and attention layers; a multiple of twice the heads", ge=2, le=4096)
    ] = 96
    heads: Annotated[int, about("heads of the attention layers", ge=1, le=4096)] = 4
    attention_layers: Annotated[int, about("layers after the recurrent ones", ge=0, le=4096)] = 1
    dropout: Annotated[float, about("share of values that are set to zero in training", ge=0, lt=1)] = 0.1

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.hidden % (2 * self.heads):
            raise InputError(f"hidden is {self.hidden}; a multiple of twice the heads ({2 * self.heads}) is needed.")


@dataclass(frozen=True, kw_only=True)
class TeacherTraining(Settings):
    """Settings of a run."""

    seed: Annotated[int, about("seed of all random choices", ge=0)] = 1
    threads: Annotated[int, about("threads of torch on a CPU", ge=1)] = 1
    epochs: Annotated[int, about("passes over all segments", ge=1)] = 40
    batch: Annotated[int, about("segments per step", label="Batch size", ge=1)] = 32
    segment_frames: Annotated[int, about("frames of 100 ms of a segment", ge=1)] = 50
    rate: Annotated[float, about("falls to 0 along a cosine", label="Learning rate", gt=0)] = 1e-3
    weight_decay: Annotated[float, about("of the weights", ge=0)] = 1e-4
    clip: Annotated[float, about("largest norm of the gradient", gt=0)] = 2.0
    threshold: Annotated[
        float,
        about(
            "least activity of a detection; 0 for the best on the validation split, stored with the weights",
            ge=0,
            lt=1,
        ),
    ] = 0.0
    checkpoint_minutes: Annotated[float, about("time between checkpoints", unit="min", ge=0)] = 3.0
    model: TeacherConfig = field(default_factory=TeacherConfig)
