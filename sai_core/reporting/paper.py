"""A report as PDF on A4: the same parts as the page, set by matplotlib."""

from __future__ import annotations

import io
import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from sai_core.figures.paper.style import PaperStyle, drawing, metadata
from sai_core.metrics.reading.tables import Table
from sai_core.reporting.charts import Chart
from sai_core.reporting.content import Report, Still

if TYPE_CHECKING:
    from matplotlib.backends.backend_pdf import PdfPages
    from matplotlib.figure import Figure

_WIDTH: Final[float] = 210.0
_HEIGHT: Final[float] = 297.0
_LEFT: Final[float] = 16.0
_TOP: Final[float] = 18.0
_BOTTOM: Final[float] = 16.0
_INNER: Final[float] = _WIDTH - 2 * _LEFT
_MUTED: Final[str] = "#5c6675"
_STYLE: Final[PaperStyle] = PaperStyle(width_mm=_WIDTH, font_size_pt=8)
_MM_PER_CHARACTER: Final[float] = 0.21
"""Width of a digit per point of its size, in millimetres, with some air."""

_MM_PER_LINE: Final[float] = 0.46
"""Height of a line per point of its size, in millimetres."""

_NOTE_SIZE: Final[float] = 6.5
_RULE_GAP: Final[float] = 0.7
_ROWS_WITH_NOTE: Final[int] = 3


def as_pdf(report: Report) -> bytes:
    """The file's bytes; the same report gives the same."""
    from matplotlib.backends.backend_pdf import PdfPages

    stream = io.BytesIO()
    with drawing(_STYLE), PdfPages(stream, metadata=metadata("pdf", report.title)) as document:
        _Sheets(document, report).write()
    return stream.getvalue()


