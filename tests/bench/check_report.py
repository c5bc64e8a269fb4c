"""What perf/compare and perf/report make of figures, with made-up result sets and the real program's rows.

Goal: a regression beyond noise fails and noise does not, a ladder counts its last good step, what is absent stays listed, probes read the
rows that eagre-micro prints. Method: result sets of a few known figures, in a temporary directory."""

import json
import os
import subprocess
import sys
import tempfile
from xml.dom import minidom

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "system"))

from server import ROOT, Suite, binary  # noqa: E402

for folder in ("compare", "report"):
    sys.path.insert(0, os.path.join(ROOT, "perf", folder))
import flame  # noqa: E402
import peers  # noqa: E402
import probes  # noqa: E402
from results import ResultSet, compare  # noqa: E402

REPORT = os.path.join(ROOT, "perf", "report", "report.py")
suite = Suite("report")


def check(good, text):
    if not good:
        raise AssertionError(text)


def latency(p50):
    return {"count": 100, "p50_us": p50, "p90_us": p50 * 1.5, "p99_us": p50 * 2, "p999_us": p50 * 3, "p9999_us": p50 * 4, "max_us": p50 * 5,
            "precision": 1 / 32, "curve_us": [[0.5, p50], [0.99, p50 * 2]]}


def step(rate, p50=100, loop="closed", asked=0):
    usage = {"cpu_s": 1, "cores": 0.5, "cpu_s_per_million": 2.0, "rss_bytes": 1 << 20, "context_switches": 5, "written_bytes": 200}
    return {"loop": loop, "rate": asked, "seconds": 1, "records": rate, "batches": 1, "bytes": 100 * rate, "records_per_s": rate,
            "mb_per_s": rate / 1e4, "failed": 0, "failed_warm": 0, "late_batches": 0, "latency": latency(p50), "end_to_end": None, "client": usage,
            "server": usage, "write_amplification": 2.0, "stolen_s": 0.0, "verify": {"received": 0, "lost": 0, "duplicates": 0, "foreign": 0}}


def result(*steps, label="Eagre", status=0):
    return {"workload": {"name": "w", "partitions": 4}, "driver": "kafka-raw", "label": "a driver", "command": "eagre-bench", "exit": status,
            "peer": {"name": label.split(" (")[0], "mode": "", "label": label, "version": "1", "config": "c", "durability_class": "device: x"},
            "runs": list(steps)}


def write(directory, name, *results, absent=None, limits=None):
    path = os.path.join(directory, name)
    os.makedirs(path)
    with open(os.path.join(path, "set.json"), "w", encoding="utf-8") as file:
        json.dump({"format": 1, "machine": {"cores": 2}, "limits": limits or {}, "absent": absent or {}, "results": list(results)}, file)
    return path


def report(*words):
    done = subprocess.run([sys.executable, "-B", REPORT, *words], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=120, check=False)
    return done.returncode, done.stdout.decode()


def medians_and_spread_are_of_all_rounds(directory):
    row = ResultSet(write(directory, "rounds", *[result(step(rate)) for rate in (90, 100, 130)])).rows[0]
    check(row.median("records_per_s") == 100, f"{row.median('records_per_s')}")
    check(abs(row.spread("records_per_s") - 0.2) < 1e-9, f"{row.spread('records_per_s')}")


def a_ladder_counts_its_last_good_step(directory):
    steps = [step(rate, loop="open", asked=rate) for rate in (100, 150, 160)]
    row = ResultSet(write(directory, "ladder", result(*steps))).rows[0]
    check(row.is_ladder and row.is_open and row.median("records_per_s") == 150, f"{row.median('records_per_s')}")
    check([one[0] for one in row.steps()] == [100, 150, 160], f"{row.steps()}")


def noise_is_no_regression(directory):
    before = ResultSet(write(directory, "noisy0", *[result(step(rate)) for rate in (80, 100, 120)]))
    after = ResultSet(write(directory, "noisy1", *[result(step(rate)) for rate in (70, 75, 80)]))
    line = next(line for line in compare(before, after) if line[2] == "records/s")
    check(not line[7] and abs(line[6] - 0.4) < 1e-9, f"{line}")


def what_is_worse_beyond_noise_fails(directory):
    before = write(directory, "calm0", *[result(step(rate)) for rate in (99, 100, 101)])
    slower = write(directory, "calm1", *[result(step(rate)) for rate in (79, 80, 81)])
    later = write(directory, "calm2", *[result(step(rate, p50=150)) for rate in (99, 100, 101)])
    check(report(before, "--before", before)[0] == 0, "a set beside itself")
    for worse in (slower, later):
        status, said = report(worse, "--before", before)
        check(status == 1 and "REGRESSION" in said, f"exit {status}: {said}")
    check(report(before, "--before", slower)[0] == 0, "faster is no regression")


def sets_without_a_common_row_fail(directory):
    first = write(directory, "alone0", result(step(100)))
    check(report(write(directory, "alone1", result(step(100), label="Other")), "--before", first)[0] == 1, "nothing was compared")


