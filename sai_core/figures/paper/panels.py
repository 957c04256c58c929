"""Fig. 3 of the report: RGB, ground truth, prediction and residual of a frame, one row a system.

Panels are on the label grid (:mod:`sai_core.geometry`): azimuth falls from +180 degrees at the left edge to -180 at
the right, elevation from +90 to -90, one degree a pixel. The axes are in degrees, so every mark is placed by direction.

Maps stay pictures (360 x 180 values have no better form); outlines, text, axes and bars are vectors. Sizes are worked
out in millimetres of the page, so that a column of a journal gets the figure it has room for.
"""

from __future__ import annotations

import io
import textwrap
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal, cast, get_args

import numpy as np
import numpy.typing as npt

from sai_core.annotations import AnnotationTable
from sai_core.drawing.annotators import box_of, energy_levels, place_names, residual_levels, turns
from sai_core.drawing.colormaps import diverging_lut, sequential_lut
from sai_core.drawing.maps import MAP_MODES, MapMode, annotation_patch, merged_canvas, outlines
from sai_core.errors import InputError, check_known
from sai_core.figures.paper.material import Material
from sai_core.figures.paper.style import (
    MM_PER_PT,
    FigureFormat,
    PaperStyle,
    drawing,
    figure_bytes,
    metadata,
    new_figure,
)
from sai_core.geometry import FRAME_RATE_HZ
from sai_core.taxonomy import class_color, class_name, short_name

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Layout = Literal["grid", "stacked"]
LAYOUTS: Final[tuple[Layout, ...]] = get_args(Layout)
Names = Literal["auto", "panel", "legend", "none"]
NAMES: Final[tuple[Names, ...]] = get_args(Names)
Scale = Literal["fixed", "per-map"]
SCALES: Final[tuple[Scale, ...]] = get_args(Scale)
Note = Literal["figure", "caption"]
NOTES: Final[tuple[Note, ...]] = get_args(Note)

_COLUMNS: Final[tuple[str, ...]] = ("RGB", "Ground truth", "Prediction", "Residual")
_LEGIBLE_PANEL_MM: Final[float] = 30.0
"""Panels narrower than this have no room for names beside the outlines; they go into a legend."""

_SCALE_BAR_DEG: Final[float] = 60.0


@dataclass(frozen=True, kw_only=True)
class MapOptions:
    """Which energies figures and videos show, and on which scale.

    Attributes
    ----------
    mode : {"full", "official", "points"}
        Rendering of the energy maps; see :mod:`sai_core.drawing.maps`.
    scale : {"fixed", "per-map"}
        Colours span energies 0 to 1, so that amplitudes can be compared (default), or 0 to each map's own peak.
    min_score : float
        Predictions with a lower score are not drawn, in [0, 1]; 0 draws all, those without a score always. Said in the
        picture.
    """

    mode: MapMode = "full"
    scale: Scale = "fixed"
    min_score: float = 0.0

    def __post_init__(self) -> None:
        check_known("Map rendering", self.mode, MAP_MODES)
        check_known("Scale", self.scale, SCALES)
        if not 0.0 <= self.min_score <= 1.0:
            raise InputError(f"The smallest score {self.min_score} is not in [0, 1].")


@dataclass(frozen=True, kw_only=True)
class PanelOptions(MapOptions):
    """What is drawn, apart from the look.

    Attributes
    ----------
    layout : {"grid", "stacked"}
        One row a system with all four columns, as in the report; or RGB and ground truth once on top and
        prediction and residual of each system below, which suits a single column.
    names : {"auto", "panel", "legend", "none"}
        Class names beside the outlines, in a legend, or nowhere; "auto" decides by the panels' size.
    outlines : bool
        Draw outlines of regions.
    scale_bar : bool
        A bar of 60 degrees in the RGB panel.
    note : {"figure", "caption"}
        Where recording, frame and "simulated" or "stand-in" are said: in a line under the figure, or in the caption
        text alone.
    """

    layout: Layout = "grid"
    names: Names = "auto"
    outlines: bool = True
    scale_bar: bool = True
    note: Note = "figure"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_known("Layout", self.layout, LAYOUTS)
        check_known("Choice of names", self.names, NAMES)
        check_known("Place of the note", self.note, NOTES)


