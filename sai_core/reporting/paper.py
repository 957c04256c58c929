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
        for row in textwrap.wrap(text, int(_INNER / (_MM_PER_CHARACTER * size))) or [""]:
            self._need(size * 0.5)
            self._put(_LEFT, self._y, row, size=size, **look)
            self._y += size * 0.46
        self._y += gap

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
        size = min(7.0, _INNER / (_MM_PER_CHARACTER * (first + sum(widths))))
        unit, step = _MM_PER_CHARACTER * size, 0.52 * size
        rights = [_LEFT + unit * (first + sum(widths[: j + 1])) for j in range(len(widths))]
        self._need(10 * step)
        self._paragraph(table.title, size=6.5, color=_MUTED)
        self._head(table, rights, size, step)
        for k, name in enumerate(table.rows):
            if self._y + step > _HEIGHT - _BOTTOM:
                self._rule(rights[-1], 0.8)
                self._new_page()
                self._head(table, rights, size, step)
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
            self._paragraph(table.note, size=6.5, color=_MUTED)
        self._y += 2

    def _head(self, table: Table, rights: Sequence[float], size: float, step: float) -> None:
        self._rule(rights[-1], 0.8)
        if any(c.group for c in table.columns):
            before = ""
            for column, right in zip(table.columns, rights, strict=True):
                if column.group and column.group != before:
                    self._put(right, self._y, column.group, size=size, ha="right", color=_MUTED)
                before = column.group
            self._y += step
        self._put(_LEFT, self._y, table.row_title, size=size, weight="bold")
        for column, right in zip(table.columns, rights, strict=True):
            self._put(right, self._y, column.title, size=size, ha="right", weight="bold")
        self._y += step
        self._rule(rights[-1], 0.4)

    def _rule(self, right: float, width: float) -> None:
        from matplotlib.lines import Line2D

        assert self._figure is not None
        y = 1 - (self._y - 0.3) / _HEIGHT
        self._figure.add_artist(Line2D([_LEFT / _WIDTH, right / _WIDTH], [y, y], color="black", linewidth=width))
        self._y += 0.7

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
