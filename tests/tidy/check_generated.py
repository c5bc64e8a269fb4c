"""Checked-in files that a program writes are what it writes today.

Each program needs few sources and no library, so it is compiled here in a blink.
"""

import os
import subprocess
import tempfile

from tree import Finding

CONFIG = ("engine/config/config_docs.c", "engine/config/settings.c", "engine/config/parse.c", "engine/base/diag.c")
METRICS = ("engine/metrics/metrics_docs.c",)
# program sources, argument, file it must reproduce
GENERATED = (
    (CONFIG, "yaml", "deploy/config/eagre.yaml"),
    (CONFIG, "table", "engine/config/SETTINGS.md"),
    (METRICS, "table", "engine/metrics/METRICS.md"),
)


def outputs(root, sources, argument, folder):
    program = os.path.join(folder, os.path.basename(sources[0])[:-2])
    present = [os.path.join(root, source) for source in sources if os.path.exists(os.path.join(root, source))]
    if not os.path.exists(program):
        subprocess.run(["cc", "-std=gnu17", "-w", "-D_GNU_SOURCE", "-I", root, "-o", program, *present], check=True)
    return subprocess.run([program, argument], capture_output=True, text=True, check=True).stdout


def check(tree):
    with tempfile.TemporaryDirectory(prefix="eagre-tidy-") as folder:
        for sources, argument, target in GENERATED:
            if sources[0] not in tree.files:
                continue
            wanted = outputs(tree.root, sources, argument, folder)
            if target not in tree.files or tree.text(target) != wanted:
                yield Finding(target, 1, "generated", "is out of date; run: cmake --build --preset dev -t docs")