@dataclass(frozen=True, eq=False)
class Region:
    """Outline of an annotation.

    Attributes
    ----------
    category_id : int
    curves : tuple of float32, shape (n, 2)
        Closed curves in canvas coordinates; x runs past 360 over the seam.
    muted : bool
        Drawn thin and without a name: not what the figure is about.
    """

    category_id: int
    curves: tuple[npt.NDArray[np.float32], ...]
    muted: bool = False


@dataclass(frozen=True, eq=False)
class Side:
    """Labels or predictions of a frame: merged map, float32 (180, 360), and the outlines of its annotations."""

    energy: npt.NDArray[np.float32]
    regions: tuple[Region, ...]


@dataclass(frozen=True, eq=False)
class PanelRow:
    """One row of the figure.

    Attributes
    ----------
    title : str
        Beside the row.
    picture : uint8, shape (height, width, 3), or None
        RGB.
    truth, prediction : Side or None
        None where there is no file.
    """

    title: str
    picture: npt.NDArray[np.uint8] | None
    truth: Side | None
    prediction: Side | None


def side_of(
    table: AnnotationTable | None,
    frame: int,
    *,
    mode: MapMode = "full",
    focus: int | None = None,
    min_score: float = 0.0,
) -> Side | None:
    """Map and outlines of a frame.

    Parameters
    ----------
    table : AnnotationTable or None
        None gives None.
    frame : int
        Zero-based.
    mode : {"full", "official", "points"}
        Rendering.
    focus : int, optional
        Row of the table that the figure is about; the others are muted. -1 mutes all.
    min_score : float
        Rows with a lower score are left out, but for the focus.
    """
    if table is None:
        return None
    all_rows = table.frame_slice(frame)
    rows = [i for i in range(all_rows.start, all_rows.stop) if i == focus or not table.score[i] < min_score]
    patches = [annotation_patch(table, i, mode=mode) for i in rows]
    regions = tuple(
        Region(int(table.category_id[i]), tuple(outlines(patch)), focus is not None and i != focus)
        for i, patch in zip(rows, patches, strict=True)
    )
    return Side(merged_canvas(patches), regions)


def frame_rows(material: Material, frame: int, *, mode: MapMode = "full", min_score: float = 0.0) -> list[PanelRow]:
    """Rows of Fig. 3 for a frame, one a system (one without prediction where there is no system).

    Raises
    ------
    InputError
        A frame that the recording does not have.
    """
    check_frame(material, frame)
    picture, truth = material.picture(frame), side_of(material.labels, frame, mode=mode)
    if not material.systems:
        return [PanelRow("", picture, truth, None)]
    return [
        PanelRow(system.title, picture, truth, side_of(table, frame, mode=mode, min_score=min_score))
        for system, table in zip(material.systems, material.tables, strict=True)
    ]


def check_frame(material: Material, frame: int) -> None:
    """Make sure that a recording has a frame.

    Raises
    ------
    InputError
        It has not.
    """
    if not material.n_frames:
        raise InputError(
            f"{material.place}: has neither labels, predictions, video nor audio; there is nothing to draw."
        )
    if not 0 <= frame < material.n_frames:
        raise InputError(
            f"{material.place}: frame {frame} is outside the recording; choose 0 to {material.n_frames - 1}."
        )


def frame_note(material: Material, frame: int, *, min_score: float = 0.0) -> str:
    """The line under a figure: which moment it shows, what is left out, and what of it is made up."""
    begin = frame / FRAME_RATE_HZ
    parts = [material.place, f"frame {frame} ({begin:.1f}–{begin + 1 / FRAME_RATE_HZ:.1f} s)"]
    parts += score_note(min_score)
    return " · ".join(parts + made_up(material.recording.is_simulated, any(s.stand_in for s in material.systems)))


