"""Every Criterion test has a timeout, and is in a file that some CMakeLists.txt builds."""

import os
import re

from tree import Finding, line_of

SUITE = re.compile(r"^TestSuite\(\s*(\w+)(.*?)\);", re.M | re.S)


def check(tree):
    for path in tree.sources(".c"):
        if not path.startswith("tests/unit/"):
            continue
        code = tree.code(path)
        timed = {match.group(1) for match in SUITE.finditer(code) if ".timeout" in match.group(2)}
        for match in re.finditer(r"^Test\(\s*(\w+)", code, re.M):
            head = code[match.start():code.find("\n{", match.start())]
            if ".timeout" not in head and match.group(1) not in timed:
                yield Finding(path, line_of(code, match.start()), "timeout", "a test without .timeout can hang the gate")
        build = os.path.dirname(path) + "/CMakeLists.txt"
        named = tree.text(build) if build in tree.files else ""
        if os.path.basename(path) not in named and "/*.c" not in named:
            yield Finding(path, 1, "unbuilt", f"not named in {build}, so it never runs")
