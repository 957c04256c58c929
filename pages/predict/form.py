"""The Predict page's choices: recordings, network, system, options, folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

import streamlit as st

from pages.components import address, predictions, roles, sources
from pages.components import state_keys as keys
from pages.components.data_bar import say_problems
from pages.components.text import plain, shown
from sai_core import permissions
from sai_core.dataset import DataRoot, Recording
from sai_core.errors import SaiError
from sai_core.files import user_path
from sai_core.postprocess import System, list_systems
from sai_core.postprocess.systems import refused_systems, systems_folders
from sai_core.teacher import SHIPPED_TEACHER
from sai_core.workspace import workspace

if TYPE_CHECKING:
    from sai_core.inference.job import PredictionRequest
    from sai_core.inference.networks import CheckpointFacts

OTHER = "my own file"
_DEVICES = ("auto", "cpu", "cuda")
_RUN = predictions.RUN_PREFIX
_MAGNITUDES = ("as trained", "normalised", "amplitude", "power")


@dataclass(frozen=True)
class _Network:
    facts: CheckpointFacts
    system: System
    teacher: Path | None
    teacher_scaler: Path | None


def form(root: DataRoot) -> PredictionRequest | None:
    """Draw the choices; gives the request when the button is pressed and everything needed is there."""
    recordings = _recordings(root)
    network = _network()
    if network is None:
        st.button("Predict", type="primary", icon=":material/play_arrow:", disabled=True, key="predict_go_off")
        return None
    able = _say_what_is_missing(recordings, network.facts)
    with st.expander("Options", icon=":material/tune:"):
        options = _options(network.facts, network.system)
        folder = roles.path_field(
            "Output folder",
            key=keys.PREDICT_FOLDER,
            persist_state="session",
            placeholder="the workspace",
            help="To keep the predictions elsewhere, outside the data root: one JSON file per recording in the "
            "submission format, and in *raw* every candidate before thresholds.",
        ).strip()
    from sai_core.inference.job import PredictionRequest, name_of

    suggested = name_of(network.facts.path, network.system)
    free = workspace().free_name("predictions", suggested)
    name = st.text_input(
        "Name",
        key=keys.PREDICT_NAME,
        persist_state="session",
        # what was made in the same way is continued; anything else gets a name of its own
        placeholder=suggested if free == suggested else f"{suggested}, or {free} if that was made differently",
        disabled=bool(folder),
        help="The predictions are kept in the workspace as a set of this name, and appear on all pages at once.",
    ).strip()
    pressed = roles.button(
        f"Predict {len(able)} recording{'s' * (len(able) != 1)}",
        type="primary",
        icon=":material/play_arrow:",
        disabled=not able,
        key="predict_go",
    )
    if not pressed:
        return None
    from sai_core.inference.engine import InputOptions

    magnitude = str(options["magnitude"])
    inputs = None
    if magnitude != _MAGNITUDES[0]:
        inputs = InputOptions(
            magnitude=magnitude,  # type: ignore[arg-type]
            grid=network.facts.grid,
            smooth_frames=network.facts.smooth_frames,
        )
    try:
        request = PredictionRequest(
            data=root.path,
            recordings=tuple(able),
            checkpoint=network.facts.path,
            out=user_path(folder, what="output folder") if folder else workspace().folder("predictions"),
            system=network.system,
            teacher=network.teacher,
            teacher_scaler=network.teacher_scaler,
            weights=_given(keys.PREDICT_WEIGHTS, what="UpLAM weights"),
            field_weights=None if network.facts.has_field else _given(keys.PREDICT_FIELD, what="field decoder"),
            wideband_weights=_given(keys.PREDICT_WIDEBAND, what="wideband listener"),
            device=str(options["device"]),
            network=options["network"],  # type: ignore[arg-type]
            inputs=inputs,
            batch=cast(int, options["batch"]),
        )
        return request if folder else predictions.in_a_set(request, network.facts, name)
    except SaiError as error:
        st.error(plain(error))
        return None


def _shipped_title(name: str) -> str:
    return name if name == OTHER else f"{name.removesuffix('.safetensors')}  ·  comes with the program"


def _recordings(root: DataRoot) -> list[Recording]:
    splits = list(root.splits)
    if len(splits) > 1:
        chosen = st.multiselect(
            "Splits",
            splits,
            default=splits[:1],
            key=keys.PREDICT_SPLITS,
            persist_state="session",
            format_func=lambda s: f"{s or 'no split'}  ·  {len(root.in_split(s))}",
        )
    else:
        chosen = splits
    inside = [r for r in root.recordings if r.split in chosen]
    by_id = {f"{r.split}/{r.name}" if r.split else r.name: r for r in inside}
    picked = st.multiselect(
        "Recordings",
        list(by_id),
        key=keys.PREDICT_RECORDINGS,
        persist_state="session",
        placeholder=f"all {len(by_id)} of them" if len(by_id) != 1 else "the only one",
        format_func=lambda key: _line(by_id[key], len(root.recordings)) if key in by_id else key,
        help="Choose some, or leave this empty for all recordings of the chosen splits.",
    )
    return [by_id[key] for key in picked if key in by_id] or inside


def _line(recording: Recording, n_recordings: int) -> str:
    has = [
        word
        for word, there in (
            ("audio", recording.array_path is not None),
            ("video", recording.has_video),
            ("labels", recording.has_labels),
        )
        if there
    ]
    if recording.is_simulated:
        has.append("simulated")
    length = sources.summary(recording, n_recordings=n_recordings, metadata=False)[:1]
    return "  ·  ".join([recording.name, *length, ", ".join(has) or "nothing to predict from"])


def _network() -> _Network | None:
    shipped = {p.name: p for p in predictions.shipped_checkpoints()}
    trained = predictions.trained_checkpoints()
    left, right = st.columns(2)
    if asked := address.asked(keys.PREDICT_RUN):
        st.session_state[keys.PREDICT_CHECKPOINT] = f"{_RUN}{asked}" if f"{_RUN}{asked}" in trained else OTHER
    elif keys.PREDICT_CHECKPOINT not in st.session_state and st.query_params.get(keys.PREDICT_PATH):
        # a link that names a file means that file, whatever comes with the program
        st.session_state[keys.PREDICT_CHECKPOINT] = OTHER
    if not permissions.paths_allowed() and st.session_state.get(keys.PREDICT_CHECKPOINT) == OTHER:
        del st.session_state[keys.PREDICT_CHECKPOINT]
        st.warning("The link names a file of its own, which may not be named here; a network of this app is chosen.")
    name = left.selectbox(
        "Network",
        [*shipped, *trained, *([OTHER] if permissions.paths_allowed() else [])],
        key=keys.PREDICT_CHECKPOINT,
        persist_state="session",
        format_func=lambda n: shown(trained[n].title) if n in trained else _shipped_title(n),
    )
    path, text = trained[name].weights if name in trained else shipped.get(name), ""
    if path is None:
        text = roles.path_in_address(
            "Checkpoint file",
            name=keys.PREDICT_PATH,
            placeholder="/path/to/energy_seg_best.pth",
            help="The official baseline's `energy_seg_best.pth`, or a detector trained here (`.safetensors`). "
            "It is read as data only: nothing in it is run, and nothing is downloaded.",
        ).strip()
        if not text:
            right.selectbox("System", ["choose a network first"], disabled=True)
            st.caption(
                "Give a checkpoint: the official `energy_seg_best.pth`, or one trained on the **Train** page."
                + ("" if shipped else " No detector weights come with this copy of the program.")
            )
            return None
    try:
        facts = predictions.checkpoint_facts(path or user_path(text, what="checkpoint file"))
    except SaiError as error:
        st.error(plain(error))
        return None
    system = _system(right, facts)
    teacher: Path | None = None
    scaler: Path | None = None
    if system.needs_teacher:
        try:
            teacher, scaler = _teacher()
        except SaiError as error:
            st.error(plain(error))
            return None
    _describe(facts, system)
    return _Network(facts, system, teacher, scaler)


def _system(column: st.delta_generator.DeltaGenerator, facts: CheckpointFacts) -> System:
    track = "A" if facts.kind == "track A" else "B"
    systems = {s.name: s for s in list_systems(systems_folders())}
    say_problems(tuple(refused_systems(systems_folders())))
    names = sorted(systems, key=lambda n: systems[n].track not in (track, "any"))
    from sai_core.inference.networks import fitting_system

    preferred = fitting_system(facts)
    name = column.selectbox(
        "System",
        names,
        index=names.index(preferred) if preferred in names else 0,
        key=f"{keys.PREDICT_SYSTEM}_{facts.kind}_{preferred}",
        persist_state="session",
        format_func=lambda n: (
            predictions.system_line(systems[n])
            + ("" if systems[n].track in (track, "any") else f"  ·  made for track {systems[n].track}")
        ),
        help="From raw detections to the submission: threshold, non-maximum suppression, tracking, export. The raw "
        "detections are kept, so another system takes seconds; **Tune** tries single settings.",
    )
    return systems[name]


def _teacher() -> tuple[Path, Path | None]:
    """The teacher and, where it is not one of this program, the scaler of its features.

    Raises
    ------
    InputError
        What was typed is no path.
    """
    text = roles.path_field(
        "Teacher",
        key=keys.PREDICT_TEACHER,
        persist_state="session",
        placeholder="the one that ships: trained on simulated recordings, listens to foa_dev",
        help="Folder with the CSV files of a DCASE system (*recording*.csv), or weights that then listen to the "
        "recordings: a teacher's (.safetensors, page **Train**) or an official DCASE 2024 SELDnet's (.h5). Left empty: "
        "the teacher that ships.",
    ).strip()
    teacher = user_path(text, what="teacher") if text else SHIPPED_TEACHER
    if not teacher.is_file() or teacher.suffix.lower() == ".safetensors":
        return teacher, None
    scaler = roles.path_field(
        "Teacher's scaler",
        key=keys.PREDICT_SCALER,
        persist_state="session",
        placeholder="none: each recording is scaled by its own means and deviations",
        help="An official SELDnet was trained on scaled features: a .npz file with the `mean` and `scale` of its "
        "training set (`np.savez('scaler.npz', mean=s.mean_, scale=s.scale_)`). Without it the network "
        "hears something else than it was trained on.",
    ).strip()
    return teacher, user_path(scaler, what="scaler") if scaler else None


def _describe(facts: CheckpointFacts, system: System) -> None:
    notes = dict(facts.notes)
    line = [
        facts.kind,
        facts.backbone,
        "sound and video" if facts.needs_rgb else "sound alone",
        f"maps {facts.magnitude}",
        *(["intensity field of its own"] if facts.has_field else []),
        *([f"{system.name}: classes with the wideband listener"] if system.needs_wideband else []),
        f"content {facts.content[:12]}",
    ]
    if "epoch" in notes:
        line.append(f"epoch {notes['epoch']}")
    if "hours" in notes:
        line.append(f"{notes['hours']} h of training")
    st.caption("  ·  ".join(plain(part) for part in line))


def _say_what_is_missing(recordings: list[Recording], facts: CheckpointFacts) -> list[Recording]:
    from sai_core.inference.job import lacks

    missing = {r.name: lacks(r, needs_rgb=facts.needs_rgb) for r in recordings}
    able = [r for r in recordings if not missing[r.name]]
    left_out = [r for r in recordings if missing[r.name]]
    if left_out:
        first = left_out[0]
        more = f" and {len(left_out) - 1} more" if len(left_out) > 1 else ""
        st.warning(
            plain(f"{first.name}{more} cannot be predicted with this network: there is no {missing[first.name]}."),
            icon=":material/block:",
        )
    return able


def _given(key: str, *, what: str) -> Path | None:
    """The file that was typed, where paths may be."""
    text = str(st.session_state.get(key, "") or "").strip() if permissions.paths_allowed() else ""
    return user_path(text, what=what) if text else None


def _options(facts: CheckpointFacts, system: System) -> dict[str, object]:
    from sai_core.inference.networks import NetworkOptions

    official = facts.kind == "official baseline"
    floor_default, most_default, proposals_default = (0.05, 100, 1000) if official else (0.01, 50, 100)
    suffix = "_official" if official else "_own"
    a, b, c = st.columns(3)
    device = a.selectbox("Device", _DEVICES, key=keys.PREDICT_DEVICE, persist_state="session")
    magnitude = b.selectbox(
        "Magnitude of the maps",
        _MAGNITUDES,
        key=keys.PREDICT_MAGNITUDE,
        persist_state="session",
        help=f"This checkpoint was trained with *{facts.magnitude}* maps. Anything else changes what it finds.",
    )
    batch = c.number_input("Frames per batch", 1, 256, 4, key=keys.PREDICT_BATCH, persist_state="session")
    floor = a.number_input(
        "Floor",
        0.0,
        0.9,
        floor_default,
        0.01,
        key=keys.PREDICT_FLOOR + suffix,
        persist_state="session",
        help="Candidates below this score are not kept, and no energy is computed for them.",
    )
    at_most = b.number_input(
        "Candidates per frame", 1, 500, most_default, key=keys.PREDICT_AT_MOST + suffix, persist_state="session"
    )
    proposals = c.number_input(
        "Proposals per frame",
        10,
        1000,
        proposals_default,
        10,
        key=keys.PREDICT_PROPOSALS + suffix,
        persist_state="session",
        help="Fewer are faster and change what is found: with the detectors that ship, AP changes by next to nothing "
        "down to 25. More than a network was trained with do harm. Not measured for the official baseline.",
    )
    maps = a.checkbox("Full-frame maps", True, key=keys.PREDICT_MAPS, persist_state="session")
    half = b.checkbox(
        "bfloat16",
        key=keys.PREDICT_HALF,
        persist_state="session",
        help="Half precision: faster on processors that support it; scores change in the second digit.",
    )
    a, b, c = st.columns(3)
    roles.path_field(
        "UpLAM weights",
        place=a,
        key=keys.PREDICT_WEIGHTS,
        persist_state="session",
        placeholder="the weights that ship",
        help="Acoustic front end: the official UpLAM.pth for official checkpoints, or a file trained here.",
    )
    roles.path_field(
        "Wideband listener",
        place=b,
        key=keys.PREDICT_WIDEBAND,
        persist_state="session",
        placeholder="the weights that ship" if system.needs_wideband else "none",
        help="Weights of `train wideband`: what sounds in the direction of each candidate has a say in its class, in "
        "systems that take it (Field).",
    )
    if not facts.has_field:
        roles.path_field(
            "Field decoder",
            place=c,
            key=keys.PREDICT_FIELD,
            persist_state="session",
            placeholder="the weights that ship" if system.needs_field else "none",
            help="Weights of `train field`: regions and scores by the intensity field under labels, in systems that "
            "take it (Field).",
        )
    return {
        "device": device,
        "magnitude": magnitude,
        "batch": int(batch),
        "network": NetworkOptions(
            floor=None if floor == floor_default else float(floor),
            at_most=None if at_most == most_default else int(at_most),
            proposals=None if proposals == proposals_default else int(proposals),
            full_map=bool(maps),
            precision="bfloat16" if half else "float32",
        ),
    }