def score_note(min_score: float) -> list[str]:
    """What must be said where predictions are left out."""
    return [f"predictions with a score of at least {min_score:g}"] * (min_score > 0)


def made_up(simulated: bool, stand_in: bool) -> list[str]:
    """What must be said of made-up material."""
    return ["simulated recording"] * simulated + ["stand-in predictions (not a detector's output)"] * stand_in


def caption(
    rows: Sequence[PanelRow], options: PanelOptions, *, note: str = "", comparable: bool = True, number: str = ""
) -> str:
    """Caption text for a paper: rows, columns, scales and outlines, and the note.

    Parameters
    ----------
    rows : sequence of PanelRow
    options : PanelOptions
    note : str
        As drawn under the figure.
    comparable : bool
        Rows are systems on one frame (Fig. 3), not different frames.
    number : str
        For example "Fig. 3".
    """
    which = "Prediction and residual of each system" if options.layout == "stacked" and comparable else "Rows"
    names = "; ".join(f"({i}) {row.title}" for i, row in enumerate(rows, 1)) if len(rows) > 1 else rows[0].title
    parts = [
        f"{number}. Semantic acoustic energy maps." if number else "Semantic acoustic energy maps.",
        f"{which}: {names}." if names else "",
        "Columns: (a) RGB with the outlines of the ground truth, (b) ground truth, (c) prediction, (d) residual "
        "(prediction minus ground truth).",
        "Energy is on a fixed scale from 0 to 1."
        if options.scale == "fixed"
        else "Each map is divided by its own peak, so amplitudes cannot be compared between maps.",
        {
            "full": "",
            "official": "Maps as scored by the 2026-06-30 evaluator (100 x 50 cells, each annotation by its own peak).",
            "points": "Maps show the stored points alone.",
        }[options.mode],
        f"Shown: {note}." if note else "",
    ]
    return " ".join(part for part in parts if part)


def panel_figure(
    rows: Sequence[PanelRow],
    *,
    options: PanelOptions,
    style: PaperStyle,
    note: str = "",
    heading: str = "",
    comparable: bool = True,
    resample: bool = False,
) -> Figure:
    """Draw rows of panels; call inside :func:`sai_core.figures.paper.style.drawing`.

    Parameters
    ----------
    rows : sequence of PanelRow
        At least one.
    options : PanelOptions
    style : PaperStyle
    note : str
        Line under the figure.
    heading : str
        Line above it.
    comparable : bool
        Rows are systems on one frame: with the stacked layout RGB and ground truth are drawn once.
    resample : bool
        Scale pictures to the file's pixels with a filter (PNG); else they are stored as they are (PDF, SVG).
    """
    if not rows:
        raise InputError("There is nothing to draw.")
    stacked = options.layout == "stacked" and comparable
    page = _Page(rows, options, style, note, heading, stacked)
    figure = new_figure(style, page.height_mm)
    page.draw(figure, "auto" if resample else "none")
    return figure


def render_panels(
    rows: Sequence[PanelRow],
    file_format: FigureFormat,
    *,
    options: PanelOptions | None = None,
    style: PaperStyle | None = None,
    note: str = "",
    heading: str = "",
    comparable: bool = True,
) -> bytes:
    """File of rows of panels; arguments as :func:`panel_figure`. Safe to call from several threads."""
    options, style = options or PanelOptions(), style or PaperStyle()
    with drawing(style):
        figure = panel_figure(
            rows,
            options=options,
            style=style,
            note=note,
            heading=heading,
            comparable=comparable,
            resample=file_format == "png",
        )
        return figure_bytes(figure, style, file_format, title=note)


