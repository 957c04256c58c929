"""What can be trained: one list that the ``train`` verb, the launcher and the Train page read.

A kind is described here without importing its trainer, since torch takes seconds. The trainer is a module with the
functions of :class:`Trainer`. A new kind of training is a module and an entry in :data:`KINDS`.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Final, Literal, Protocol

from sai_core.errors import InputError, SaiError
from sai_core.files import user_path
from sai_core.progress import Progress
from sai_core.runs.estimate import Estimate
from sai_core.settings import Setting, build, describe, read_toml

_PACKAGE: Final[Path] = Path(__file__).resolve().parents[1]


class FieldError(InputError):
    """A mistake in one field of what a run is started with.

    Attributes
    ----------
    field : str
        ``recipe``, ``data``, ``device``, ``epochs``, ``overrides``, ``environment``, ``executor``, ``name``, or an
        option such as ``--split``.
    """

    def __init__(self, field: str, sentence: str) -> None:
        super().__init__(sentence)
        self.field = field


@contextmanager
def at_field(field: str) -> Iterator[None]:
    """Say of a user's mistake which field it is in."""
    try:
        yield
    except FieldError:
        raise
    except InputError as error:
        raise FieldError(field, str(error)) from error


@dataclass(frozen=True, kw_only=True)
class RunInputs:
    """What a run is given beside its settings; kept in ``config.json``, so that it can go on.

    Attributes
    ----------
    data_roots : tuple of Path
    device : str
        ``auto``, ``cpu``, ``cuda`` or a torch device name.
    options : mapping
        Values of the kind's own options, e.g. ``{"--split": "dev-train-sim"}``.
    processes : int
        That share the run's work.
    """

    data_roots: tuple[Path, ...] = ()
    device: str = "auto"
    options: Mapping[str, str] = field(default_factory=dict)
    processes: int = 1

    def over(self, kept: RunInputs) -> RunInputs:
        """These, with those that a run was started with where nothing else is given."""
        given = {name: value for name, value in self.options.items() if value}
        return replace(self, data_roots=self.data_roots or kept.data_roots, options={**kept.options, **given})

    def as_dict(self) -> dict[str, Any]:
        """Entries of ``config.json`` beside the settings."""
        return {
            "data_roots": [str(Path(root).resolve()) for root in self.data_roots],
            "device": self.device,
            "options": dict(self.options),
        }


def split_config(raw: Mapping[str, Any], source: str) -> tuple[dict[str, Any], RunInputs]:
    """Settings and inputs from ``config.json``.

    Raises
    ------
    InputError
        Not what :meth:`RunInputs.as_dict` gives.
    """
    settings = dict(raw)
    roots, device, options = settings.pop("data_roots", []), settings.pop("device", "auto"), settings.pop("options", {})
    kind = settings.pop("kind", None)
    older = settings.get("data")
    if kind is None and isinstance(older, dict) and set(older) == {"roots", "train", "validation"}:
        # a teacher's run from before all kinds had one form; the settings of a teacher have no table of this name
        del settings["data"]
        roots, options = older["roots"], {"--split": older["train"], "--validation": older["validation"]}
    if (
        not isinstance(roots, list)
        or not isinstance(options, dict)
        or not all(isinstance(text, str) for text in (*roots, device, *options.values()))
    ):
        raise InputError(f"{source}: data_roots, device or options do not belong to a run; start a new run instead.")
    return settings, RunInputs(data_roots=tuple(map(Path, roots)), device=device, options=options)


def collect(*checks: Callable[[], object]) -> list[SaiError]:
    """What several checks raise, each of which is made whatever became of the others."""
    found: list[SaiError] = []
    for check in checks:
        try:
            check()
        except SaiError as error:
            found.append(error)
    return found


class Estimator(Protocol):
    """A module that knows before a run how long it will take."""

    def count_steps(self, config: Any, inputs: RunInputs) -> int:
        """Steps of a run."""

    def decided(self, config: Any, inputs: RunInputs) -> Sequence[str]:
        """What is left out of the data, and other choices made for the run, a sentence each."""

    def measure(self, config: Any, inputs: RunInputs, *, progress: Progress) -> Estimate:
        """Time some steps; a :class:`FieldError` where the memory is too small for them."""


