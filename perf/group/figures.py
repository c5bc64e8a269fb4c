#!/usr/bin/python3
"""Measures what consumer groups cost on this machine and prints a Markdown table.

  perf/group/figures.py [--seconds S] [--runs N]      (needs build/release)

Heartbeats stand beside a process that does nothing but answer them, commits beside the raw device, both of the same run."""

import argparse
import json
import os
import statistics
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "tests", "system"))
from server import Server, binary  # noqa: E402

from confluent_kafka.admin import AdminClient, NewTopic  # noqa: E402

LOAD = os.path.join(os.path.dirname(binary()), "perf", "group", "eagre-group-load")


def load(*words, timeout=240):
    done = subprocess.run([LOAD, "--json", *map(str, words)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=timeout)
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(map(str, words))}: {done.stderr.decode()}{done.stdout.decode()}")
    return [json.loads(line) for line in done.stdout.decode().splitlines()]


def median(rows, key):
    return statistics.median(row[key] for row in rows)


def span(rows, key, scale=1.0, digits=1):
    values = [row[key] * scale for row in rows]
    return f"{statistics.median(values):.{digits}f} ({min(values):.{digits}f}-{max(values):.{digits}f})"


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=int, default=10)
    parser.add_argument("--runs", type=int, default=3)
    options = parser.parse_args()
    server = Server("--group.initial.rebalance.delay.ms", "500", small_journal=False).start()
    try:
        client = AdminClient({"bootstrap.servers": server.address})
        client.create_topics([NewTopic("load", 16, 1)])["load"].result(60)
        common = ["--port", server.kafka_port, "--server-pid", server.process.pid, "--seconds", options.seconds]
        beats, floors, commits = [], [], []
        for _ in range(options.runs):
            beats += load("--mode", "heartbeat", "--connections", 1000, *common)
            floors += load("--mode", "floor", "--connections", 1000, "--seconds", options.seconds)
            commits += load("--mode", "commit", "--connections", 16, "--in-flight", 64, "--groups", 16, "--partitions", 16, *common)
        transactions = []
        for _ in range(options.runs):
            transactions += load("--mode", "transaction", "--connections", 64, "--partitions", 16, *common)
        rebalances = load("--mode", "rebalance", "--members", 100, "--interval-ms", 100, "--rounds", 5, *common)
    finally:
        server.close()
    print("| what | figure, median (least-most) | beside, same run | target |")
    print("|---|---|---|---|")
    print(f"| 1,000 groups x 10 members, a heartbeat each 3 s on 1,000 connections: {median(beats, 'heartbeats_per_s'):.0f}/s, share of one core "
          f"| {span(beats, 'server_cores', 100)} % | a process that only answers them: {span(floors, 'server_cores', 100)} % | 5 % |")
    print(f"| offset commits, one partition each, 16 connections x 64 in flight, durable | {span(commits, 'commits_per_s', 1e-3)} k/s, "
          f"p50 {median(commits, 'p50_us'):.0f} us | server {span(commits, 'server_cores', 1, 2)} cores | 50 k/s |")
    print(f"| transactions of one record (AddPartitionsToTxn, Produce, EndTxn), 64 transactional ids, one request each under way, durable "
          f"| {span(transactions, 'commits_per_s', 1e-3)} k/s, p50 {median(transactions, 'p50_us'):.0f} us | server {span(transactions, 'server_cores', 1, 2)} cores "
          f"| 5 k/s |")
    print(f"| rebalance of 100 members, one more comes; heartbeats each 100 ms: from the last Join to the last assignment "
          f"| {span(rebalances, 'beyond_ms', 1, 2)} ms | from the first Join {span(rebalances, 'whole_ms', 1, 1)} ms | 1,000 ms |")


if __name__ == "__main__":
    main()
