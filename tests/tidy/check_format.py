"""Every C file is laid out as .clang-format says."""

import os
import re
import subprocess

from tree import Finding

PARALLEL = 2


def check(tree):
    paths = tree.sources()
    if not paths or not os.path.exists(os.path.join(tree.root, ".clang-format")):
        return
    jobs = [
        subprocess.Popen(["clang-format", "--dry-run", "-Werror", "--ferror-limit=1", *paths[start::PARALLEL]],
                         cwd=tree.root, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        for start in range(PARALLEL) if paths[start::PARALLEL]
    ]
    for job in jobs:
        for path, line in re.findall(r"^([^:\n]+):(\d+):\d+: error:", job.communicate()[1], re.M):
            yield Finding(path, int(line), "format", "run: cmake --build --preset dev -t format")
