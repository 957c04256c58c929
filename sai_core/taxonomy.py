"""The 13 classes of DCASE Task 3: order, names, and the one colour of each.

``category_id`` is zero-based everywhere (0..12). Networks use ``label = category_id + 1`` with 0 for background;
that name is never used for anything else.

The colours are for lines, text and chart marks on both themes. They were found by numerical search (annealing in
OKLCH): contrast of at least 3.2:1 (WCAG 2.1 asks for 3:1 of graphical objects) against both page backgrounds,
``#0e1117`` and ``#ffffff``, then the largest smallest difference between any two of the 13: CIEDE2000 of at least 20
in normal vision and 8 under simulated deuteranopia and protanopia (Machado et al. 2009, severity 1).
``tests/test_taxonomy.py`` measures all of this. The two voices, most often in one picture, differ by at
least 35 in each of the three. With thirteen classes colour is never the only sign: pictures write the name beside it.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Final

CLASS_NAMES: Final[tuple[str, ...]] = (
    "Female speech",
    "Male speech",
    "Clapping",
    "Telephone",
    "Laughter",
    "Domestic sounds",
    "Walk/footsteps",
    "Door open/close",
    "Music",
    "Musical instrument",
    "Water tap",
    "Bell",
    "Knock",
)
"""Class names in the official order; index = ``category_id``."""

N_CLASSES: Final[int] = len(CLASS_NAMES)

SHORT_NAMES: Final[tuple[str, ...]] = (
    "Female sp.",
    "Male sp.",
    "Clapping",
    "Telephone",
    "Laughter",
    "Domestic",
    "Footsteps",
    "Door",
    "Music",
    "Instrument",
    "Water tap",
    "Bell",
    "Knock",
)
"""Names short enough for a lane label or an axis tick."""

CLASS_COLORS: Final[tuple[str, ...]] = (
    "#cb004e",
    "#188efd",
    "#dd6d05",
    "#3951f1",
    "#f943ae",
    "#8c9550",
    "#1c7851",
    "#80620d",
    "#88508b",
    "#c37b78",
    "#2a909c",
    "#9288c5",
    "#6e6e71",
)
"""Hex colour of each class, used by every picture, table and chart."""

_OTHER_NAMES: Final[tuple[tuple[str, ...], ...]] = (
    (
        "Female speech, woman speaking",
        "femaleSpeech",
        "Speech, female",
        "Female speaking",
        "Woman speaking",
        "Woman speech",
        "Female speech, woman",
        "Female voice",
        "Female",
    ),
    (
        "Male speech, man speaking",
        "maleSpeech",
        "Speech, male",
        "Male speaking",
        "Man speaking",
        "Man speech",
        "Male speech, man",
        "Male voice",
        "Male",
    ),
    ("Clap", "Hand clapping", "Hands clapping"),
    (
        "Phone",
        "Telephone ringing",
        "Phone ringing",
        "Telephone bell ringing",
        "Telephone ring",
        "Phone ring",
        "Ringtone",
    ),
    ("Laugh", "Laughing"),
    (
        "Domestic",
        "Home sounds",
        "Household sounds",
        "Domestic sounds, home sounds",
        "Domestic noise",
        "Domestic and home sounds",
    ),
    ("Walk, footsteps", "Footsteps", "Walking", "Walk", "Steps", "Walking, footsteps", "Footsteps, walk"),
    (
        "Door, open or close",
        "doorCupboard",
        "Door",
        "Door open",
        "Door close",
        "Door or cupboard open or close",
        "Opening or closing door",
        "Open or close door",
        "dooropenorclose",
        "Cupboard open or close",
    ),
    ("Background music",),
    ("musicInstrument", "Instrument", "Playing musical instrument"),
    ("Water tap, faucet", "waterTap", "Faucet", "Water faucet", "Water, tap", "Running tap", "Tap water"),
    ("Bell ringing", "Ringing bell"),
    ("Knocking", "Door knock", "Knock on door", "Knocking on door"),
)
"""What others call the classes: AudioSet's names as the DCASE task pages have them (2022 to 2026), the camel-case names
of the SELD data generators and their baselines, and short forms; index = ``category_id``. Case, spaces, underscores,
punctuation, numbers and plurals do not matter (:func:`category_of`)."""

_BRACKETS: Final = re.compile(r"[(\[{][^)\]}]*[)\]}]")
_WORD: Final = re.compile(r"[a-z]+")
_CAMEL: Final = re.compile(r"(?<=[a-z])(?=[A-Z])")
_FILLERS: Final[frozenset[str]] = frozenset({"or", "and", "a", "the", "class"})


def category_of(name: str) -> int | None:
    """Class of a name that a file gives, by any name of the field; None where it is none of the 13.

    Parameters
    ----------
    name : str
        E.g. ``"Female speech, woman speaking"``, ``"femaleSpeech"``, ``"DOOR_OPEN_CLOSE"``, ``"06 footstep"``,
        ``"Bell (church)"``.

    Returns
    -------
    int or None
        ``category_id``, 0..12.
    """
    found = _BY_KEY.get(_key(name))
    return found if found is not None else _BY_KEY.get(_key(_BRACKETS.sub(" ", name)))


def _key(name: str) -> str:
    """Letters alone, words in the singular, without fillers: the same for every spelling of a name."""
    plain = unicodedata.normalize("NFKD", name)
    words = _WORD.findall(_CAMEL.sub(" ", plain).lower())
    return "".join(w if w.endswith("ss") else w.removesuffix("s") for w in words if w not in _FILLERS)


_BY_KEY: Final[dict[str, int]] = {
    _key(name): category
    for category, others in enumerate(_OTHER_NAMES)
    for name in (CLASS_NAMES[category], SHORT_NAMES[category], *others)
}


def class_name(category_id: int) -> str:
    """Name of a class; an id outside 0..12 gives ``"class <id>"`` so that a picture can still be drawn."""
    return CLASS_NAMES[category_id] if 0 <= category_id < N_CLASSES else f"class {category_id}"


def class_color(category_id: int) -> str:
    """Hex colour of a class; grey for an id outside 0..12."""
    return CLASS_COLORS[category_id] if 0 <= category_id < N_CLASSES else "#808080"


def short_name(category_id: int) -> str:
    """Short name of a class; as :func:`class_name` for an id outside 0..12."""
    return SHORT_NAMES[category_id] if 0 <= category_id < N_CLASSES else class_name(category_id)


def class_facts() -> list[dict[str, str | int]]:
    """Id, name, short name and colour of every class, for scripts."""
    return [
        {"id": i, "name": name, "short": SHORT_NAMES[i], "color": CLASS_COLORS[i]} for i, name in enumerate(CLASS_NAMES)
    ]


def class_rgb(category_id: int) -> tuple[int, int, int]:
    """:func:`class_color` as red, green and blue, 0 to 255."""
    return rgb_of(class_color(category_id))


def rgb_of(color: str) -> tuple[int, int, int]:
    """Red, green and blue, 0 to 255, of ``"#rrggbb"``."""
    red, green, blue = bytes.fromhex(color.removeprefix("#"))
    return red, green, blue
