"""Includes and CMake DEPS point strictly down the ranks of layers.txt; net/ and log/ meet only in engine/broker."""

import re

from tree import Finding

LAYERS = "tests/tidy/layers.txt"
MEETING = "engine/broker"
INCLUDE = re.compile(r'^\s*#\s*include\s+"([^"]+)"', re.M)
DEPS = re.compile(r"add_module\(\s*(\S+).*?\bDEPS\b((?:\s+[a-z_]+/[a-z_]+)+)", re.S)


def _folder(path, ranks):
    parts = path.split("/")
    name = "/".join(parts[:2])
    return name if name in ranks else None


def _edges(tree, ranks):
    """(from folder, to folder or None, path, line, what was written) for every include and DEPS entry."""
    for path in tree.files:
        source = _folder(path, ranks)
        if path.endswith((".c", ".h", ".def")):
            for match in INCLUDE.finditer(tree.text(path)):
                line = tree.text(path).count("\n", 0, match.start(1)) + 1
                yield source, _folder(match.group(1), ranks), path, line, match.group(1)
        elif path.endswith("CMakeLists.txt") and source is not None:
            for module, deps in DEPS.findall(tree.text(path)):
                for dep in deps.split():
                    yield _folder(module, ranks), _folder(dep, ranks), path, 1, dep


def check(tree):
    ranks = {folder: rank for rank, row in enumerate(tree.table(LAYERS)) for folder in row.split()}
    reach = {folder: set() for folder in ranks}

    for path in tree.sources():
        parts = path.split("/")
        if parts[0] in ("engine", "hw", "log", "net") and _folder(path, ranks) is None:
            yield Finding(path, 1, "layers", f"folder {'/'.join(parts[:2])} has no rank in {LAYERS}")
    for source, target, path, line, written in _edges(tree, ranks):
        if source is None:
            continue
        if target is None:
            if not written.startswith("eagre/"):
                yield Finding(path, line, "layers", f'"{written}" names no ranked folder; write the path from the root')
            continue
        if target == source:
            continue
        if ranks[target] >= ranks[source]:
            way = "sideways" if ranks[target] == ranks[source] else "upward"
            yield Finding(path, line, "layers", f"{way}: {source} may not use {target}; see {LAYERS}")
            continue
        reach[source].add((target, path, line))
    yield from _check_meeting(ranks, reach)


def _check_meeting(ranks, reach):
    """Nothing below engine/broker may reach both sides, however many folders lie between."""
    sides = {}
    for folder in sorted(ranks, key=ranks.get):
        top = folder.split("/")[0]
        sides[folder] = {top} if top in ("net", "log") else set()
        for target, path, line in sorted(reach[folder]):
            gained = sides[target] - sides[folder]
            both = len(sides[folder] | gained) > 1
            if gained and both and ranks[folder] < ranks.get(MEETING, 0):
                yield Finding(path, line, "layers",
                              f"{folder} would join net/ and log/ through {target}; only {MEETING} and above may")
            sides[folder] |= gained
