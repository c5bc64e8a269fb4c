#!/usr/bin/python3
"""How Eagre's figures change with what it has to do: one curve per quantity, everything else held.

  perf/scaling/scaling.py --out DIR [--quick] [--only CURVE ...] [--seconds S]      (needs build/release)

Each point has a fresh server on an empty directory, except along the size of the log, and a bound in time; a point that fails is written
down with its reason. perf/report/report.py DIR makes plots of DIR/set.json."""

import argparse
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "tests", "system"))
sys.path.insert(0, os.path.join(ROOT, "perf", "compare"))
import machine  # noqa: E402
from server import Server, binary  # noqa: E402

BENCH = os.path.join(os.path.dirname(binary()), "perf", "load", "eagre-bench")
POINT_SECONDS = 600  # no point takes longer
FILL_SECONDS = 500
BASE = {"partitions": 4, "producers": 4, "record_bytes": 100, "batch_records": 100, "in_flight": 16}
FILL_BATCH, FILL_IN_FLIGHT = 1000, 8
FILL_UNDER_WAY = FILL_BATCH * FILL_IN_FLIGHT * BASE["producers"]
BATCH_BYTES = 64 << 10  # batches of large records hold so much, one record at least
LARGEST_RECORD = (1 << 20) - 256  # max.message.bytes counts the batch's own bytes too


class PointFailed(Exception):
    """Why a point has no figure."""


def powers(first, last, factor):
    values = [first]
    while values[-1] < last:
        values.append(min(values[-1] * factor, last))
    return values


def started(*flags):
    return Server("--partitions_max", "8192", *flags, small_journal=False).start()


def bench(server, options, settings, prefix="scale"):
    """The run of eagre-bench against a server."""
    settings = {**BASE, "warmup_seconds": options.warmup, "seconds": options.seconds, **settings}
    with tempfile.NamedTemporaryFile("w", suffix=".yaml", prefix="eagre-scaling-") as file:
        file.write("".join(f"{key}: {value}\n" for key, value in settings.items()))
        file.flush()
        command = [BENCH, "--workload", file.name, "--driver", "kafka-raw", "--address", server.address, "--topic-prefix", prefix, "--json", "-",
                   "--server-pid", str(server.process.pid)]
        try:
            done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=POINT_SECONDS, check=False)
        except subprocess.TimeoutExpired as late:
            raise PointFailed(f"not done after {POINT_SECONDS} s") from late
    if done.returncode != 0:
        raise PointFailed(f"exit {done.returncode}: {done.stderr.decode()[-300:]}")
    return json.loads(done.stdout)["runs"][-1]


def figures(run):
    return {"records_per_s": run["records_per_s"], "mb_per_s": run["mb_per_s"], "p50_us": run["latency"]["p50_us"], "p99_us": run["latency"]["p99_us"],
            "server_cpu_s_per_million": run["server"]["cpu_s_per_million"], "rss_mib": run["server"]["rss_bytes"] / 2**20,
            "stolen_s": run["stolen_s"]}


def loaded(options, **settings):
    """A point: a fresh server under one load."""
    server = started()
    try:
        return figures(bench(server, options, settings))
    finally:
        server.close()


def partitions(options, count):
    return loaded(options, partitions=count)


