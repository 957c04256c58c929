"""A report as one HTML file: styles, charts and pictures are in it, and nothing is fetched."""

from __future__ import annotations

import base64
import html
import re
from typing import Final

import cv2

from sai_core.errors import InputError
from sai_core.figures.paper.style import PaperStyle, drawing, figure_bytes, new_figure
from sai_core.metrics.reading.tables import Table
from sai_core.reporting.charts import Chart
from sai_core.reporting.content import Part, Picture, Report, Still

MAX_BYTES: Final[int] = 10 * 10**6
"""Largest report: what a mail takes."""

_STYLE: Final[str] = """
:root { --ink: #1b2230; --muted: #5c6675; --line: #d9dde3; --accent: #0b5cad; --wash: #f6f7f9 }
* { box-sizing: border-box }
html { color: var(--ink); background: #fff; -webkit-text-size-adjust: 100% }
body { margin: 0 auto; max-width: 74rem; padding: 3.5rem 2rem 5rem; line-height: 1.5;
  font: 16px/1.5 Charter, "Bitstream Charter", "Iowan Old Style", "Palatino Linotype", Georgia, serif }
h1, h2, h3, table, figcaption, dl, nav, .figures { font-family: "Inter", "Segoe UI", system-ui, -apple-system, Roboto,
  "Helvetica Neue", Arial, sans-serif }
h1 { font-size: 2.1rem; line-height: 1.15; letter-spacing: -.02em; margin: 0 0 .4rem }
h2 { font-size: 1.5rem; letter-spacing: -.015em; margin: 3.5rem 0 .5rem; padding-top: 1.2rem;
  border-top: 2px solid var(--ink) }
h3 { font-size: 1.06rem; margin: 2.4rem 0 .5rem }
p { max-width: 44rem; margin: .5rem 0 1rem }
.kicker { color: var(--muted); margin: 0 0 1.8rem }
nav { columns: 3 12rem; font-size: .86rem; margin: 1.5rem 0 2rem; padding: .9rem 1.1rem; background: var(--wash);
  border-radius: .4rem }
nav a { display: block; break-inside: avoid; text-decoration: none; padding: .08rem 0 }
nav a.system { font-weight: 600 }
a { color: var(--accent) }
.figures { display: grid; grid-template-columns: repeat(auto-fit, minmax(8.5rem, 1fr)); gap: 1px;
  background: var(--line); border: 1px solid var(--line); border-radius: .4rem; overflow: hidden; margin: 1.5rem 0 }
.figures div { background: #fff; padding: .8rem .9rem }
.figures b { display: block; font-size: 1.45rem; font-weight: 600; font-variant-numeric: tabular-nums;
  letter-spacing: -.01em; line-height: 1.3 }
.figures span { color: var(--muted); font-size: .76rem; display: block }
.scroll { overflow-x: auto; margin: .8rem 0 .3rem }
table { border-collapse: collapse; font-size: .78rem; line-height: 1.3; font-variant-numeric: tabular-nums;
  border-top: 1.5px solid var(--ink); border-bottom: 1.5px solid var(--ink) }
caption { text-align: left; white-space: nowrap; font-size: .78rem; color: var(--muted); padding-bottom: .4rem }
th, td { padding: .26rem .5rem; text-align: right; white-space: nowrap }
th:first-child, td:first-child { text-align: left; padding-left: .1rem }
thead th { font-weight: 600; vertical-align: bottom; white-space: normal }
thead tr:last-child th { border-bottom: .75px solid var(--ink) }
thead th.group { text-align: center; border-bottom: .75px solid var(--line) }
tbody tr:hover { background: var(--wash) }
tr.summary td { border-top: .75px solid var(--line) }
tr.summary ~ tr.summary td { border-top: 0 }
td.best { font-weight: 700 }
.note { color: var(--muted); font-size: .82rem; margin-top: .2rem }
svg { display: block; max-width: 100%; height: auto; margin: .8rem 0 }
.stills { display: grid; grid-template-columns: repeat(auto-fill, minmax(26rem, 1fr)); gap: 1.3rem 1rem;
  margin: 1rem 0 }
figure { margin: 0; break-inside: avoid }
figure a { display: grid; grid-template-columns: 1fr 1fr; gap: 3px; text-decoration: none }
figure img { width: 100%; height: auto; display: block; border-radius: 2px }
figcaption { font-size: .78rem; line-height: 1.35; margin-top: .35rem; overflow-wrap: anywhere }
figcaption span { color: var(--muted); display: block }
dl { display: grid; grid-template-columns: minmax(7rem, auto) 1fr; gap: .3rem 1.2rem; font-size: .84rem }
dt { color: var(--muted) } dd { margin: 0; overflow-wrap: anywhere }
ul.notes { font-size: .9rem; padding-left: 1.1rem }
@page { size: A4; margin: 16mm 14mm 18mm }
@media print {
  body { max-width: none; padding: 0; font-size: 10.5pt }
  nav { display: none }
  h2 { break-before: page; border-top: 0; padding-top: 0; margin-top: 0 }
  h2, h3 { break-after: avoid }
  .scroll { overflow: visible }
  table { font-size: 6.6pt } th, td { padding: .16rem .3rem }
  tr, svg, figure { break-inside: avoid } thead { display: table-header-group }
  .stills { grid-template-columns: 1fr 1fr }
  a { color: inherit; text-decoration: none }
}
@media (max-width: 72rem) { table { font-size: .72rem } th, td { padding: .24rem .3rem } }
@media (max-width: 34rem) { body { padding: 1.5rem 1rem } .stills { grid-template-columns: 1fr } nav { columns: 1 } }
"""