class Trainer(Protocol):
    """A module that trains."""

    def faults(self, config: Any, inputs: RunInputs) -> list[SaiError]:
        """Everything that would make a new run fail at its start, as far as it can be known before."""

    def room(self, config: Any, inputs: RunInputs) -> int:
        """Bytes of the disk that a new run needs at most: checkpoints, weights, and what it keeps of its data."""

    def train_run(
        self,
        config: Any | None,
        run: Path,
        inputs: RunInputs,
        *,
        resume: bool,
        progress: Progress,
        say: Callable[[str], object],
    ) -> str:
        """Train a new run (``config`` given) or go on with one; returns what was made, in one line."""


@dataclass(frozen=True, kw_only=True)
class KindOption:
    """An option that only this kind has.

    Attributes
    ----------
    name, help, metavar : str
    required : bool
        For a new run.
    setting : str
        Setting that it is a short form of; "" where it is an input of its own.
    """

    name: str
    help: str
    metavar: str
    required: bool = False
    setting: str = ""


@dataclass(frozen=True, kw_only=True)
class TrainingKind:
    """Something that can be trained.

    Attributes
    ----------
    name, title, help, description, examples : str
    module : str
        Of the trainer.
    recipe_files : str
        Pattern of the recipes that ship, below the package.
    settings_class : str
        ``module:class`` of its settings; importing them does not import torch.
    default_recipe : str
        "" where one must be chosen.
    data : {"needed", "optional", "none"}
        Whether it learns from data roots.
    takes_device, takes_epochs : bool
    options : tuple of KindOption
    shares_work : bool
        Whether several processes (``torchrun``) can train one run together; any other kind would be trained several
        times over into one folder.
    priority : int
        How far it stands back behind other work on the machine (``nice``).
    estimates : str
        Module of its :class:`Estimator`; "" where only earlier runs tell how long one takes.
    """

    name: str
    title: str
    help: str
    description: str
    examples: str
    module: str
    recipe_files: str
    settings_class: str
    default_recipe: str = ""
    data: Literal["needed", "optional", "none"] = "needed"
    takes_device: bool = True
    takes_epochs: bool = True
    options: tuple[KindOption, ...] = ()
    shares_work: bool = False
    priority: int = 10
    estimates: str = ""

    @property
    def recipes(self) -> dict[str, Path]:
        """Recipes that ship, by name."""
        return {path.stem: path for path in sorted(_PACKAGE.glob(self.recipe_files))}

    def settings(self) -> list[Setting]:
        """All settings of its recipes."""
        return describe(self._settings_class())

    @property
    def recipe_keys(self) -> frozenset[str]:
        """First-level names of its recipes: what tells a recipe from any other TOML file."""
        return frozenset(f.name for f in fields(self._settings_class()))

    def _settings_class(self) -> Any:
        module, _, name = self.settings_class.partition(":")
        return getattr(importlib.import_module(module), name)

    def read_config(self, name_or_path: str | Path, overrides: Sequence[str] = ()) -> Any:
        """Settings of a recipe with ``key.sub=value`` changes, values as in TOML.

        Raises
        ------
        InputError
            No such recipe or file, not TOML, unknown or impossible settings.
        """
        file = self.recipe(str(name_or_path))
        return self.config_from(read_toml(file, overrides), str(file))

    def config_from(self, raw: Mapping[str, Any], source: str = "configuration") -> Any:
        """Settings from plain dictionaries; ``source`` names them in the :class:`InputError` of what cannot be."""
        return build(self._settings_class(), raw, source)

    def trainer(self) -> Trainer:
        """Import the trainer (and torch)."""
        module: Any = importlib.import_module(self.module)
        return module

    def estimator(self) -> Estimator | None:
        """Import its estimator (and torch), if it has one."""
        if not self.estimates:
            return None
        module: Any = importlib.import_module(self.estimates)
        return module

    def recipe(self, name_or_path: str) -> Path:
        """File of a recipe, by its name or a path; the default for "".

        Raises
        ------
        FieldError
            Neither, or none where one is needed.
        """
        shipped = self.recipes
        wanted = name_or_path or self.default_recipe
        if not wanted:
            raise FieldError(
                "recipe",
                f"a new run needs a recipe (--config), by name or as a TOML file; recipes are {', '.join(shipped)}.",
            )
        path = user_path(wanted, what="recipe")
        if path.is_file():
            return path
        if wanted in shipped:
            return shipped[wanted]
        raise FieldError("recipe", f"{wanted}: no such file, and no recipe either; recipes are {', '.join(shipped)}.")

    def short_forms(self, *, epochs: int | None, options: Mapping[str, str]) -> dict[str, str]:
        """Changes of settings as ``key=value`` that have a field of their own, by that field."""
        short = {o.name: f"{o.setting}={options[o.name]}" for o in self.options if o.setting and options.get(o.name)}
        return {**({"epochs": f"epochs={epochs}"} if epochs is not None and self.takes_epochs else {}), **short}


