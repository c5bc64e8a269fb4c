#!/usr/bin/python3
"""Measures the native door on this machine through libeagre, each carrier beside the other, and prints a Markdown table.

  perf/load/native_figures.py [--seconds S] [--runs N] [--only NAME ...] [--json FILE]      (needs build/release, or $BUILD)

Server and generator share the machine's CPUs. Every row is the median of its runs, with the least and the greatest; durability, cipher,
carrier, CPU of both sides and the raw O_DSYNC write of the same run stand beside it. Carriers run in turn (A B A B), so that a slow minute
falls on both. On the dpdk carrier (virtio_user to vhost-user: there is no physical NIC) the server polls always."""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.path.join(ROOT, os.environ.get("BUILD", "build/release"))
os.environ.setdefault("EAGRE", os.path.join(BUILD, "eagre"))
sys.path.insert(0, os.path.join(ROOT, "tests", "system"))
from server import Server, free_port  # noqa: E402

LOAD = os.path.join(BUILD, "perf", "load", "eagre-native-load")

rows = []
kept = []


class NativeServer:
    """A server with the native door on sockets or on a vhost-user port, and the words that its client needs."""

    def __init__(self, carrier, auth, *flags):
        self.port = free_port()
        self.folder = tempfile.mkdtemp(prefix="eagre-native-")
        words = ["--native", f"127.0.0.1:{self.port}", "--native.auth", auth, *flags]
        self.client = ["--server", f"127.0.0.1:{self.port}"]
        if auth == "none":
            self.client.append("--plain")
        if carrier == "dpdk":
            path = os.path.join(self.folder, "nic0")
            words += ["--nic", f"dpdk:net_vhost0,iface={path}", "--nic-address", "10.9.0.1/24", "--poll", "always"]
            self.client += ["--dpdk", f"net_virtio_user0,path={path}", "--local", "10.9.0.2", "--data", "10.9.0.1"]
        self.server = Server(*words, small_journal=False).start()

    def load(self, topic, *words, seconds):
        command = [LOAD, *self.client, "--topic", topic, "--seconds", str(seconds), "--server-pid", str(self.server.process.pid),
                   "--probe-dir", self.server.data, "--json", *map(str, words)]
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=seconds + 60)
        if done.returncode != 0:
            raise SystemExit(f"{' '.join(command)}: {done.stderr.decode()}{done.stdout.decode()}")
        return json.loads(done.stdout)

    def create(self, topic, durability):
        subprocess.run([os.environ["EAGRE"], "topic", "create", topic, "--partitions", "4", "--durability", durability, "--config",
                        "retention.bytes=2147483648", "--server", self.server.address], check=True, stdout=subprocess.DEVNULL, timeout=30)

    def close(self):
        self.server.close()
        shutil.rmtree(self.folder, ignore_errors=True)



def spread(values, scale, form):
    return f"{form % (statistics.median(values) / scale)} ({form % (min(values) / scale)} .. {form % (max(values) / scale)})"


def row(what, figure, beside):
    rows.append((what, figure, beside))
    print(f"{what}: {figure}; {beside}", flush=True)


def in_turn(cases, arguments):
    """cases: {name: (carrier, auth, durability, words)}; runs them A B A B, each on a server of its own."""
    found = {name: [] for name in cases}
    for _ in range(arguments.runs):
        for name, (carrier, auth, durability, words) in cases.items():
            native = NativeServer(carrier, auth)
            try:
                native.create("load", durability)
                got = native.load("load", *words, seconds=arguments.seconds)
                found[name].append(got)
                kept.append({"case": name, **got})
            finally:
                native.close()
    return found


def throughput(arguments):
    cases = {}
    for size, words in (("packet-sized batches", ["--partitions", 4]),
                        ("batches of 256 KiB in fragments", ["--partitions", 4, "--batch-bytes", 262144, "--batch-count", 64])):
        for carrier in ("socket", "dpdk"):
            for auth in ("none", "aead"):
                cases[f"100-byte records, {size}, {carrier}, auth {auth}, device"] = (carrier, auth, "device", words)
    cases["100-byte records, packet-sized batches, dpdk, auth none, memory"] = ("dpdk", "none", "memory", ["--partitions", 4])
    for name, runs in in_turn(cases, arguments).items():
        server_cpu = statistics.median(r["server_cpu_s_per_million"] for r in runs)
        client_cpu = statistics.median(r["client_cpu_s_per_million"] for r in runs)
        row(name, spread([r["records_per_s"] for r in runs], 1e6, "%.2f") + " M records/s",
            f"CPU s per million: server {server_cpu:.3f}, client {client_cpu:.3f}; p99 {statistics.median(r['p99_us'] for r in runs):.0f} us; "
            f"raw O_DSYNC p50 {statistics.median(r['device_p50_us'] for r in runs):.0f} us")


def round_trip(arguments):
    cases = {}
    for carrier in ("socket", "dpdk"):
        for durability in ("memory", "device"):
            cases[f"one 100-byte record in flight, {carrier}, AEAD, {durability}"] = (carrier, "aead", durability, ["--one"])
    for name, runs in in_turn(cases, arguments).items():
        row(name, f"p50 {spread([r['p50_us'] for r in runs], 1, '%.0f')} us, p99 {spread([r['p99_us'] for r in runs], 1, '%.0f')} us",
            f"raw O_DSYNC p50 {statistics.median(r['device_p50_us'] for r in runs):.0f} us, p99 {statistics.median(r['device_p99_us'] for r in runs):.0f} us")


GROUPS = {"throughput": throughput, "round-trip": round_trip}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=3)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--only", nargs="*", default=list(GROUPS))
    parser.add_argument("--json")
    arguments = parser.parse_args()
    print(f"load average before: {os.getloadavg()[0]:.2f} of {os.cpu_count()} CPUs")
    for name in arguments.only:
        GROUPS[name](arguments)
    print("\n| what | figure: median (least .. greatest) | beside |\n|---|---|---|")
    for cells in rows:
        print("| " + " | ".join(cells) + " |")
    if arguments.json:
        with open(arguments.json, "w") as out:
            json.dump(kept, out, indent=1)


if __name__ == "__main__":
    main()
