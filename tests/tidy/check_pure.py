"""Pure folders (bytes in, structs out) include no header of the operating system, of clocks or of allocators."""

import re

from tree import Finding, line_of

PURE = ("engine/record", "net/frame", "net/wire", "net/kafka", "net/request", "log/format")
ALLOWED = ("errno.h", "inttypes.h", "limits.h", "stdalign.h", "stdatomic.h", "stdbool.h", "stddef.h", "stdint.h",
           "string.h", "xxhash.h", "nmmintrin.h", "immintrin.h")
# The one file that needs libraries, and says where it may run (engine/record/README.md, R5).
EXCUSED = ("engine/record/record_codec.c",)
INCLUDE = re.compile(r"^#include\s*<([^>]+)>", re.M)


def check(tree):
    for path in tree.sources():
        if "/".join(path.split("/")[:2]) not in PURE or path in EXCUSED:
            continue
        for match in INCLUDE.finditer(tree.text(path)):
            if match.group(1) not in ALLOWED:
                yield Finding(path, line_of(tree.text(path), match.start()), "pure",
                              f"<{match.group(1)}> in a pure folder: take what you need as an argument")
