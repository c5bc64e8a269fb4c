#!/usr/bin/python3
"""A flame graph as one SVG file: how much CPU each function took, and on whose behalf.

  perf record -e cpu-clock -F 499 -g -p PID -- sleep 5
  perf script | perf/report/flame.py --title 'what it is' > flame.svg

Each box is a function, as wide as its share of the samples; below it is who called it. A box tells its figures to the pointer. Boxes of
one name have one colour. Input that is folded already (a;b;c 12) is taken too."""

import argparse
import re
import sys
import zlib
from collections import Counter
from xml.sax.saxutils import escape

WIDTH, ROW, LETTER = 1200, 17, 6.6
LEAST_PIXELS = 0.3  # narrower ones are left out
DEPTH_MAX = 120
FRAME = re.compile(r"^\s+[0-9a-f]+\s+(.+?)(?:\+0x[0-9a-f]+)?(?: \([^()]*\))?$")
FOLDED = re.compile(r"^(\S.*) (\d+)$")


def fold(lines):
    """{(program, outermost, ..., innermost): samples}"""
    stacks, program, frames = Counter(), None, []
    for line in [*lines, ""]:
        line = line.rstrip("\n")
        frame = FRAME.match(line)
        if not line.strip():
            if program is not None:
                stacks[(program, *reversed(frames[:DEPTH_MAX]))] += 1
            program, frames = None, []
        elif frame and program is not None:
            frames.append(frame.group(1))
        elif not line[0].isspace():
            folded = FOLDED.match(line)
            if folded and ";" in line and ":" not in folded.group(1).split(";")[0]:
                stacks[tuple(folded.group(1).split(";")[:DEPTH_MAX])] += int(folded.group(2))
            else:
                program = line.split()[0]
    return dict(stacks)


class Box:
    """A function with all samples in which it was called in this way."""

    def __init__(self):
        self.samples, self.inner = 0, {}


def tree(stacks):
    root = Box()
    for stack, samples in stacks.items():
        box = root
        box.samples += samples
        for name in stack:
            box = box.inner.setdefault(name, Box())
            box.samples += samples
    return root


def colour(name):
    number = zlib.crc32(name.encode())
    return f"rgb({205 + number % 50},{80 + number // 50 % 110},{number // 5500 % 60})"


def place(box, name, left, depth, scale, total, rows):
    """Appends (depth, text of the SVG) of a box and of what it called."""
    width = box.samples * scale
    if width < LEAST_PIXELS or depth > DEPTH_MAX:
        return
    room = int((width - 4) / LETTER)
    shown = name if len(name) <= room else name[:room - 1] + "…" if room > 3 else ""
    rows.append((depth, left, width, name, shown, f"{name}: {box.samples} samples, {100 * box.samples / total:.1f} %"))
    for inner_name, inner in sorted(box.inner.items()):
        place(inner, inner_name, left, depth + 1, scale, total, rows)
        left += inner.samples * scale


def svg(stacks, title):
    root = tree(stacks)
    rows = []
    place(root, "all", 0.0, 0, WIDTH / max(root.samples, 1), max(root.samples, 1), rows)
    height = (max((row[0] for row in rows), default=0) + 1) * ROW + 30
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" viewBox="0 0 {WIDTH} {height}" '
             f'font-family="monospace" font-size="11">', f'<rect width="{WIDTH}" height="{height}" fill="#fdfdf8"/>',
             f'<text x="6" y="17" font-size="13">{escape(title)}</text>']
    for depth, left, width, name, shown, told in rows:
        top = height - (depth + 1) * ROW
        parts.append(f'<g><title>{escape(told)}</title><rect x="{left:.1f}" y="{top}" width="{max(width - 0.4, 0.1):.1f}" height="{ROW - 1}" '
                     f'fill="{colour(name)}"/>' + (f'<text x="{left + 3:.1f}" y="{top + 12}">{escape(shown)}</text>' if shown else "") + "</g>")
    return "\n".join(parts) + "\n</svg>\n"


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--title", default="CPU samples")
    options = parser.parse_args()
    stacks = fold(sys.stdin)
    if not stacks:
        sys.exit("flame: no stacks in the input; perf record -g, then perf script")
    sys.stdout.write(svg(stacks, f"{options.title} ({sum(stacks.values())} samples)"))


if __name__ == "__main__":
    main()