LABELS_OPTION: Final[str] = "--labels"
"""Option of a detector's run with other labels than those of the data."""

_DETECTOR_EXAMPLES = """examples:
  python -m sai_core train detector --config small_a --data /data/sim --run runs/small_a
  python -m sai_core train detector --config small_b --data /data/train --data /data/val --run runs/small_b \\
      --epochs 20 --set optimiser.rate=3e-4 --set data.frames_per_epoch=8000
  python -m sai_core train detector --config small_a --data /data/own --labels corrected --run runs/again
  python -m sai_core train detector --run runs/small_a --resume

Recordings of splits dev-train* are for training, those of dev-val* for validation; where there are none for
validation, some are held out (settings data.train_splits, data.validation_splits). The run folder holds config.json,
status.json, metrics.csv, last.safetensors (resumable after a kill), best.safetensors (for `predict --checkpoint`) and
samples/; a file `stop` in it ends the run with a checkpoint.
"""

_UPLAM_EXAMPLES = """examples:
  python -m sai_core train uplam --run runs/uplam
  python -m sai_core train uplam --run runs/uplam --resume
  python -m sai_core train uplam --run /tmp/try --set data.blocks=1 --set stages.1.steps=2000

Scenes are simulated on the fly and kept in the cache folder; no data set is needed. The run folder holds the
configuration, the environment, metrics.csv, the last state (resumable after a kill) and the best weights;
uplam.safetensors is written at the end and can be given to `features --weights`.
"""

_SOUNDS_EXAMPLES = """examples:
  python -m sai_core train sounds --scenes 450 --data /data/sim --run runs/sounds
  python -m sai_core train detector --config small_a --data /data/sim --run runs/small_a \\
      --set start.sounds=runs/sounds/sounds.safetensors

Scenes are kept in the run folder: a run that was stopped hears only what it has not heard, and then learns from the
start. Of the scenes and recordings one in ten (held_out=0.1) is measured and not learned from.
"""

_LISTENER_EXAMPLES = """examples:
  python -m sai_core train listener --run runs/listener
  python -m sai_core train listener --sounds sounds/train --run runs/listener
  python -m sai_core train listener --run runs/listener --resume

Sounds are synthesised, and taken from --sounds (a sub-folder for each class) where that is given; they are kept in the
run folder. best.safetensors there is for `listen --classes --listener`.
"""

_TEACHER_EXAMPLES = """examples:
  python -m sai_core train teacher --data /data/sim --split dev-train-sim --validation dev-val-sim --run runs/teacher
  python -m sai_core train teacher --data /data/STARSS23 --split dev-train-sony --validation dev-test-sony \\
      --run runs/teacher --set model.audio=\\"mic\\" --set epochs=80

Needs audio (mic_dev or foa_dev) and metadata_dev, no labels. best.safetensors in the run folder is for
`python -m sai_core teacher`, which writes the CSVs that `predict --teacher` takes.
"""

_FIELD_EXAMPLES = """examples:
  python -m sai_core train field --scenes 120 --run runs/field
  python -m sai_core train field --scenes 0 --data /data/STARSS23 --run runs/field
  python -m sai_core predict ... --field runs/field/best.safetensors --system Field

Needs no labels: 32 channels (simulated scenes, or eigen_dev of --data) teach four. Scenes are kept in the run folder,
and one in ten (held_out=0.1) is measured and not learned from.
"""

_WIDEBAND_EXAMPLES = """examples:
  python -m sai_core train wideband --run runs/wideband
  python -m sai_core train wideband --sounds sounds/train --run runs/wideband
  python -m sai_core train wideband --scenes 0 --data /data/STARSS23 --run runs/wideband
  python -m sai_core predict ... --wideband runs/wideband/best.safetensors --system Field

Scenes are simulated and only heard, every other one with the recordings of --sounds (a sub-folder for each class);
--data needs 4-channel audio and metadata_dev, no labels. All is kept in the run folder, and one in ten (held_out=0.1)
is measured and not learned from.
"""

