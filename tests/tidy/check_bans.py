"""Calls and words that bans.txt forbids, outside the places it allows; and functions that call themselves."""

import re

from tree import CODE_FOLDERS, Finding, is_exempt, line_of

BANS = "tests/tidy/bans.txt"


def _rows(tree):
    """(compiled pattern, allowed path prefixes, replacement) per row."""
    for row in tree.table(BANS):
        pattern, places, replacement = (cell.strip() for cell in re.split(r"\s+\|\s+", row))
        yield re.compile(pattern), tuple(places.split()), replacement


def check(tree):
    rows = list(_rows(tree))
    for path in tree.sources():
        # Include names are literals to the scanner; keep them readable for the patterns that look at includes.
        includes = "\n".join(line if line.startswith("#include") else "" for line in tree.lines(path))
        for pattern, places, replacement in rows:
            if path.startswith(places):
                continue
            text = includes if "#include" in pattern.pattern else tree.code(path)
            for match in pattern.finditer(text):
                line = line_of(text, match.start())
                if not is_exempt(tree, path, "ban", line, line):
                    word = match.group(0).strip().split("\n")[0]
                    yield Finding(path, line, "ban", f"{word!r}: use {replacement}")
        if path.split("/")[0] in CODE_FOLDERS:
            yield from _recursion(tree, path)


def _recursion(tree, path):
    for function in tree.functions(path):
        if re.search(rf"(?<![\w.>]){function.name}\(", function.body):
            if not is_exempt(tree, path, "recursion", function.first_line, function.last_line):
                yield Finding(path, function.first_line, "recursion", f"{function.name}() calls itself: use a loop")
