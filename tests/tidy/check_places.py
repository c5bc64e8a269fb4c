"""The root holds only its fixed names, every folder has a README, and every C file says what it is.

Headers and test files begin with prose; include guards spell the path. A file of a folder is named in no special way:
the reviewer judges names, this only judges places.
"""

import re

from tree import CODE_FOLDERS, Finding

ROOT = {
    "CMakeLists.txt", "engine", "net", "log", "hw", "tests", "perf", "deploy", "README.md", "CMakePresets.json",
    "LICENSE", "CHANGELOG.md",
}
# Below these, folders mirror others or hold data.
NO_README = ("tests/unit/", "tests/golden/", "tests/fuzz/corpus/", "net/client/include", "deploy/config", "deploy/examples/")


def _guard(path):
    name = path.split("/include/")[-1] if "/include/" in path else path
    prefix = "" if name.startswith("eagre/") else "EAGRE_"
    return prefix + re.sub(r"\W", "_", name).upper()


def check(tree):
    tops = {path.split("/")[0] for path in tree.files}
    for name in sorted(tops):
        if name not in ROOT and not name.startswith("."):
            yield Finding(name, 1, "root", "is not one of the names that stand at the root")
    folders = {path.rsplit("/", 1)[0] for path in tree.files if "/" in path and not path.startswith(".")}
    for folder in sorted(folders):
        if f"{folder}/README.md" not in tree.files and not (folder + "/").startswith(NO_README):
            yield Finding(folder, 1, "readme", "folder without README.md")
    for path in tree.sources(".h"):
        if path.split("/")[0] not in CODE_FOLDERS:
            continue
        if not tree.text(path).startswith("/*"):
            yield Finding(path, 1, "prose", "a header begins with a comment that says what it is")
        if f"#ifndef {_guard(path)}\n#define {_guard(path)}\n" not in tree.text(path):
            yield Finding(path, 1, "guard", f"include guard is not {_guard(path)}")
    for path in tree.sources(".c"):
        if path.startswith("tests/unit/") and not tree.text(path).startswith("/*"):
            yield Finding(path, 1, "prose", "a test file begins with its goal and method")