KINDS: Final[dict[str, TrainingKind]] = {
    kind.name: kind
    for kind in (
        TrainingKind(
            name="detector",
            title="Detector",
            help="Track A or Track B detector, from labels",
            description="Train a detector of Track A (sound) or Track B (sound and sight) from labelled recordings.",
            examples=_DETECTOR_EXAMPLES,
            module="sai_core.training.loop",
            recipe_files="training/recipes/*.toml",
            settings_class="sai_core.training.config:TrainingConfig",
            shares_work=True,
            priority=5,
            estimates="sai_core.training.trial",
            options=(
                KindOption(
                    name=LABELS_OPTION,
                    metavar="SET",
                    help="a label set of the workspace, by name (or a folder), instead of the own labels of the data "
                    "that it was made from",
                ),
            ),
        ),
        TrainingKind(
            name="uplam",
            title="UpLAM (acoustic maps)",
            help="acoustic maps from four channels, on simulated rooms",
            description="Train UpLAM, self-supervised by 32 channels, on simulated rooms around a rigid sphere.",
            examples=_UPLAM_EXAMPLES,
            module="sai_core.training.uplam.loop",
            recipe_files="training/uplam/uplam.toml",
            settings_class="sai_core.training.uplam.config:TrainingConfig",
            default_recipe="uplam",
            data="none",
            takes_device=False,
            takes_epochs=False,
        ),
        TrainingKind(
            name="sounds",
            title="Sounds (for a detector to start from)",
            help="what classes sound like from a direction, for a detector to start from",
            description="Train the part of a detector that listens, on simulated scenes that are only heard.",
            examples=_SOUNDS_EXAMPLES,
            module="sai_core.training.sounds",
            recipe_files="training/sounds.toml",
            settings_class="sai_core.training.config:SoundSettings",
            default_recipe="sounds",
            data="optional",
            takes_device=False,
            options=(KindOption(name="--scenes", metavar="N", help="simulated scenes", setting="scenes"),),
        ),
        TrainingKind(
            name="field",
            title="Field decoder (regions of the label's shape)",
            help="the intensity field under the labels from four channels, taught by 32",
            description="Train the network that predicts the intensity field which labels are formed from, "
            "self-supervised by 32 channels.",
            examples=_FIELD_EXAMPLES,
            module="sai_core.training.field",
            recipe_files="training/field.toml",
            settings_class="sai_core.training.config:FieldTraining",
            default_recipe="field",
            data="optional",
            options=(KindOption(name="--scenes", metavar="N", help="simulated scenes", setting="scenes"),),
        ),
        TrainingKind(
            name="wideband",
            title="Wideband listener (classes of candidates)",
            help="what sounds in the direction of a candidate, from scenes and recordings",
            description="Train the network that hears the direction of each candidate and has a say in its class.",
            examples=_WIDEBAND_EXAMPLES,
            module="sai_core.training.wideband",
            recipe_files="training/wideband.toml",
            settings_class="sai_core.training.config:WidebandTraining",
            default_recipe="wideband",
            data="optional",
            options=(
                KindOption(name="--scenes", metavar="N", help="simulated scenes", setting="scenes"),
                KindOption(name="--sounds", metavar="DIR", help="recordings, a sub-folder for each class"),
            ),
        ),
        TrainingKind(
            name="listener",
            title="Listener (what a sound is)",
            help="what two seconds of a beam's sound are, from synthesised and recorded sounds",
            description="Train the network that hears a direction or a source alone and scores the 13 classes.",
            examples=_LISTENER_EXAMPLES,
            module="sai_core.training.listener",
            recipe_files="training/listener.toml",
            settings_class="sai_core.training.config:ListenerSettings",
            default_recipe="listener",
            data="none",
            takes_device=False,
            options=(KindOption(name="--sounds", metavar="DIR", help="recordings, a sub-folder for each class"),),
        ),
        TrainingKind(
            name="teacher",
            title="Teacher (AV-SELDnet)",
            help="DCASE 2023 teacher (CRNN, Multi-ACCDOA), from DCASE metadata",
            description="Train a DCASE 2023 sound event localiser whose output refines a detector's classes and "
            "counts.",
            examples=_TEACHER_EXAMPLES,
            module="sai_core.training.teacher",
            recipe_files="training/teacher.toml",
            settings_class="sai_core.teacher.config:TeacherTraining",
            default_recipe="teacher",
            options=(
                KindOption(name="--split", metavar="S", help="split to train on", required=True),
                KindOption(name="--validation", metavar="S", help="split to choose the best epoch on", required=True),
            ),
        ),
    )
}


def kind_of(name: str) -> TrainingKind:
    """Kind of a name.

    Raises
    ------
    InputError
        There is none.
    """
    if name not in KINDS:
        raise InputError(f"There is no training of kind {name!r}; there is {', '.join(KINDS)}.")
    return KINDS[name]