def a_page_stands_alone_and_tells_all(directory):
    limits = {"stream_mb_per_s": {"value": 1000.0, "unit": "MB/s", "command": "eagre-micro"}}
    path = write(directory, "page", result(step(10000)), result(step(5000), label="Other <b>", status=1), absent={"Third": "is not installed"},
                 limits=limits)
    status, said = report(path)
    check(status == 0, said)
    with open(os.path.join(path, "report.html"), encoding="utf-8") as file:
        page = file.read()
    with open(os.path.join(path, "table.md"), encoding="utf-8") as file:
        table = file.read()
    check("Third: is not installed" in page and "Absent: Third" in table, "what is absent")
    check("2.0x Other" in page and "(with errors)" in table, "ratios, and who failed")
    check("Other <b>" not in page and "src=\"http" not in page and "href=" not in page, "escaped and self-contained")
    check("0.1% of the bytes" in page, "the share of the limit")


def curves_are_drawn_and_what_failed_is_told(directory):
    path = write(directory, "curves")
    with open(os.path.join(path, "set.json"), encoding="utf-8") as file:
        document = json.load(file)
    plotted = [["records_per_s", "records/s"], ["p99_us", "p99 us"]]
    document["scaling"] = {"partitions": {"axis": "partitions", "plotted": plotted, "failed": [{"x": 64, "why": "too <many>"}],
                                          "points": [{"x": x, "records_per_s": 1000 * x, "p99_us": 50} for x in (1, 4)]},
                           "empty": {"axis": "nothing", "plotted": plotted, "failed": [], "points": []}}
    with open(os.path.join(path, "set.json"), "w", encoding="utf-8") as file:
        json.dump(document, file)
    status, said = report(path)
    check(status == 0, said)
    with open(os.path.join(path, "report.html"), encoding="utf-8") as file:
        page = file.read()
    check("scaling-partitions.png" in page and "4,000" in page and "64: too &lt;many&gt;" in page, "curve, table and failure")


def an_unknown_format_is_refused(directory):
    path = os.path.join(directory, "set9.json")
    with open(path, "w", encoding="utf-8") as file:
        json.dump({"format": 9}, file)
    status, said = report(path)
    check(status == 1 and "format 9" in said, f"{status}: {said}")


def rows_of_probes_are_read():
    line = f"{'UDP loopback, 1400 bytes, GSO':<58}{1.25:10.2f} M/s   one at a time {0.31:8.2f}    4.0x"
    check(probes.figures(line) == (1.25, 0.31), f"{probes.figures(line)}")
    check(probes.figures(" " * 58 + "none") == (None, None), "no figure")
    program = os.path.join(os.path.dirname(binary()), "perf", "micro", "eagre-micro")
    if not os.access(program, os.X_OK):
        raise AssertionError(f"{program} is not built")
    with tempfile.TemporaryDirectory(prefix="eagre-probe-") as place:
        lines = probes.micro("ring", place)
    for name, (case, begin, _, _) in probes.ROWS.items():
        if case == "ring":
            check(probes.pick(lines, name), f"{name}: no row begins with '{begin}'")


def peers_are_all_labelled():
    labels = {f"{kind.name} {kind.mode}".strip() for kind in peers.ALL}
    check(len(labels) == len(peers.ALL), f"{labels}")
    for kind in peers.ALL:
        check(":" in kind.durability, f"{kind.__name__} says what its acknowledgement means")


def a_flame_graph_is_made_of_stacks():
    stacks = flame.fold(["eagre 1 1.0: 1 cpu-clock:", "\tff leaf+0x1 (eagre)", "\tfe main+0x2 (eagre)", "", "eagre 1 1.1: 1 cpu-clock:",
                         "\tff other<T> (eagre)", "\tfe main+0x9 (eagre)", ""])
    check(stacks == {("eagre", "main", "leaf"): 1, ("eagre", "main", "other<T>"): 1}, f"{stacks}")
    document = minidom.parseString(flame.svg(stacks, "title & more"))
    texts = [node.firstChild.data for node in document.getElementsByTagName("title")]
    check(any(text.startswith("main: 2 samples, 100.0 %") for text in texts) and any("other<T>: 1 samples, 50.0 %" in text for text in texts), f"{texts}")
    widths = {round(float(node.getAttribute("width"))) for node in document.getElementsByTagName("rect")}
    check(len(widths) >= 2, f"{widths}")


def main():
    with tempfile.TemporaryDirectory(prefix="eagre-report-") as directory:
        for test in (medians_and_spread_are_of_all_rounds, a_ladder_counts_its_last_good_step, noise_is_no_regression,
                     what_is_worse_beyond_noise_fails, sets_without_a_common_row_fail, a_page_stands_alone_and_tells_all,
                     curves_are_drawn_and_what_failed_is_told, an_unknown_format_is_refused):
            suite.run(test.__name__.replace("_", " "), test, directory)
    for test in (rows_of_probes_are_read, peers_are_all_labelled, a_flame_graph_is_made_of_stacks):
        suite.run(test.__name__.replace("_", " "), test)
    return suite.finish()


if __name__ == "__main__":
    sys.exit(main())
