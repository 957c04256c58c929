"""How figures for papers look, and how they become bytes.

Matplotlib's settings are one dictionary for the whole process, and some of them (font embedding, the salt of SVG
ids) are read only when a file is written. So everything between the first axis and the last byte happens inside
:func:`drawing`: one figure at a time, on matplotlib's own defaults whatever a user's ``matplotlibrc`` says. Pyplot,
which keeps every figure alive in a global list, is never imported.

Same input, same bytes: no dates are written, SVG ids are salted with a constant, and the fonts that ship with
matplotlib are preferred over those of the machine.
"""

from __future__ import annotations

import difflib
import io
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, cast, get_args

from sai_core.drawing.colormaps import SEQUENTIAL
from sai_core.errors import InputError, check_known

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FigureFormat = Literal["pdf", "svg", "png"]
FORMATS: Final[tuple[FigureFormat, ...]] = get_args(FigureFormat)
MIME: Final[dict[FigureFormat, str]] = {"pdf": "application/pdf", "svg": "image/svg+xml", "png": "image/png"}

Theme = Literal["journal", "slides"]
THEMES: Final[tuple[Theme, ...]] = get_args(Theme)

ONE_COLUMN_MM: Final[float] = 85.0
TWO_COLUMN_MM: Final[float] = 178.0
"""Text widths of a two-column A4 or letter page (IEEE, DCASE workshop: 3.35 and 7 inches)."""

MM_PER_PT: Final[float] = 25.4 / 72.0

SHIPPED_FONTS: Final[tuple[str, ...]] = ("DejaVu Sans", "DejaVu Serif", "STIXGeneral")
"""Families that come with matplotlib, so that they are on every machine; STIXGeneral looks like Times."""

_COMMON_FONTS: Final[tuple[str, ...]] = (
    "Arial",
    "Helvetica",
    "Helvetica Neue",
    "Liberation Sans",
    "Times New Roman",
    "Liberation Serif",
    "Nimbus Roman",
    "Nimbus Sans",
    "Source Sans 3",
    "CMU Serif",
    "Latin Modern Roman",
)
"""What journals ask for; offered where installed."""

SYSTEM_COLORS: Final[tuple[str, ...]] = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#444444")
"""Colours of systems in curves (Okabe and Ito 2008, which keep apart for colour vision deficiencies; no yellow, which
is too pale for lines). Classes have their own colours."""

SYSTEM_DASHES: Final[tuple[Any, ...]] = ("-", (0, (5, 1.5)), (0, (1, 1.2)), (0, (5, 1.2, 1, 1.2)))
"""Line styles, so that systems are told apart in grey print too."""

_drawing = threading.RLock()


@dataclass(frozen=True, kw_only=True)
class PaperStyle:
    """Look of a figure.

    Attributes
    ----------
    width_mm : float
        Width on the page, 40 to 500; see :data:`ONE_COLUMN_MM` and :data:`TWO_COLUMN_MM`.
    font : str
        Family, of :data:`SHIPPED_FONTS` or installed.
    font_size_pt : float
        Size of titles and axis labels, 4 to 20; ticks and outlines' names are somewhat smaller.
    dpi : int
        Pixels an inch of PNG files, 72 to 1200.
    theme : {"journal", "slides"}
        Black on white, or light on a dark page.
    colormap : str
        Energy map, one of :data:`sai_core.drawing.colormaps.SEQUENTIAL`.
    editable_text : bool
        SVG only: write text as text, to be edited, instead of as outlines that look the same everywhere.

    Raises
    ------
    InputError
        A value out of range, or an unknown name.
    """

    width_mm: float = TWO_COLUMN_MM
    font: str = SHIPPED_FONTS[0]
    font_size_pt: float = 7.0
    dpi: int = 300
    theme: Theme = "journal"
    colormap: str = SEQUENTIAL[0]
    editable_text: bool = False

    def __post_init__(self) -> None:
        for name, value, low, high, unit in (
            ("width", self.width_mm, 40, 500, " mm"),
            ("font size", self.font_size_pt, 4, 20, " pt"),
            ("resolution", self.dpi, 72, 1200, " dpi"),
        ):
            if not low <= value <= high:
                raise InputError(f"A {name} of {value:g}{unit} is out of range; choose {low} to {high}{unit}.")
        check_known("Style", self.theme, THEMES)
        check_known("Colour map", self.colormap, SEQUENTIAL)
        if self.font not in SHIPPED_FONTS and self.font not in installed_fonts():
            near = difflib.get_close_matches(self.font, installed_fonts(), n=1, cutoff=0.5)
            hint = f"did you mean {near[0]}?" if near else f"choose for example {', '.join(SHIPPED_FONTS)}."
            raise InputError(f"Font {self.font!r} is not installed; {hint}")

    @property
    def dark(self) -> bool:
        """Whether the page is dark."""
        return self.theme == "slides"

    @property
    def page_color(self) -> str:
        """Colour of the page."""
        return "#10131a" if self.dark else "#ffffff"

    @property
    def text_color(self) -> str:
        """Colour of text and axes."""
        return "#e6e9ef" if self.dark else "#000000"

    @property
    def muted_color(self) -> str:
        """Colour of grids and of panels without content."""
        return "#39414f" if self.dark else "#d4d7dc"

    @property
    def em_mm(self) -> float:
        """Height of a line of text without leading."""
        return self.font_size_pt * MM_PER_PT

    def system_color(self, index: int) -> str:
        """Colour of the system number ``index``."""
        colour = SYSTEM_COLORS[index % len(SYSTEM_COLORS)]
        return "#b9c0cc" if self.dark and colour == "#444444" else colour