def as_html(report: Report) -> bytes:
    """The file's bytes; the same report gives the same.

    Raises
    ------
    InputError
        Larger than :data:`MAX_BYTES`.
    """
    numbers = {id(part): f"part-{k}" for k, part in enumerate(report.parts)}
    links = "".join(
        f'<a href="#{numbers[id(p)]}"{" class=system" if p.level == 1 else ""}>{_text(p.title)}</a>'
        for p in report.parts
    )
    figures = "".join(
        f"<div><span>{_text(name)}</span><b>{_text(value)}</b><span>{_text(between) or '&nbsp;'}</span></div>"
        for name, value, between in report.figures
    )
    facts = "".join(f"<dt>{_text(name)}</dt><dd>{_text(value)}</dd>" for name, value in report.facts)
    evaluator = dict(report.facts).get("Evaluator", "")
    body = [
        f"<h1>{_text(report.title)}</h1>",
        f'<p class="kicker">Semantic acoustic imaging (DCASE 2026 Task 3) · {_text(evaluator.partition(":")[0])}</p>',
        f'<div class="figures">{figures}</div>' if figures else "",
        f'<nav>{links}<a href="#made">What it was made from</a></nav>',
        "<ul class=notes>" + "".join(f"<li>{_text(n)}</li>" for n in report.notes) + "</ul>" if report.notes else "",
        *(_part(part, numbers[id(part)]) for part in report.parts),
        f'<h2 id="made">What it was made from</h2><dl>{facts}</dl>',
    ]
    page = (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><meta name="viewport" '
        f'content="width=device-width, initial-scale=1"><title>{_text(report.title)}</title><style>{_STYLE}</style>'
        f"</head><body>\n{chr(10).join(filter(None, body))}\n</body></html>\n"
    ).encode()
    if len(page) > MAX_BYTES:
        raise InputError(
            f"The report has {len(page) / 1e6:.1f} MB, more than {MAX_BYTES / 1e6:.0f}; take fewer systems or stills."
        )
    return page


def _text(text: str) -> str:
    return html.escape(text)


def _part(part: Part, anchor: str) -> str:
    tag = "h2" if part.level == 1 else "h3"
    return "\n".join(
        filter(
            None,
            [
                f'<{tag} id="{anchor}">{_text(part.title)}</{tag}>',
                f"<p>{_text(part.text)}</p>" if part.text else "",
                _svg(part.chart) if part.chart is not None else "",
                *map(_table, part.tables),
                '<div class="stills">' + "".join(map(_still, part.stills)) + "</div>" if part.stills else "",
            ],
        )
    )


def _table(table: Table) -> str:
    head = f"<th>{_text(table.row_title)}</th>" + "".join(
        f'<th title="{_text(c.help)}">{_text(c.title)}</th>' if c.help else f"<th>{_text(c.title)}</th>"
        for c in table.columns
    )
    groups = ""
    if any(c.group for c in table.columns):
        cells, k = ["<th></th>"], 0
        while k < len(table.columns):
            stop = k + 1
            while stop < len(table.columns) and table.columns[stop].group == table.columns[k].group:
                stop += 1
            name = table.columns[k].group
            cells.append(f'<th colspan="{stop - k}"{" class=group" if name else ""}>{_text(name)}</th>')
            k = stop
        groups = f"<tr>{''.join(cells)}</tr>"
    best = [table.best(c) for c in range(len(table.columns))]
    rows = []
    for k, name in enumerate(table.rows):
        cells = [
            f"<td{' class=best' if k in best[c] else ''}>{table.text(k, c)}</td>" for c in range(len(table.columns))
        ]
        summary = " class=summary" if k >= len(table.rows) - table.summary_rows else ""
        rows.append(f"<tr{summary}><td>{_text(name)}</td>{''.join(cells)}</tr>")
    note = f'<p class="note">{_text(table.note)}</p>' if table.note else ""
    return (
        f'<div class="scroll"><table><caption>{_text(table.title)}</caption><thead>{groups}<tr>{head}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div>{note}"
    )


def _svg(chart: Chart) -> str:
    style = PaperStyle(width_mm=178, font_size_pt=8, editable_text=True)
    with drawing(style):
        figure = new_figure(style, chart.height_mm)
        figure.set_layout_engine("constrained")
        chart.draw(figure.add_subplot())
        text = figure_bytes(figure, style, "svg").decode()
    # within a page of HTML neither prologue nor names of vocabularies are needed, and ids of parts would occur twice
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r' xmlns(:xlink)?="[^"]*"', "", text).replace("xlink:href", "href")
    text = re.sub(r' id="[A-Za-z]+_\d+"', "", text)
    return text.replace("<svg", f'<svg role="img" aria-label="{_text(chart.alt)}"', 1).strip()


def _still(still: Still) -> str:
    sides = "".join(
        f'<img alt="{what}" width="360" height="180" src="{_webp(picture)}">'
        for what, picture in (("labels", still.labels), ("predictions", still.predictions))
    )
    return (
        f'<figure><a href="{_text(still.link)}" title="Open in the Explorer">{sides}</a>'
        f"<figcaption>{_text(still.title)}<span>{_text(still.note)}</span></figcaption></figure>"
    )


def _webp(picture: Picture) -> str:
    done, data = cv2.imencode(".webp", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_WEBP_QUALITY, 84])
    assert done
    return f"data:image/webp;base64,{base64.b64encode(data.tobytes()).decode('ascii')}"