class _Sheets:
    """Pages that are filled from the top; what does not fit goes to the next."""

    def __init__(self, document: PdfPages, report: Report) -> None:
        self._document, self._report = document, report
        self._figure: Figure | None = None
        self._y, self._number = 0.0, 0

    def write(self) -> None:
        """All pages."""
        report = self._report
        self._new_page()
        self._line(report.title, size=20, weight="bold", gap=3)
        self._line("Semantic acoustic imaging (DCASE 2026 Task 3)", size=9, color=_MUTED, gap=5)
        if report.figures:
            self._figures()
        for note in report.notes:
            self._paragraph(f"• {note}")
        for part in report.parts:
            if part.level == 1:
                self._new_page()
                self._line(part.title, size=17, weight="bold", gap=4)
                continue
            self._need(26 + (part.chart.height_mm if part.chart else 30))
            self._y += 3
            self._line(part.title, size=11, weight="bold", gap=2)
            if part.text:
                self._paragraph(part.text)
            if part.chart is not None:
                self._chart(part.chart)
            for table in part.tables:
                self._table(table)
            for k in range(0, len(part.stills), 2):
                self._stills(part.stills[k : k + 2])
        self._need(60)
        self._y += 3
        self._line("What it was made from", size=11, weight="bold", gap=2)
        for name, value in report.facts:
            self._paragraph(f"{name}: {value}")
        self._end_page()

    def _new_page(self) -> None:
        from matplotlib.figure import Figure

        self._end_page()
        self._figure = Figure(figsize=(_WIDTH / 25.4, _HEIGHT / 25.4), dpi=_STYLE.dpi)
        self._y = _TOP
        self._number += 1

    def _end_page(self) -> None:
        if self._figure is not None:
            self._put(_LEFT, _HEIGHT - 9, self._report.title[:90], size=6.5, color=_MUTED)
            self._put(_WIDTH - _LEFT, _HEIGHT - 9, str(self._number), size=6.5, color=_MUTED, ha="right")
            self._document.savefig(self._figure)

    def _need(self, height: float) -> None:
        if self._y + min(height, 120) > _HEIGHT - _BOTTOM:
            self._new_page()

    def _put(self, x: float, y: float, text: str, *, size: float, **look: Any) -> Any:
        assert self._figure is not None
        return self._figure.text(x / _WIDTH, 1 - y / _HEIGHT, text, fontsize=size, va="top", **look)

    def _line(self, text: str, *, size: float, gap: float, **look: Any) -> None:
        for row in _wrapped(text, size):
            self._need(size * 0.5)
            self._put(_LEFT, self._y, row, size=size, **look)
            self._y += size * _MM_PER_LINE
        self._y += gap

    def _height(self, text: str, *, size: float) -> float:
        """Of a paragraph, in millimetres."""
        return len(_wrapped(text, size)) * size * _MM_PER_LINE

    def _paragraph(self, text: str, *, size: float = 7.5, color: str = "black") -> None:
        self._line(text, size=size, gap=1.2, color=color)

    def _figures(self) -> None:
        width = _INNER / max(len(self._report.figures), 1)
        for k, (name, value, between) in enumerate(self._report.figures):
            x = _LEFT + k * width
            self._put(x, self._y, name, size=6.5, color=_MUTED)
            self._put(x, self._y + 3.4, value, size=13, weight="bold")
            self._put(x, self._y + 9.4, between, size=6, color=_MUTED)
        self._y += 16

    def _axes(self, x: float, width: float, height: float) -> Any:
        assert self._figure is not None
        bottom = 1 - (self._y + height) / _HEIGHT
        return self._figure.add_axes((x / _WIDTH, bottom, width / _WIDTH, height / _HEIGHT))

    def _chart(self, chart: Chart) -> None:
        self._need(chart.height_mm)
        # room for names to the left, axis below and a legend to the right
        has_legend = "recall" in chart.alt
        self._y += 2
        axes = self._axes(_LEFT + 28, _INNER - (78 if has_legend else 34), chart.height_mm - 14)
        chart.draw(axes)
        self._y += chart.height_mm

    def _table(self, table: Table) -> None:
        first = max([len(table.row_title), *map(len, table.rows)])
        widths = [
            max([len(c.title), *(len(table.text(k, j)) for k in range(len(table.rows)))]) + 2
            for j, c in enumerate(table.columns)
        ]
        # titles of groups stand over their columns, which may be narrower
        spans = _groups(table)
        for title, begin, stop in spans:
            widths[begin] += max(len(title) + 2 - sum(widths[begin:stop]), 0)
        size = min(7.0, _INNER / (_MM_PER_CHARACTER * (first + sum(widths))))
        unit, step = _MM_PER_CHARACTER * size, 0.52 * size
        rights = [_LEFT + unit * (first + sum(widths[: j + 1])) for j in range(len(widths))]
        self._need(10 * step)
        self._paragraph(table.title, size=_NOTE_SIZE, color=_MUTED)
        lefts = [_LEFT + unit * first, *rights[:-1]]
        over = [(title, lefts[begin] + unit, rights[stop - 1]) for title, begin, stop in spans]
        self._head(table, rights, over, size, step)
        # the note is read with the table: it takes some rows along where it does not fit below the last
        end = _HEIGHT - _BOTTOM - (2.0 + self._height(table.note, size=_NOTE_SIZE) if table.note else 0.0)
        taken_along = len(table.rows) - min(_ROWS_WITH_NOTE, len(table.rows) - 1)
        for k, name in enumerate(table.rows):
            to_come = (len(table.rows) - taken_along) * step
            if self._y + step > _HEIGHT - _BOTTOM or (k == taken_along and self._y + to_come > end):
                self._rule(rights[-1], 0.8)
                self._new_page()
                self._head(table, rights, over, size, step)
            if table.summary_rows and k == len(table.rows) - table.summary_rows:
                self._rule(rights[-1], 0.3)
            self._put(_LEFT, self._y, name, size=size)
            for j, right in enumerate(rights):
                weight = "bold" if k in table.best(j) else "normal"
                self._put(right, self._y, table.text(k, j), size=size, ha="right", weight=weight)
            self._y += step
        self._rule(rights[-1], 0.8)
        self._y += 1.5
        if table.note:
            self._paragraph(table.note, size=_NOTE_SIZE, color=_MUTED)
        self._y += 2

    def _head(
        self,
        table: Table,
        rights: Sequence[float],
        over: Sequence[tuple[str, float, float]],
        size: float,
        step: float,
    ) -> None:
        """Titles of the columns, and ``over`` them those of groups: title, left and right end in millimetres."""
        self._rule(rights[-1], 0.8)
        if over:
            for title, left, right in over:
                self._put((left + right) / 2, self._y, title, size=size, ha="center", color=_MUTED)
            self._y += step
            for _, left, right in over:
                self._rule(right, 0.3, left=left)
                self._y -= _RULE_GAP
            self._y += _RULE_GAP
        self._put(_LEFT, self._y, table.row_title, size=size, weight="bold")
        for column, right in zip(table.columns, rights, strict=True):
            self._put(right, self._y, column.title, size=size, ha="right", weight="bold")
        self._y += step
        self._rule(rights[-1], 0.4)

    def _rule(self, right: float, width: float, *, left: float = _LEFT) -> None:
        from matplotlib.lines import Line2D

        assert self._figure is not None
        y = 1 - (self._y - 0.3) / _HEIGHT
        self._figure.add_artist(Line2D([left / _WIDTH, right / _WIDTH], [y, y], color="black", linewidth=width))
        self._y += _RULE_GAP

    def _stills(self, stills: Sequence[Still]) -> None:
        width = (_INNER - 6) / 2
        side = (width - 1) / 2
        self._need(side / 2 + 12)
        for k, still in enumerate(stills):
            x = _LEFT + k * (width + 6)
            for j, picture in enumerate((still.labels, still.predictions)):
                axes = self._axes(x + j * (side + 1), side, side / 2)
                axes.imshow(picture, aspect="auto", interpolation="bilinear")
                axes.set_axis_off()
            self._put(x, self._y + side / 2 + 1, still.title, size=6, url=still.link, color="#0b5cad")
            for j, row in enumerate(textwrap.wrap(still.note, int(width / (_MM_PER_CHARACTER * 6)))[:2]):
                self._put(x, self._y + side / 2 + 3.8 + 2.6 * j, row, size=6, color=_MUTED)
        self._y += side / 2 + 11


def _wrapped(text: str, size: float) -> list[str]:
    """Lines of a paragraph over the whole width."""
    return textwrap.wrap(text, int(_INNER / (_MM_PER_CHARACTER * size))) or [""]


def _groups(table: Table) -> list[tuple[str, int, int]]:
    """Columns that stand beside each other under one title: title, first column, one after the last."""
    found: list[tuple[str, int, int]] = []
    for k, column in enumerate(table.columns):
        if found and found[-1][0] == column.group and found[-1][2] == k:
            found[-1] = (column.group, found[-1][1], k + 1)
        else:
            found.append((column.group, k, k + 1))
    return [group for group in found if group[0]]
