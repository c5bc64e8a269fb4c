"""eagre-bench against a real server, through a proxy that spoils records, and against a server that stands still.

Goal: loss, repetition and disorder make a run fail, a stall is seen by all records that were due meanwhile, and a wrong workload is refused
by its file and line. Method: the proxy does to one request what a broken broker would (proxy.py); SIGSTOP makes the stall."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "system"))
sys.path.insert(0, HERE)

from proxy import Proxy  # noqa: E402
from server import Server, Suite, binary  # noqa: E402

BENCH = os.path.join(os.environ.get("EAGRE_BUILD", os.path.dirname(binary())), "perf", "load", "eagre-bench")
WORKLOAD = "partitions: 1\nproducers: 1\nconsumers: 1\nrecord_bytes: 100\nbatch_records: 10\nlinger_ms: 50\nin_flight: 16\n"
STALL_SECONDS = 0.2
suite = Suite("bench")
prefixes = iter(range(1000))


def check(good, text):
    if not good:
        raise AssertionError(text)


def command(directory, port, text, *settings):
    path = os.path.join(directory, "workload.yaml")
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)
    words = [BENCH, "--workload", path, "--driver", "kafka-raw", "--address", f"127.0.0.1:{port}", "--topic-prefix", f"check{next(prefixes)}",
             "--json", "-"]
    for setting in settings:
        words += ["--set", setting]
    return words


def run(port, *settings, text=WORKLOAD):
    """(exit, result or None, what it said)"""
    with tempfile.TemporaryDirectory(prefix="eagre-bench-") as directory:
        done = subprocess.run(command(directory, port, text, *settings), stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=90, check=False)
    return done.returncode, json.loads(done.stdout) if done.stdout else None, done.stderr.decode()


def spoiled(server, mode):
    """(exit, verification) of a short open loop through the proxy."""
    proxy = Proxy(server.kafka_port, mode)
    try:
        status, result, said = run(proxy.port, "rate=2000", "warmup_seconds=0.1", "seconds=0.9")
    finally:
        proxy.close()
    check(result is not None, f"no result: {said}")
    return status, result["runs"][0]["verify"]


def finds_nothing_where_nothing_is_wrong(server):
    status, verify = spoiled(server, None)
    check(status == 0, f"exit {status}")
    check(verify["lost"] == verify["duplicates"] == verify["foreign"] == 0 and verify["received"] > 500, f"{verify}")


def finds_loss(server):
    status, verify = spoiled(server, "lose")
    check(verify["lost"] == 10 and verify["duplicates"] == 0, f"{verify}")
    check(status == 1, f"exit {status}")


def finds_repetition(server):
    status, verify = spoiled(server, "repeat")
    check(verify["duplicates"] == 10 and verify["lost"] == 0, f"{verify}")
    check(status == 1, f"exit {status}")


def finds_disorder(server):
    status, verify = spoiled(server, "swap")
    check(verify["lost"] == 10 and verify["duplicates"] == 10, f"{verify}")  # skipped over, then come too late
    check(status == 1, f"exit {status}")


def stalled(server, *settings):
    """The run during which the server stood still once."""
    with tempfile.TemporaryDirectory(prefix="eagre-bench-") as directory:
        bench = subprocess.Popen(command(directory, server.kafka_port, WORKLOAD, "warmup_seconds=0.2", "seconds=1.8", *settings),
                                 stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        try:
            time.sleep(1)
            server.process.send_signal(signal.SIGSTOP)
            time.sleep(STALL_SECONDS)
            server.process.send_signal(signal.SIGCONT)
            output, _ = bench.communicate(timeout=60)
        finally:
            server.process.send_signal(signal.SIGCONT)
            bench.kill()
            bench.wait(timeout=10)
    return json.loads(output)["runs"][0]


def an_open_loop_sees_a_stall(server):
    result = stalled(server, "rate=2000", "in_flight=2")
    latency = result["latency"]
    check(result["loop"] == "open", result["loop"])
    # 200 ms of 1.8 s: one record of nine was due meanwhile, evenly over the stall. Counted from the send it would be one of a hundred:
    # only 30 records could be made before the answers failed to come.
    p95_us = next(us for share, us in latency["curve_us"] if share == 0.95)
    check(latency["max_us"] >= 150e3 and latency["p999_us"] >= 150e3 and p95_us >= 60e3, f"{latency}")


def a_closed_loop_says_so(server):
    result = stalled(server, "rate=0", "in_flight=1")
    check(result["loop"] == "closed", result["loop"])
    check(result["latency"]["max_us"] >= 150e3, f"{result['latency']}")


def refuses_wrong_workloads():
    for text, words in (("partitions: 0\n", "partitions"), ("partitons: 4\n", "no such key"), ("sizes: round\n", "sizes"), ("- 1\n", "mapping"),
                        ("record_bytes: 1.5\n", "record_bytes"), ("producers: 0\nconsumers: 0\n", "nothing to do"), ("partitions: [1]\n", "scalars")):
        status, result, said = run(1, text=text)
        check(status == 2 and result is None and words in said, f"{text!r}: exit {status}: {said}")
    check("workload.yaml:2" in run(1, text="partitions: 1\nnothing: 1\n")[2], "file and line")


def fails_without_a_broker():
    status, _, said = run(1)
    check(status == 1 and said, f"exit {status}: {said}")


def main():
    if not os.access(BENCH, os.X_OK):
        raise SystemExit(f"{BENCH} is not built")
    suite.run("refuses wrong workloads", refuses_wrong_workloads)
    suite.run("fails without a broker", fails_without_a_broker)
    server = Server().start()
    try:
        for test in (finds_nothing_where_nothing_is_wrong, finds_loss, finds_repetition, finds_disorder, an_open_loop_sees_a_stall,
                     a_closed_loop_says_so):
            suite.run(test.__name__.replace("_", " "), test, server)
    finally:
        server.close()
    return suite.finish()


if __name__ == "__main__":
    sys.exit(main())
