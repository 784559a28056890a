#!/usr/bin/env python3
"""Draws what was recorded, as SVG, light and dark.

    draw.py draw FOLDER          every *.json (a session) and bench.tsv (a chart) in it
    draw.py check FOLDER         whether the pictures there are those that `draw` would make
    draw.py compare OLD NEW      whether two sessions say the same, whatever the sizes and seconds are
"""

import json
import re
import statistics
import sys
from html import escape
from pathlib import Path

THEMES = {
    "light": {
        "back": "#ffffff", "bar": "#f3f4f6", "edge": "#d0d7de", "text": "#424a53", "bold": "#1f2328", "dim": "#6e7781",
        "typed": "#0550ae", "prompt": "#1a7f37", "slow": "#afb8c1", "fast": "#1a7f37",
        "black": "#24292f", "red": "#cf222e", "green": "#1a7f37", "yellow": "#9a6700", "blue": "#0969da",
        "magenta": "#8250df", "cyan": "#1b7c83", "white": "#6e7781",
    },
    "dark": {
        "back": "#0d1117", "bar": "#161b22", "edge": "#30363d", "text": "#b1bac4", "bold": "#f0f6fc", "dim": "#848d97",
        "typed": "#79c0ff", "prompt": "#3fb950", "slow": "#484f58", "fast": "#3fb950",
        "black": "#484f58", "red": "#ff7b72", "green": "#3fb950", "yellow": "#d29922", "blue": "#58a6ff",
        "magenta": "#bc8cff", "cyan": "#39c5cf", "white": "#b1bac4",
    },
}
MONO = "ui-monospace, SFMono-Regular, Menlo, Consolas, 'DejaVu Sans Mono', 'Liberation Mono', monospace"
SANS = "-apple-system, 'Segoe UI', 'Noto Sans', Helvetica, Arial, 'DejaVu Sans', sans-serif"
CHAR, LINE, SIDE, HEAD = 8.4, 21, 22, 34


def svg(width, height, family, size, title, parts):
    return "\n".join([
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" '
        f'font-family="{family}" font-size="{size}" role="img" aria-label="{escape(title)}">',
        f"<title>{escape(title)}</title>",
        *parts,
        "</svg>\n",
    ])


def session(lines, theme, title):
    """A terminal's window. Each run has its length, so that another font than ours keeps the columns."""
    columns = max(sum(len(text) for text, _ in line) for line in lines)
    width = round(columns * CHAR + 2 * SIDE)
    height = HEAD + 12 + len(lines) * LINE + 14
    parts = [
        f'<rect x="0.5" y="0.5" width="{width - 1}" height="{height - 1}" rx="10" fill="{theme["back"]}" stroke="{theme["edge"]}"/>',
        f'<path d="M0.5 {HEAD}V10.5a10 10 0 0 1 10-10H{width - 10.5}a10 10 0 0 1 10 10V{HEAD}Z" fill="{theme["bar"]}" stroke="{theme["edge"]}"/>',
    ]
    parts += [f'<circle cx="{20 + 18 * at}" cy="{HEAD / 2:g}" r="5.5" fill="{theme["edge"]}"/>' for at in range(3)]
    for row, line in enumerate(lines):
        y, column = HEAD + 12 + row * LINE + 15, 0
        for text, style in line:
            shown = text.strip(" ")
            if shown:
                x = SIDE + (column + len(text) - len(text.lstrip(" "))) * CHAR
                parts.append(
                    f'<text xml:space="preserve" x="{x:.1f}" y="{y}" textLength="{len(shown) * CHAR:.1f}" '
                    f'lengthAdjust="spacingAndGlyphs"{dress(style.split(), theme)}>{escape(shown)}</text>'
                )
            column += len(text)
    return svg(width, height, MONO, 14, title, parts)


def dress(style, theme):
    colour = next((word for word in style if word in theme), "text")
    attributes = f' fill="{theme[colour]}"'
    if "bold" in style:
        attributes += ' font-weight="700"'
    if "underline" in style:
        attributes += ' text-decoration="underline"'
    if "italic" in style:
        attributes += ' font-style="italic"'
    return attributes


