#!/usr/bin/python3
"""Measures the engine's figures on this machine, each beside its limit of the same run, and prints a Markdown table.

  perf/load/figures.py [--seconds S] [--only NAME ...]      (needs build/release)

Every row names its durability. The server is started from scratch for each group of rows; it shares the machine's CPUs with the generator."""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "tests", "system"))
from server import Server, binary  # noqa: E402

from confluent_kafka.admin import AdminClient, NewTopic  # noqa: E402

sys.path.insert(0, os.path.join(ROOT, "perf", "compare"))
import probes  # noqa: E402

LOAD = os.path.join(os.path.dirname(binary()), "perf", "load", "eagre-load")  # fetches, and loads beside them; all else is eagre-bench's
BENCH = os.path.join(os.path.dirname(binary()), "perf", "load", "eagre-bench")
rows = []


def row(what, figure, beside, verdict):
    rows.append((what, figure, beside, verdict))
    print(f"{what}: {figure} ({beside}) {verdict}", flush=True)


def create(server, name, partitions, **config):
    client = AdminClient({"bootstrap.servers": server.address})  # kept: a client that is collected fails its futures
    client.create_topics([NewTopic(name, partitions, 1, config=config)])[name].result(60)


def load(server, topic, *words, seconds, mode="produce", warmup=1):
    command = [LOAD, "--port", str(server.kafka_port), "--topic", topic, "--mode", mode, "--seconds", str(seconds), "--warmup", str(warmup),
               "--server-pid", str(server.process.pid), "--probe-dir", server.data, "--json", *map(str, words)]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=seconds + 60)
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(command)}: {done.stderr.decode()}{done.stdout.decode()}")
    return json.loads(done.stdout)


def bench(server, prefix, seconds, **settings):
    """A closed loop of eagre-bench on a topic of its own: its run."""
    settings = {"record_bytes": 100, "warmup_seconds": 1, "seconds": seconds, **settings}
    with tempfile.NamedTemporaryFile("w", suffix=".yaml", prefix="eagre-figures-") as file:
        file.write("".join(f"{key}: {value}\n" for key, value in settings.items()))
        file.flush()
        command = [BENCH, "--workload", file.name, "--driver", "kafka-raw", "--address", server.address, "--topic-prefix", prefix, "--json", "-",
                   "--server-pid", str(server.process.pid)]
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=seconds + 120, check=False)
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(command)}: {done.stderr.decode()}")
    return json.loads(done.stdout)["runs"][0]


def verdict(ok):
    return "reached" if ok else "NOT reached"


def throughput(seconds):
    for batch, in_flight, target, large in ((1000, 8, 8.5e6, False), (100, 16, 5e6, True), (1, 64, 260e3, False)):
        server = Server(small_journal=False).start()
        try:
            got = bench(server, "load", seconds, partitions=4, producers=4, in_flight=in_flight, batch_records=batch)
            latency, cpu_us = got["latency"], {side: got[side]["cpu_s"] / got["batches"] * 1e6 for side in ("client", "server")}
            row(f"{batch}-record batches, 4 x {in_flight} in flight, device", f"{got['records_per_s'] / 1e6:.2f} M records/s, {got['mb_per_s']:.0f} MB/s",
                f"p50 {latency['p50_us']:.0f} us, p99 {latency['p99_us']:.0f} us; target {target / 1e6:.2f} M/s", verdict(got["records_per_s"] >= target))
            row(f"  server CPU per {batch}-record batch, TCP included", f"{cpu_us['server']:.1f} us",
                f"generator {cpu_us['client']:.1f} us; server used {got['server']['cores']:.2f} cores",
                verdict(cpu_us["server"] <= 16) + " (16 us)" if large else "")
        finally:
            server.close()


def latency(seconds):
    server = Server(small_journal=False).start()
    try:
        got = bench(server, "one", seconds, partitions=1, producers=1, in_flight=1, batch_records=1)["latency"]
        device = {share: probes.row(f"device_synced_{share}_us", server.directory) for share in ("p50", "p99")}
        ratio = got["p50_us"] / device["p50"]
        row("one 100-byte record in flight, device, p50", f"{got['p50_us']:.0f} us (p99 {got['p99_us']:.0f})",
            f"raw 4 KiB O_DSYNC write p50 {device['p50']:.0f} us, p99 {device['p99']:.0f}: {ratio:.2f}x", verdict(ratio <= 1.5) + " (1.5x)")
    finally:
        server.close()