def render_frame(
    material: Material,
    frame: int,
    file_format: FigureFormat,
    *,
    options: PanelOptions | None = None,
    style: PaperStyle | None = None,
) -> bytes:
    """Fig. 3 of a frame as the bytes of a file.

    Raises
    ------
    InputError
        A frame that the recording does not have.
    """
    options = options or PanelOptions()
    rows = frame_rows(material, frame, mode=options.mode, min_score=options.min_score)
    note = frame_note(material, frame, min_score=options.min_score)
    return render_panels(rows, file_format, options=options, style=style, note=note)


@dataclass(frozen=True)
class PanelPage:
    """Rows of one page of a document."""

    rows: tuple[PanelRow, ...]
    heading: str
    note: str


def render_document(pages: Iterable[PanelPage], *, options: PanelOptions, style: PaperStyle, title: str) -> bytes:
    """One PDF of several pages; rows of a page are different frames."""
    from matplotlib.backends.backend_pdf import PdfPages

    stream = io.BytesIO()
    with drawing(style):
        document = PdfPages(stream, metadata=metadata("pdf", title))
        with document:
            for page in pages:
                figure = panel_figure(
                    page.rows,
                    options=options,
                    style=style,
                    note=page.note,
                    heading=page.heading,
                    comparable=False,
                )
                document.savefig(figure)
    return stream.getvalue()


