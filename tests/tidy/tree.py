"""What every checker works on: the files of a tree, their text, and their code without comments.

A checker is a module check_NAME.py with one function, check(tree), that yields Finding tuples. It reads only through
the tree, so the self-test can hand it a small planted tree instead of the project.
"""

import os
import re
import subprocess
from collections import namedtuple

Finding = namedtuple("Finding", "path line rule text")
# One C function definition as clang-format leaves it; line numbers start at 1, body excludes the outer braces.
Function = namedtuple("Function", "name first_line last_line parameters body")

CODE_FOLDERS = ("engine", "hw", "log", "net")
EXEMPTION = re.compile(r"/\* tidy: ([a-z]+), [^*]+\*/")
_NOISE = re.compile(r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])+\'', re.S)
# The name before the first parenthesis, the parameters, and a brace that stands alone in column 0.
_DEFINITION = re.compile(
    r"^(?:[A-Za-z_][\w ]*?[ *]+)?\*?(\w+)\(((?:[^;{}()]|\((?:[^(){};]|\([^(){};]*\))*\))*)\)\s*\n\{\n", re.M)


def _blank(match):
    """Replaces a comment or literal by blanks of the same shape, so that positions and line numbers stay."""
    text = match.group(0)
    if text[0] in "\"'":
        return text[0] + " " * (len(text) - 2) + text[0]
    return re.sub(r"[^\n]", " ", text)


class Tree:
    """The tracked files below root (all files when root is not a git work tree)."""

    def __init__(self, root):
        self.root = root
        self._text = {}
        self._code = {}
        if os.path.exists(os.path.join(root, ".git")):
            # Files that are new and not ignored count too: a fault should show before it is committed.
            listed = subprocess.run(
                ["git", "-C", root, "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
                capture_output=True, text=True, check=True).stdout.split("\0")
            self.files = sorted({f for f in listed if f and os.path.isfile(os.path.join(root, f))})
        else:
            self.files = sorted(
                os.path.relpath(os.path.join(folder, name), root)
                for folder, _, names in os.walk(root) for name in names)

    def text(self, path):
        if path not in self._text:
            with open(os.path.join(self.root, path), encoding="utf-8", errors="replace") as file:
                self._text[path] = file.read()
        return self._text[path]

    def code(self, path):
        """The text with comments and the insides of literals blanked out; #include "..." lines lose their name."""
        if path not in self._code:
            self._code[path] = _NOISE.sub(_blank, self.text(path))
        return self._code[path]

    def sources(self, *suffixes):
        return [f for f in self.files if f.endswith(suffixes or (".c", ".h"))]

    def lines(self, path):
        return self.text(path).splitlines()

    def table(self, path):
        """Rows of a text table: no blank lines, no lines that begin with '# '."""
        if path not in self.files:
            return []
        return [row for row in self.lines(path) if row.strip() and row != "#" and not row.startswith("# ")]

    def functions(self, path):
        code = self.code(path)
        found = []
        for match in _DEFINITION.finditer(code):
            end = code.find("\n}", match.end() - 1)
            if end < 0:
                continue
            found.append(Function(match.group(1), code.count("\n", 0, match.start()) + 1,
                                  code.count("\n", 0, end) + 2, match.group(2), code[match.end():end + 1]))
        return found


def line_of(text, position):
    return text.count("\n", 0, position) + 1


def is_exempt(tree, path, rule, first_line, last_line):
    """True when a comment in lines [first_line - 1, last_line] names the rule and a reason."""
    part = "\n".join(tree.lines(path)[max(0, first_line - 2):last_line])
    return any(match.group(1) == rule for match in EXEMPTION.finditer(part))
