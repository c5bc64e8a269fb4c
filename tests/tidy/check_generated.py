"""Checked-in files that a program writes are what it writes today.

Each program is one C file without dependencies beyond the tables it includes, so it is compiled here in a blink.
"""

import os
import subprocess
import tempfile

from tree import Finding

# program source, argument, file it must reproduce
GENERATED = (
    ("engine/config/config_docs.c", "yaml", "deploy/config/eagre.yaml"),
    ("engine/config/config_docs.c", "table", "engine/config/SETTINGS.md"),
    ("engine/metrics/metrics_docs.c", "table", "engine/metrics/METRICS.md"),
)


def outputs(root, source, argument, folder):
    program = os.path.join(folder, os.path.basename(source)[:-2])
    if not os.path.exists(program):
        subprocess.run(["cc", "-std=gnu17", "-w", "-I", root, "-o", program, os.path.join(root, source)], check=True)
    return subprocess.run([program, argument], capture_output=True, text=True, check=True).stdout


def check(tree):
    with tempfile.TemporaryDirectory(prefix="eagre-tidy-") as folder:
        for source, argument, target in GENERATED:
            if source not in tree.files:
                continue
            wanted = outputs(tree.root, source, argument, folder)
            if target not in tree.files or tree.text(target) != wanted:
                yield Finding(target, 1, "generated", "is out of date; run: cmake --build --preset dev -t docs")
