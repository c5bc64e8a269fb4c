"""A TODO names its issue, as in TODO(#12); FIXME and XXX are not used."""

import re

from tree import Finding

SUFFIXES = (".c", ".h", ".def", ".py", ".cmake", ".md", ".sh", "CMakeLists.txt")
BAD = re.compile(r"\bTODO\b(?!\(#\d+\))|\bFIXME\b|\bXXX\b")


def check(tree):
    for path in tree.sources(*SUFFIXES):
        if path.startswith("tests/tidy/"):
            continue  # talks about the word
        for number, line in enumerate(tree.lines(path), 1):
            if BAD.search(line):
                yield Finding(path, number, "todo", "write TODO(#issue) so that it is found again")
