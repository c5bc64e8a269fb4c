"""Files, headers, lines, functions, parameters and nesting stay small; known exceptions sit in limits.txt.

A flat table or dispatch carries /* tidy: length, reason */ (file: in its first 20 lines); likewise `nesting` and
`parameters`. limits.txt is a ratchet: a row above what is measured now must be lowered or removed.
"""

import re

from tree import Finding, is_exempt

LIMITS = "tests/tidy/limits.txt"
FILE_MAX = 800
HEADER_MAX = 250
COLUMNS_MAX = 100
FUNCTION_MAX = 70
PARAMETERS_MAX = 5
NESTING_MAX = 3
BUILD_FILE_MAX = 15
README_MAX = 60
HEAD_LINES = 20
CRITERION = ("Test", "ParameterizedTest", "ParameterizedTestParameters", "TestSuite", "Theory")
TOKEN = re.compile(r"\w+|[(){};]")


def nesting(body):
    """The most control statements that stand inside one another; an else-if chain is one."""
    tokens = TOKEN.findall(body)
    deepest = 0
    at = 0

    def skip_group():
        """Steps over one balanced ( ... ) group."""
        nonlocal at
        depth = 0
        while at < len(tokens):
            depth += {"(": 1, ")": -1}.get(tokens[at], 0)
            at += 1
            if depth == 0:
                return

    def statement(depth):
        nonlocal at, deepest
        if at >= len(tokens):
            return
        word = tokens[at]
        if word == "{":
            at += 1
            while at < len(tokens) and tokens[at] != "}":
                statement(depth)
            at += 1
        elif word in ("if", "for", "while", "switch"):
            deepest = max(deepest, depth + 1)
            at += 1
            skip_group()
            statement(depth + 1)
            while at < len(tokens) and tokens[at] == "else":
                at += 1
                if at < len(tokens) and tokens[at] == "if":
                    at += 1
                    skip_group()
                statement(depth + 1)
        elif word == "do":
            deepest = max(deepest, depth + 1)
            at += 1
            statement(depth + 1)
            at += 1
            skip_group()
        else:
            braces = 0
            while at < len(tokens) and (braces > 0 or tokens[at] not in (";", "}")):
                if tokens[at] in ("if", "for", "while", "switch", "do") and braces == 0:
                    return  # a label or case stood before it
                braces += {"{": 1, "}": -1}.get(tokens[at], 0)
                at += 1
            if at < len(tokens) and tokens[at] == ";":
                at += 1

    while at < len(tokens):
        before = at
        statement(0)
        at = max(at, before + 1)
    return deepest


def parameter_count(parameters):
    depth = 0
    count = 1 if parameters.strip() not in ("", "void") else 0
    for letter in parameters:
        depth += {"(": 1, "[": 1, ")": -1, "]": -1}.get(letter, 0)
        count += letter == "," and depth == 0
    return count


def _measures(tree):
    """(path, line, rule, what, value, limit) for everything that has a limit."""
    for path in tree.sources():
        lines = tree.lines(path)
        if not is_exempt(tree, path, "length", 1, HEAD_LINES):
            header = path.endswith(".h")
            yield path, 1, "length", "file", len(lines), HEADER_MAX if header else FILE_MAX
        for number, line in enumerate(lines, 1):
            if len(line) > COLUMNS_MAX:
                yield path, number, "columns", f"line {number}", len(line), COLUMNS_MAX
        for function in tree.functions(path):
            first, last = function.first_line, function.last_line
            values = [("length", function.body.count("\n"), FUNCTION_MAX),
                      ("nesting", nesting(function.body), NESTING_MAX)]
            if function.name not in CRITERION:
                values.append(("parameters", parameter_count(function.parameters), PARAMETERS_MAX))
            for rule, value, limit in values:
                if value > limit and not is_exempt(tree, path, rule, first, last):
                    yield path, first, rule, f"{function.name}()", value, limit
    for path in tree.files:
        if path.endswith("/CMakeLists.txt"):
            yield path, 1, "length", "build file", len(tree.lines(path)), BUILD_FILE_MAX
        if path.endswith("/README.md") and path.count("/") >= 2 and path.split("/")[0] in ("engine", "hw", "log", "net"):
            yield path, 1, "length", "README", len(tree.lines(path)), README_MAX


def check(tree):
    ratchet = {}
    for row in tree.table(LIMITS):
        path, rule, allowed = row.split()[:3]
        ratchet[path, rule] = int(allowed)
    worst = {}
    for path, line, rule, what, value, limit in _measures(tree):
        known = ratchet.get((path, rule), 0)
        if value > limit:
            worst[path, rule] = max(worst.get((path, rule), 0), value)
        if value > max(limit, known):
            yield Finding(path, line, rule, f"{what} measures {value}, limit {max(limit, known)}")
    for (path, rule), allowed in ratchet.items():
        now = worst.get((path, rule), 0)
        if now < allowed:
            yield Finding(LIMITS, 1, "ratchet", f"{path} {rule} is {now} now: lower its row from {allowed} or remove it")
