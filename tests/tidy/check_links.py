"""Relative links in Markdown lead somewhere, and lines of prose stay readable (<= 200 columns)."""

import os
import re

from tree import Finding, line_of

LINK = re.compile(r"\]\(([^)#\s]+)(?:#[^)]*)?\)")
COLUMNS_MAX = 200


def check(tree):
    for path in tree.sources(".md"):
        text = tree.text(path)
        for match in LINK.finditer(text):
            target = match.group(1)
            if re.match(r"[a-z]+:", target):
                continue
            place = os.path.normpath(os.path.join(os.path.dirname(path), target))
            if not os.path.exists(os.path.join(tree.root, place)):
                yield Finding(path, line_of(text, match.start()), "link", f"{target} does not exist")
        if path.startswith(("engine/metrics/METRICS", "engine/config/SETTINGS", "CHANGELOG")):
            continue
        for number, line in enumerate(text.splitlines(), 1):
            if len(line) > COLUMNS_MAX and not line.lstrip().startswith("|"):
                yield Finding(path, number, "columns", f"{len(line)} columns, at most {COLUMNS_MAX} in prose")