def many_partitions(seconds):
    """The same number of requests under way, over 1 and over 64 partitions: what a commit costs must not depend on it."""
    medians = {}
    server = Server(small_journal=False).start()
    try:
        for count in (1, 64):
            runs = [bench(server, f"p{count}", seconds, partitions=count, producers=64, in_flight=1, batch_records=1)["latency"]["p50_us"]
                    for _ in range(3)]
            medians[count] = statistics.median(runs)
        ratio = medians[64] / medians[1]
        row("commit latency, 64 connections: 64 partitions beside 1, device, p50", f"{medians[64]:.0f} us",
            f"1 partition {medians[1]:.0f} us: {ratio:.2f}x", verdict(ratio <= 1.3) + " (1.3x)")
    finally:
        server.close()


def rss_kib(server):
    with open(f"/proc/{server.process.pid}/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmRSS"))


def ticks(server):
    with open(f"/proc/{server.process.pid}/stat") as stat:
        fields = stat.read().rsplit(")", 1)[1].split()
    return int(fields[11]) + int(fields[12])


def idle(_seconds):
    server = Server(small_journal=False).start()
    try:
        time.sleep(2)
        empty = rss_kib(server)
        before = ticks(server)
        time.sleep(10)
        used = ticks(server) - before
        row("idle for 10 s, default mode", f"{used} clock ticks", "1 tick = 10 ms", verdict(used <= 1) + " (1)")
        row("RSS after start, no topics", f"{empty / 1024:.1f} MiB", "VmRSS", verdict(empty <= 64 * 1024) + " (64 MiB)")
        create(server, "wide", 1000)
        time.sleep(2)
        each = (rss_kib(server) - empty) / 1000
        row("RSS per idle partition (1,000)", f"{each:.1f} KiB", "VmRSS", verdict(each <= 8) + " (8 KiB)")
    finally:
        server.close()


def restart(_seconds):
    server = Server(small_journal=False).start()
    try:
        written = bench(server, "wide", 300, partitions=1000, producers=8, in_flight=16, batch_records=100, warmup_seconds=0,
                        records=(1 << 30) // 100)["bytes"]
        server.kill()
        begin = time.monotonic()
        server.start()
        took = time.monotonic() - begin
        row("restart after kill -9: 1,000 partitions, 1 GiB written", f"{took:.2f} s to ready",
            f"{written / 2**30:.1f} GiB acknowledged before", verdict(took < 2) + " (2 s)")
    finally:
        server.close()


def catch_up(_seconds):
    """A reader from offset 0 while everything still stands in the tail cache; then one far behind beside a producer at half load."""
    server = Server(small_journal=False).start()
    try:
        create(server, "tail", 1)
        load(server, "tail", "--connections", 1, "--in-flight", 4, "--batch", 1000, "--rate", 1000, seconds=1.5, warmup=0)
        got = load(server, "tail", "--connections", 1, seconds=5, mode="fetch", warmup=0)
        row("catch-up fetch of the tail, one connection", f"{got['mb_per_s'] / 1e3:.2f} GB/s",
            f"server {got['server_cpu_share']:.2f} cores, p50 of a 1 MiB fetch {got['p50_us']:.0f} us", verdict(got["mb_per_s"] >= 1000) + " (1 GB/s)")
    finally:
        server.close()


def slow_reader(seconds):
    """Producer at half of its own rate, without and with one reader that starts at offset 0 of a log larger than the cache."""
    server = Server(small_journal=False).start()
    try:
        create(server, "busy", 4, **{"retention.ms": "-1"})  # the generator stamps records with 2023
        full = load(server, "busy", "--partitions", 4, "--connections", 4, "--in-flight", 8, "--batch", 1000, seconds=seconds)
        rate = full["requests_per_s"] / 2
        words = ("--partitions", 4, "--connections", 4, "--batch", 1000, "--rate", int(rate))
        alone = load(server, "busy", *words, seconds=seconds)
        reader = subprocess.Popen([LOAD, "--port", str(server.kafka_port), "--topic", "busy", "--mode", "fetch", "--connections", "1", "--seconds", str(seconds + 1),
                                   "--warmup", "0", "--json"], stdout=subprocess.PIPE)
        beside = load(server, "busy", *words, seconds=seconds)
        read = json.loads(reader.communicate(timeout=60)[0])
        loss = 1 - beside["requests_per_s"] / alone["requests_per_s"]
        row("producer at half load, one reader far behind: loss of throughput", f"{100 * loss:.1f} %",
            f"reader {read['mb_per_s']:.0f} MB/s from disk; p99 {alone['p99_us']:.0f} -> {beside['p99_us']:.0f} us", verdict(loss <= 0.05) + " (5 %)")
    finally:
        server.close()


GROUPS = {"throughput": throughput, "latency": latency, "partitions": many_partitions, "idle": idle, "restart": restart, "catch-up": catch_up, "slow-reader": slow_reader}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--only", nargs="*", default=list(GROUPS))
    arguments = parser.parse_args()
    for name in arguments.only:
        GROUPS[name](arguments.seconds)
    print("\n| what | figure | beside | target |\n|---|---|---|---|")
    for cells in rows:
        print("| " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