def record_bytes(options, size):
    size = min(size, LARGEST_RECORD)
    batch = max(1, min(100, BATCH_BYTES // size))
    return loaded(options, record_bytes=size, batch_records=batch, in_flight=4 if size > BATCH_BYTES else 16)


def batch_records(options, count):
    return loaded(options, batch_records=count, record_bytes=64, in_flight=max(2, min(64, 16000 // count)))


def connections(options, count):
    return loaded(options, producers=count, in_flight=4)


def fill(server, options, records, prefix="scale"):
    """Appends so many records of 16 bytes, or what FILL_SECONDS allow: a log that stays smaller has no point."""
    run = bench(server, options, {"records": records, "record_bytes": 16, "batch_records": FILL_BATCH, "in_flight": FILL_IN_FLIGHT, "warmup_seconds": 0,
                                  "seconds": FILL_SECONDS}, prefix)
    if run["records"] + FILL_UNDER_WAY < records:  # the last batches come in while nothing is counted
        raise PointFailed(f"{run['records']} of {records} records in {FILL_SECONDS} s")
    return records


class LogRecords:
    """One server that is never emptied: the load is measured each time the log has grown to the next size."""

    def __init__(self):
        self.server, self.have = None, 0

    def __call__(self, options, count):
        if self.server is None:
            self.server = started()
        if count > self.have:
            self.have += fill(self.server, options, count - self.have)
        run = bench(self.server, options, {})
        self.have += run["records"]
        return figures(run)

    def close(self):
        if self.server is not None:
            self.server.close()


def data_bytes(server):
    """Of what was written; files that were only reserved count with what they hold."""
    return sum(os.stat(os.path.join(folder, name)).st_blocks * 512 for folder, _, names in os.walk(server.data) for name in names)


def ready_seconds(server):
    begin = time.monotonic()
    server.start()
    return time.monotonic() - begin


def restart(options, records):
    """From the start of the process to /readyz, after SIGTERM and after kill -9, with so many records of 16 bytes."""
    server = started()
    try:
        fill(server, options, records)
        server.kill()
        after_kill = ready_seconds(server)
        if server.stop() != 0:
            raise PointFailed("the stop was not clean")
        after_stop = ready_seconds(server)
        return {"after_kill_s": after_kill, "after_stop_s": after_stop, "data_mib": data_bytes(server) / 2**20}
    finally:
        server.close()


def rss_mib(server):
    with open(f"/proc/{server.process.pid}/status", encoding="utf-8") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmRSS")) / 1024


def rss_partitions(_options, count):
    """Idle, after they were made."""
    server = started()
    try:
        done = subprocess.run([binary(), "topic", "create", "wide", "--partitions", str(count), "--server", server.address], stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, timeout=POINT_SECONDS, check=False)
        if done.returncode != 0:
            raise PointFailed(done.stdout.decode()[-300:])
        time.sleep(1)
        return {"rss_mib": rss_mib(server)}
    finally:
        server.close()


def rss_connections(_options, count):
    """Idle, each after one request."""
    server = started()
    held = []
    try:
        for _ in range(count):
            held.append(socket.create_connection(("127.0.0.1", server.kafka_port), timeout=30))
            held[-1].sendall(b"\0\0\0\x0a\0\x12\0\0\0\0\0\1\xff\xff")  # ApiVersions, version 0
            if not held[-1].recv(1):
                raise PointFailed(f"connection {len(held)} was closed")
        time.sleep(1)
        return {"rss_mib": rss_mib(server)}
    finally:
        for one in held:
            one.close()
        server.close()


LOAD = [["records_per_s", "records/s"], ["p99_us", "p99 us"]]
RSS = [["rss_mib", "RSS, MiB"]]
# name: (what the axis counts, figures that are plotted, points, points of --quick, function)
CURVES = {
    "partitions": ("partitions, 100 B in batches of 100", LOAD, powers(1, 4096, 4), [1, 16, 256], partitions),
    "record-bytes": ("bytes of a record, batches of 64 KiB or 100 records", LOAD, powers(16, 1 << 20, 4), [16, 1024, 65536], record_bytes),
    "batch-records": ("records of a batch, 64 B each", LOAD, powers(1, 10000, 10), [1, 100, 10000], batch_records),
    "connections": ("connections, 4 batches of 100 in flight each", LOAD, powers(1, 64, 2), [1, 8, 64], connections),
    "log-records": ("records in the log before", LOAD, powers(10**6, 10**8, 10), [10**5, 10**6], LogRecords()),
    "restart": ("records in the log", [["after_kill_s", "s to ready after kill -9"], ["after_stop_s", "s to ready after SIGTERM"]],
                powers(10**6, 10**8, 10), [10**5, 10**6], restart),
    "rss-partitions": ("idle partitions", RSS, powers(1, 4096, 4), [1, 64, 1024], rss_partitions),
    "rss-connections": ("idle connections", RSS, powers(1, 4000, 4), [1, 64, 512], rss_connections),
}


def measure(name, options):
    axis, plotted, whole, quick, function = CURVES[name]
    points, failed = [], []
    for x in quick if options.quick else whole:
        try:
            point = {"x": x, **function(options, x)}
        except (PointFailed, AssertionError, OSError, subprocess.SubprocessError) as trouble:
            failed.append({"x": x, "why": str(trouble)[-500:]})
            print(f"{name} {x}: no figure: {trouble}", flush=True)
            continue
        points.append(point)
        print(f"{name} {x}: " + "  ".join(f"{label} {point[key]:,.4g}" for key, label in plotted), flush=True)
    if hasattr(function, "close"):
        function.close()
    return {"axis": axis, "plotted": plotted, "points": points, "failed": failed}


def save(options, curves):
    os.makedirs(options.out, exist_ok=True)
    path = os.path.join(options.out, "set.json")
    with open(path + ".new", "w", encoding="utf-8") as file:
        json.dump({"format": 1, "machine": options.facts, "limits": {}, "absent": {}, "results": [], "scaling": curves}, file, indent=1)
    os.replace(path + ".new", path)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--out", required=True)
    parser.add_argument("--quick", action="store_true", help="few points of one second: whether it works, not what is true")
    parser.add_argument("--only", nargs="+", choices=list(CURVES), default=list(CURVES))
    parser.add_argument("--seconds", type=float, help="of each point (default 5; quick: 1)")
    options = parser.parse_args()
    options.seconds = options.seconds or (1 if options.quick else 5)
    options.warmup = 0.5 if options.quick else 2
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # servers are closed on the way out
    options.facts = machine.facts(ROOT, tempfile.gettempdir())
    curves = {}
    for name in options.only:
        curves[name] = measure(name, options)
        save(options, curves)
    failed = sum(len(curve["failed"]) for curve in curves.values())
    print(f"{sum(len(curve['points']) for curve in curves.values())} points, {failed} without a figure, in {options.out}/set.json; "
          f"next: perf/report/report.py {options.out}")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