def installed_fonts() -> list[str]:
    """Families that matplotlib finds on this machine, sorted."""
    from matplotlib import font_manager

    return sorted({entry.name for entry in font_manager.fontManager.ttflist if not entry.name.startswith(".")})


def suggested_fonts() -> list[str]:
    """Families to offer in a list: the shipped ones, then what journals ask for, where it is installed."""
    there = set(installed_fonts())
    return [*SHIPPED_FONTS, *(name for name in _COMMON_FONTS if name in there)]


@contextmanager
def drawing(style: PaperStyle) -> Iterator[None]:
    """Hold matplotlib for one figure, with the settings of a style. Build and save the figure inside."""
    import matplotlib

    size = style.font_size_pt
    with _drawing, warnings.catch_warnings(), matplotlib.rc_context():
        # a system's name in a script that no font here has is drawn as boxes; nobody can act on the warning
        warnings.filterwarnings("ignore", message=r"Glyph .* missing from")
        matplotlib.rcdefaults()
        settings: dict[str, Any] = {
            "pdf.fonttype": 42,
            "svg.fonttype": "none" if style.editable_text else "path",
            "svg.hashsalt": "sai-explorer",
            # names come from files: "$" is a dollar sign
            "text.parse_math": False,
            "font.family": list(dict.fromkeys([style.font, SHIPPED_FONTS[0]])),
            "font.size": size,
            "axes.titlesize": size,
            "axes.labelsize": size,
            "xtick.labelsize": 0.86 * size,
            "ytick.labelsize": 0.86 * size,
            "legend.fontsize": 0.86 * size,
            "axes.linewidth": 0.5,
            "axes.labelpad": 2.0,
            "axes.unicode_minus": True,
            "lines.linewidth": 1.1,
            "grid.linewidth": 0.4,
            "grid.color": style.muted_color,
            "legend.frameon": False,
            "legend.handlelength": 2.2,
            **{f"{axis}tick.major.{name}": value for axis in "xy" for name, value in _TICKS.items()},
            **{f"{axis}tick.minor.{name}": value for axis in "xy" for name, value in _MINOR_TICKS.items()},
            **dict.fromkeys(("text.color", "axes.edgecolor", "axes.labelcolor"), style.text_color),
            **dict.fromkeys(("xtick.color", "ytick.color"), style.text_color),
            "axes.facecolor": style.page_color,
            "figure.facecolor": style.page_color,
            "savefig.facecolor": style.page_color,
            "hatch.linewidth": 0.5,
        }
        matplotlib.rcParams.update(cast(Any, settings))  # its stubs want literal names
        yield


_TICKS: Final[dict[str, float]] = {"size": 2.0, "width": 0.5, "pad": 1.6}
_MINOR_TICKS: Final[dict[str, float]] = {"size": 1.2, "width": 0.4}


def new_figure(style: PaperStyle, height_mm: float) -> Figure:
    """Empty figure of the style's width."""
    from matplotlib.figure import Figure

    return Figure(figsize=(style.width_mm / 25.4, height_mm / 25.4), dpi=style.dpi)


def figure_bytes(figure: Figure, style: PaperStyle, file_format: FigureFormat, *, title: str = "") -> bytes:
    """File of a figure; call inside :func:`drawing`.

    Parameters
    ----------
    figure : Figure
    style : PaperStyle
    file_format : {"pdf", "svg", "png"}
    title : str
        Kept in the file's description.
    """
    stream = io.BytesIO()
    figure.savefig(stream, format=file_format, dpi=style.dpi, metadata=metadata(file_format, title))
    return stream.getvalue()


def metadata(file_format: FigureFormat, title: str) -> dict[str, Any]:
    """What a file says about itself: no date, so that same input gives same bytes."""
    if file_format == "pdf":
        return {"Title": title, "Creator": "SAI Explorer", "CreationDate": None}
    if file_format == "svg":
        return {"Title": title, "Creator": "SAI Explorer", "Date": None}
    return {"Title": title, "Software": "SAI Explorer"}


def format_of(path: str | Path) -> FigureFormat:
    """Format that a file's ending asks for.

    Raises
    ------
    InputError
        Another ending than .pdf, .svg or .png.
    """
    ending = Path(path).suffix.lower().removeprefix(".")
    for known in FORMATS:
        if ending == known:
            return known
    raise InputError(f"{path}: a figure is written as .pdf, .svg or .png; change the file's ending.")
