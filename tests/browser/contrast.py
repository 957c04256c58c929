"""How text stands out from its ground, measured in the browser (WCAG 2.2 AA: 1.4.3 for text, 1.4.11 for symbols)."""

from __future__ import annotations

from typing import Any

from playwright.sync_api import Page

# For every element with text of its own: its colour, and what its ancestors paint behind its centre, put together.
# Left out are disabled controls (as WCAG does), text over pictures, and labels inside the marks of a chart.
_MEASURE = """() => {
    const canvas = new OffscreenCanvas(1, 1).getContext('2d', { willReadFrequently: true });
    const parse = text => {
        canvas.clearRect(0, 0, 1, 1);
        canvas.fillStyle = '#0000';
        canvas.fillStyle = text;
        canvas.fillRect(0, 0, 1, 1);
        const [r, g, b, a] = canvas.getImageData(0, 0, 1, 1).data;
        return [r, g, b, a / 255];
    };
    const over = (top, under) => {
        const rest = under[3] * (1 - top[3]), a = top[3] + rest;
        return [0, 1, 2].map(k => (a ? (top[k] * top[3] + under[k] * rest) / a : 0)).concat(a);
    };
    const luminance = colour => {
        const linear = v => (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
        return 0.2126 * linear(colour[0]) + 0.7152 * linear(colour[1]) + 0.0722 * linear(colour[2]);
    };
    const hex = c => '#' + c.slice(0, 3).map(v => Math.round(v).toString(16).padStart(2, '0')).join('');
    const parent = e => e.assignedSlot || e.parentElement || e.getRootNode().host || null;
    const skipped = 'script, style, noscript, [aria-disabled=true], :disabled, [inert], .bartext, .heatmaplayer';
    const found = new Map();
    const measure = e => {
        let text = [...e.childNodes].filter(n => n.nodeType === 3).map(n => n.data.trim()).join(' ').trim();
        if (!text && e.matches('input:not([type=checkbox], [type=radio], [type=range]), textarea')) text = e.value;
        if (!text || e.closest(skipped)) return;
        if (!e.checkVisibility({ opacityProperty: true, visibilityProperty: true })) return;
        const box = e.getBoundingClientRect();
        if (box.width < 2 || box.height < 2) return;
        const style = getComputedStyle(e), x = box.x + box.width / 2, y = box.y + box.height / 2;
        let behind = [0, 0, 0, 0], opacity = 1;
        for (let p = e; p; p = parent(p)) {
            const s = getComputedStyle(p), around = p.getBoundingClientRect();
            const holds = x >= around.left && x <= around.right && y >= around.top && y <= around.bottom;
            if (holds && behind[3] < 1) {
                if (s.backgroundImage !== 'none') return;
                behind = over(behind, parse(s.backgroundColor));
            }
            opacity *= Number(s.opacity);
        }
        if (behind[3] < 0.999 || opacity < 0.5) return;
        const colour = parse(e instanceof SVGElement ? style.fill : style.color);
        colour[3] *= opacity;
        const shown = over(colour, behind);
        const [high, low] = [luminance(shown), luminance(behind)].sort((a, b) => b - a);
        const size = parseFloat(style.fontSize), bold = Number(style.fontWeight) >= 700;
        const large = size >= 24 || (bold && size >= 18.66);
        // a symbol that stands for itself is graphics (1.4.11)
        const symbol = /Material/.test(style.fontFamily) || !/[\\p{L}\\p{N}]/u.test(text);
        const needed = symbol || large ? 3 : 4.5, pair = hex(shown) + ' on ' + hex(behind);
        if ((found.get(pair)?.needed ?? 0) >= needed) return;
        const where = e.closest('[data-testid]')?.getAttribute('data-testid') || e.className || e.tagName;
        const ratio = (high + 0.05) / (low + 0.05);
        found.set(pair, { pair, ratio, needed, text: text.slice(0, 40), where: `${where}` });
    };
    const look = root => {
        for (const e of root.querySelectorAll('*')) {
            if (e.shadowRoot) look(e.shadowRoot);
            measure(e);
        }
    };
    look(document);
    return [...found.values()];
}"""


def pairs(page: Page) -> list[dict[str, Any]]:
    """Colours of text and ground on the screen, as ``#... on #...``, with their ratio and what AA asks for."""
    found: list[dict[str, Any]] = page.evaluate(_MEASURE)
    return found


def faint(page: Page) -> list[str]:
    """What does not reach AA, one line each."""
    found = pairs(page)
    assert len(found) > 3, "hardly anything is on the page"
    return [
        f"{p['pair']} {p['ratio']:.2f}:1 < {p['needed']} ({p['where']}: {p['text']!r})"
        for p in found
        if p["ratio"] < p["needed"]
    ]