class _Page:
    """Measures of a figure in millimetres, and its drawing."""

    def __init__(
        self,
        rows: Sequence[PanelRow],
        options: PanelOptions,
        style: PaperStyle,
        note: str,
        heading: str,
        stacked: bool,
    ) -> None:
        self.rows, self.options, self.style, self.stacked = rows, options, style, stacked
        em = style.em_mm
        self.n_columns = 2 if stacked else 4
        # (row of the figure's grid, column, panel letter, what, row of data)
        self.cells = self._cells()
        self.n_rows = max(cell[0] for cell in self.cells) + 1
        self.titled = any(row.title for row in rows)
        self.left = em * (3.7 + (1.5 if self.titled else 0.0))
        self.right = 0.6
        self.gap_x = max(1.2, 0.5 * em)
        self.panel_w = (style.width_mm - self.left - self.right - (self.n_columns - 1) * self.gap_x) / self.n_columns
        if self.panel_w < 6:
            raise InputError(
                f"A width of {style.width_mm:g} mm leaves no room for panels at {style.font_size_pt:g} pt; choose a "
                "wider figure or smaller type."
            )
        self.panel_h = self.panel_w / 2
        # letters stand above every row where rows hold different columns (stacked)
        self.title_h = 1.45 * em
        self.gap_y = max(1.4, 0.55 * em) + (self.title_h if stacked else 0.0)
        # names that are longer than their row is high go into the line below: (1) ..., (2) ...
        room = (self.panel_h + 0.5 * self.gap_y) / (0.56 * em)
        longest = max(len(row.title) for row in rows) + (4 if len(rows) > 1 else 0)
        self.numbered_only = self.titled and longest > room
        self.heading = self._wrapped([heading], 1.0)
        key = [f"({i}) {row.title}" for i, row in enumerate(rows, 1)] if self.numbered_only else []
        self.note = self._wrapped(key, 0.86) + self._wrapped(
            note.split(" · ") if options.note == "figure" else [], 0.86
        )
        self.names = self._names()
        self.legend_classes = self._classes() if self.names == "legend" else []
        legend_columns = max(1, int(style.width_mm / (em * 0.86 * (9.5 if style.width_mm > 120 else 8.5))))
        self.legend_rows = -(-len(self.legend_classes) // legend_columns)
        self.legend_columns = legend_columns
        self.top = 0.5 * em + 1.35 * em * len(self.heading) + self.title_h
        self.axis_h = em * 2.75
        self.bar_h = 0.45 * em + 0.5
        self.bars_h = 0.35 * em + self.bar_h + 2.65 * em
        self.legend_h = 1.25 * em * self.legend_rows + (0.35 * em if self.legend_rows else 0.0)
        self.note_h = 1.15 * em * len(self.note) + (0.4 * em if self.note else 0.0)
        self.height_mm = (
            self.top
            + self.n_rows * self.panel_h
            + (self.n_rows - 1) * self.gap_y
            + self.axis_h
            + self.bars_h
            + self.legend_h
            + self.note_h
            + 0.3 * em
        )

    def _cells(self) -> list[tuple[int, int, str, str, int]]:
        if self.stacked:
            cells = [(0, 0, "a", "rgb", 0), (0, 1, "b", "truth", 0)]
            for i in range(len(self.rows)):
                cells += [(i + 1, 0, "c", "prediction", i), (i + 1, 1, "d", "residual", i)]
            return cells
        kinds = ("rgb", "truth", "prediction", "residual")
        return [(i, k, "abcd"[k], kind, i) for i in range(len(self.rows)) for k, kind in enumerate(kinds)]

    def _wrapped(self, parts: Sequence[str], size: float) -> list[str]:
        """Lines that fit the figure's width, broken between parts where possible."""
        # a character is little more than half a line wide on average, in all fonts used
        per_line = max(12, int((self.style.width_mm - 2) / (0.53 * size * self.style.em_mm)))
        lines: list[str] = []
        for part in parts:
            if lines and len(lines[-1]) + 3 + len(part) <= per_line:
                lines[-1] += f" · {part}"
            elif part:
                lines += textwrap.wrap(part, per_line, break_on_hyphens=False)
        return lines

    def _names(self) -> Names:
        if not self.options.outlines:
            return "none"
        if self.options.names != "auto":
            return self.options.names
        return "panel" if self.panel_w >= _LEGIBLE_PANEL_MM else "legend"

    def _classes(self) -> list[int]:
        found = {
            region.category_id
            for row in self.rows
            for side in (row.truth, row.prediction)
            if side is not None
            for region in side.regions
            if not region.muted
        }
        return sorted(found)

    def box(self, x_mm: float, y_mm: float, w_mm: float, h_mm: float) -> tuple[float, float, float, float]:
        """Rectangle in figure fractions, ``y_mm`` counted from the top to the rectangle's upper edge."""
        width, height = self.style.width_mm, self.height_mm
        return (x_mm / width, 1 - (y_mm + h_mm) / height, w_mm / width, h_mm / height)

    def text(self, figure: Figure, x_mm: float, y_mm: float, text: str, size: float = 1.0, **options: Any) -> None:
        """Text at a point counted from the top left, in the style's size times ``size``."""
        figure.text(
            x_mm / self.style.width_mm,
            1 - y_mm / self.height_mm,
            text,
            fontsize=size * self.style.font_size_pt,
            **options,
        )

    def panel_at(self, row: int, column: int) -> tuple[float, float]:
        """Upper left corner of a panel in millimetres."""
        return self.left + column * (self.panel_w + self.gap_x), self.top + row * (self.panel_h + self.gap_y)

    def draw(self, figure: Figure, interpolation: str) -> None:
        em, style = self.style.em_mm, self.style
        for number, line in enumerate(self.heading):
            self.text(figure, self.left, 0.5 * em + 1.35 * em * number, line, va="top", ha="left", weight="bold")
        for row, column, letter, kind, index in self.cells:
            x, y = self.panel_at(row, column)
            axes = figure.add_axes(self.box(x, y, self.panel_w, self.panel_h))
            self._axes(axes, first=column == 0, last=row == self.n_rows - 1)
            self._panel(axes, kind, self.rows[index], interpolation)
            if row == 0 or self.stacked:
                # a column's letter once: the stacked layout repeats (c) and (d) for each system
                title = f"({letter}) {_COLUMNS['abcd'.index(letter)]}"
                if self.stacked and len(self.rows) > 1 and letter in "cd":
                    title = f"({letter}{index + 1}) {_COLUMNS['abcd'.index(letter)]}"
                self.text(figure, x + self.panel_w / 2, y - 0.4 * em, title, ha="center", va="bottom")
            if column == 0 and self.titled and not (self.stacked and row == 0):
                self._row_title(figure, index, y)
        self._bars(figure, self.top + self.n_rows * self.panel_h + (self.n_rows - 1) * self.gap_y + self.axis_h)
        below = self.height_mm - 0.3 * em - self.note_h - self.legend_h
        if self.legend_classes:
            self._legend(figure, below)
        for number, line in enumerate(self.note):
            y = self.height_mm - 0.3 * em - self.note_h + 0.4 * em + 1.15 * em * number
            self.text(figure, style.width_mm / 2, y, line, 0.86, va="top", ha="center")

    def _row_title(self, figure: Figure, index: int, y: float) -> None:
        em = self.style.em_mm
        text = self.rows[index].title
        if self.numbered_only:
            text = f"({index + 1})"
        elif len(self.rows) > 1:
            text = f"({index + 1}) {text}"
        self.text(figure, 0.75 * em, y + self.panel_h / 2, text, rotation=90, ha="center", va="center")

    def _axes(self, axes: Axes, *, first: bool, last: bool) -> None:
        wide = self.panel_w >= 26
        axes.set_xlim(180, -180)
        axes.set_ylim(-90, 90)
        axes.set_xticks([180, 90, 0, -90, -180] if wide else [180, 0, -180])
        axes.set_xticks(range(-150, 180, 30) if wide else [90, -90], minor=True)
        tall = self.panel_h >= 5.5 * self.style.em_mm
        axes.set_yticks([-90, -45, 0, 45, 90] if tall else [-90, 0, 90])
        axes.tick_params(labelbottom=last, labelleft=first, which="both")
        axes.set_facecolor(self.style.muted_color)
        if last:
            axes.set_xlabel("Azimuth (°)", labelpad=1.0)
            axes.set_xticklabels(_degrees([180, 90, 0, -90, -180] if wide else [180, 0, -180]))
            labels = axes.get_xticklabels()
            # the end labels stay inside of their panel: the next panel's begin there
            labels[0].set_horizontalalignment("left")
            labels[-1].set_horizontalalignment("right")
        if first:
            axes.set_yticklabels(_degrees([-90, -45, 0, 45, 90] if tall else [-90, 0, 90]))
            labels = axes.get_yticklabels()
            labels[0].set_verticalalignment("bottom")
            labels[-1].set_verticalalignment("top")
            axes.set_ylabel("Elevation (°)" if self.panel_h >= 5.6 * self.style.em_mm else "El. (°)", labelpad=1.0)

    def _panel(self, axes: Axes, kind: str, row: PanelRow, interpolation: str) -> None:
        truth, prediction = row.truth, row.prediction
        options: dict[str, Any] = {
            "extent": (180, -180, -90, 90),
            "origin": "upper",
            "aspect": "auto",
            "interpolation": interpolation,
        }
        missing = ""
        if kind == "rgb":
            if row.picture is None:
                missing = "no video"
            else:
                axes.imshow(row.picture, **options)
            if truth is not None:
                self._outlines(axes, truth.regions)
            if self.options.scale_bar:
                self._scale_bar(axes)
        elif kind in ("truth", "prediction"):
            side = truth if kind == "truth" else prediction
            if side is None:
                missing = "no labels" if kind == "truth" else "no predictions"
            else:
                axes.imshow(self._scaled(side.energy), **self._sequential(), **options)
                self._outlines(axes, side.regions)
        elif truth is None or prediction is None:
            missing = "needs labels and predictions"
        else:
            difference = self._scaled(prediction.energy) - self._scaled(truth.energy)
            axes.imshow(difference, **self._diverging(), **options)
        if missing:
            colour = self.style.text_color
            # an outline may cross the words
            axes.text(
                0, 0, missing, ha="center", va="center", color=colour, fontsize=0.9 * self.style.font_size_pt, zorder=6
            )
        axes.set_xlim(180, -180)
        axes.set_ylim(-90, 90)

    def _scaled(self, energy: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        if self.options.scale == "per-map" and energy.max() > 0:
            return energy / energy.max()
        return energy

    def _sequential(self) -> dict[str, Any]:
        return _colours(sequential_lut(self.style.colormap), 0.0, energy_levels)

    def _diverging(self) -> dict[str, Any]:
        return _colours(diverging_lut(dark=self.style.dark), -1.0, residual_levels)

    def _outlines(self, axes: Axes, regions: Sequence[Region]) -> None:
        if not self.options.outlines:
            return
        from matplotlib.patheffects import Normal, Stroke

        width = min(1.0, max(0.45, self.panel_w / 40))
        for region in regions:
            thickness = width * (0.55 if region.muted else 1.0)
            # a pale rim keeps the class colour apart from dark video and bright energy alike
            effects = [] if region.muted else [Stroke(linewidth=thickness + 0.7, foreground="white"), Normal()]
            for curve in region.curves:
                closed = np.concatenate([curve, curve[:1]])
                for turn in turns(closed[:, 0].min(), closed[:, 0].max()):
                    axes.plot(
                        180 - (closed[:, 0] + 360 * turn),
                        90 - closed[:, 1],
                        color=class_color(region.category_id),
                        linewidth=thickness,
                        linestyle=(0, (2, 1.5)) if region.muted else "-",
                        path_effects=effects,
                        solid_joinstyle="round",
                        scalex=False,
                        scaley=False,
                    )
        if self.names == "panel":
            self._name_boxes(axes, [region for region in regions if not region.muted])

    def _name_boxes(self, axes: Axes, regions: Sequence[Region]) -> None:
        """Short class names beside their outlines: inside the panel, off each other and off the regions."""
        size = 0.74 * self.style.font_size_pt
        # canvas pixels (degrees) a millimetre, and the size of a box in them
        scale = 360 / self.panel_w
        high = (1.25 * size * MM_PER_PT + 0.5) * scale
        named = [(region, box_of(max(region.curves, key=len))) for region in regions if region.curves]
        named.sort(key=lambda pair: (pair[1][1], pair[1][0]))
        names = [short_name(region.category_id) for region, _ in named]
        sizes = [((0.56 * size * len(name) * MM_PER_PT + 0.9) * scale, high) for name in names]
        places = place_names([box for _, box in named], sizes)
        for (region, (left, top, right, bottom)), name, (wide, _), (x, y) in zip(
            named, names, sizes, places, strict=True
        ):
            middle_x, middle_y = (left + right) / 2, (top + bottom) / 2
            colour = class_color(region.category_id)
            # a line where the name had to go further away than beside its outline
            apart = max(abs(x - middle_x) - (right - left + wide) / 2, abs(y - middle_y) - (bottom - top + high) / 2)
            if apart > 5 and abs(x - middle_x) < 180:
                axes.plot([180 - x, 180 - middle_x], [90 - y, 90 - middle_y], color=colour, linewidth=0.5, zorder=4)
            axes.text(
                180 - x,
                90 - y,
                name,
                fontsize=size,
                ha="center",
                va="center_baseline",
                color="#111111",
                zorder=5,
                bbox={
                    "boxstyle": "round,pad=0.12,rounding_size=0.2",
                    "facecolor": "white",
                    "alpha": 0.92,
                    "edgecolor": colour,
                    "linewidth": 0.6,
                },
            )

    def _scale_bar(self, axes: Axes) -> None:
        from matplotlib.patheffects import Normal, Stroke

        rim = [Stroke(linewidth=2.2, foreground="black"), Normal()]
        left, low = 172.0, -80.0
        axes.plot([left, left - _SCALE_BAR_DEG], [low, low], color="white", linewidth=1.2, path_effects=rim, zorder=4,
                  solid_capstyle="butt")  # fmt: skip
        axes.text(
            left - _SCALE_BAR_DEG / 2,
            low + 4,
            f"{_SCALE_BAR_DEG:.0f}°",
            color="white",
            ha="center",
            va="bottom",
            fontsize=0.8 * self.style.font_size_pt,
            path_effects=[Stroke(linewidth=1.4, foreground="black"), Normal()],
            zorder=4,
        )

    def _bars(self, figure: Figure, top_mm: float) -> None:
        from matplotlib.cm import ScalarMappable
        from matplotlib.colors import Normalize

        em = self.style.em_mm
        y = top_mm + 0.35 * em
        if self.stacked:
            spans = [self.panel_at(0, 0)[0], self.panel_at(0, 1)[0]]
            widths = [self.panel_w, self.panel_w]
        else:
            spans = [self.panel_at(0, 1)[0], self.panel_at(0, 3)[0]]
            widths = [2 * self.panel_w + self.gap_x, self.panel_w]
        energy = "Energy" if self.options.scale == "fixed" else "Energy / peak of the map"
        for (colours, ticks, label), x, width in zip(
            (
                (self._sequential(), [0, 0.25, 0.5, 0.75, 1], energy),
                (self._diverging(), [-1, -0.5, 0, 0.5, 1], "Prediction − ground truth"),
            ),
            spans,
            widths,
            strict=True,
        ):
            if width < 9 * em:
                ticks = [ticks[0], ticks[2], ticks[4]]
                label = label.replace("Prediction − ground truth", "Residual")
            axes = figure.add_axes(self.box(x + 0.02 * width, y, 0.96 * width, self.bar_h))
            bar = figure.colorbar(
                ScalarMappable(Normalize(colours["norm"].vmin, 1.0), colours["cmap"]),
                cax=axes,
                orientation="horizontal",
            )
            bar.set_ticks(cast(Any, ticks), labels=[f"{t:g}".replace("-", "−") for t in ticks])
            bar.set_label(label, labelpad=1.0)
            ends = axes.get_xticklabels()
            ends[0].set_horizontalalignment("left")
            ends[-1].set_horizontalalignment("right")
            cast(Any, bar.outline).set_linewidth(0.5)
            cast(Any, bar.solids).set_rasterized(True)  # vector stripes show hairlines in some viewers

    def _legend(self, figure: Figure, top_mm: float) -> None:
        em = self.style.em_mm
        columns = min(self.legend_columns, len(self.legend_classes))
        step = self.style.width_mm / columns
        for number, category in enumerate(self.legend_classes):
            x = (number % columns) * step + 0.1 * step
            y = top_mm + 0.35 * em + 1.25 * em * (number // columns) + 0.6 * em
            line = _line([x, x + 1.6 * em], y, self.style.width_mm, self.height_mm)
            line.set_color(class_color(category))
            figure.add_artist(line)
            name = short_name(category) if self.style.width_mm < 120 else class_name(category)
            self.text(figure, x + 2.0 * em, y, name, 0.86, va="center", ha="left")


def _line(x_mm: Sequence[float], y_mm: float, width_mm: float, height_mm: float) -> Any:
    from matplotlib.lines import Line2D

    return Line2D([x / width_mm for x in x_mm], [1 - y_mm / height_mm] * 2, linewidth=1.4)


def _colours(lut: npt.NDArray[np.uint8], low: float, levels: Callable[[Any], npt.NDArray[np.uint8]]) -> dict[str, Any]:
    """Arguments of matplotlib that give values from ``low`` to 1 the colours that they have on the screen."""
    from matplotlib.colors import ListedColormap, Normalize

    class Levels(Normalize):
        def __call__(self, value: Any, clip: bool | None = None) -> Any:
            return np.ma.array(levels(np.ma.filled(value, low)), mask=np.ma.getmaskarray(value))

    return {"cmap": ListedColormap(lut / 255.0), "norm": Levels(low, 1.0)}


def _degrees(values: Sequence[int]) -> list[str]:
    return [str(value).replace("-", "−") for value in values]