GROUPS = [
    ("One launch of an agent's image", [
        ("dir: each launch copies", "launch on dir", "slow"),
        ("after taos-setup: the first, which unpacks the image", "first launch", "fast"),
        ("after taos-setup: each later one", "later launch", "fast"),
    ]),
    ("Downtime of a container that moves, 10,000 files and 600 MB", [
        ("incus stop, move, start", "plain down", "slow"),
        ("taos-setup migrate", "staged down", "fast"),
    ]),
]


def chart(figures, theme, title):
    """Bars, each group to a scale of its own, from the medians."""
    width, left, room = 860, 24, 620
    y, parts = 20, []
    for heading, bars in GROUPS:
        y += 22
        parts.append(f'<text x="{left}" y="{y}" font-weight="700" font-size="17" fill="{theme["bold"]}">{escape(heading)}</text>')
        medians = [statistics.median(figures[key]) for _, key, _ in bars]
        for (label, _, kind), median in zip(bars, medians):
            y += 28
            length = max(3, room * median / max(medians))
            parts.append(f'<text x="{left}" y="{y}" fill="{theme["text"]}">{escape(label)}</text>')
            y += 8
            parts.append(f'<rect x="{left}" y="{y}" width="{length:.1f}" height="18" rx="4" fill="{theme[kind]}"/>')
            times = "" if kind == "slow" else f"({median / medians[0]:.0%})" if median > medians[0] / 3 else f"({medians[0] / median:.0f} times faster)"
            parts.append(
                f'<text x="{left + length + 10:.1f}" y="{y + 14}" font-weight="700" fill="{theme["bold"]}">{seconds(median)}'
                f'<tspan dx="8" font-weight="400" fill="{theme["dim"]}">{times}</tspan></text>'
            )
            y += 18
        y += 16
    y += 14
    for line in figures["note"]:
        parts.append(f'<text x="{left}" y="{y}" font-size="12" fill="{theme["dim"]}">{escape(line)}</text>')
        y += 17
    height = y + 4
    frame = f'<rect x="0.5" y="0.5" width="{width - 1}" height="{height - 1}" rx="10" fill="{theme["back"]}" stroke="{theme["edge"]}"/>'
    return svg(width, height, SANS, 14, title, [frame, *parts])


def seconds(value):
    return f"{value:.1f} s" if value >= 1 else f"{value:.2f} s"


def figures_of(path):
    """Lines of a name and a number, as the benches leave them; and what to say below the chart."""
    figures = {"note": []}
    for line in path.read_text().splitlines():
        name, _, value = line.partition("\t")
        figures.setdefault(name, []).append(value if name == "note" else float(value))
    return figures


def pictures(folder):
    made = {}
    for name, theme in THEMES.items():
        for path in sorted(folder.glob("*.json")):
            lines = json.loads(path.read_text())
            made[folder / f"{path.stem}-{name}.svg"] = session(lines, theme, f"A terminal: {words_of(lines[0])}")
        if (folder / "bench.tsv").exists():
            made[folder / f"bench-{name}.svg"] = chart(figures_of(folder / "bench.tsv"), theme, "A chart of launches and downtimes")
    return made


def words_of(line):
    return "".join(text for text, _ in line)


def lasting(path):
    """The words that are the same wherever and however fast it ran, whichever way the lines were broken."""
    text = "\n".join(words_of(line) for line in json.loads(Path(path).read_text()))
    text = re.sub(r"(?m)^( +host +).*?,", r"\1SYSTEM,", text)
    text = re.sub(r"\d+(\.\d+)*", "N", text)
    text = re.sub(r"\bN (B|KiB|MiB|GiB|TiB)\b", "SIZE", text)
    return text.split()


def main():
    verb, *paths = sys.argv[1:]
    if verb == "compare":
        old, new = map(lasting, paths)
        if old != new:
            at = next((i for i, pair in enumerate(zip(old, new)) if pair[0] != pair[1]), min(len(old), len(new)))
            sys.exit(f"{paths[0]} shows '… {' '.join(old[max(0, at - 3):at + 6])} …', and the program says now '… {' '.join(new[max(0, at - 3):at + 6])} …'")
        return
    made = pictures(Path(paths[0]))
    if verb == "draw":
        for path, text in made.items():
            path.write_text(text)
        return
    wrong = [str(path) for path, text in made.items() if not path.exists() or path.read_text() != text]
    wrong += [str(path) for path in Path(paths[0]).glob("*.svg") if path not in made]
    if wrong:
        sys.exit(f"not what the records say: {', '.join(wrong)}; run: scripts/pictures.sh draw")


main()
