#!/usr/bin/python3
"""Measures brokers side by side on this machine and writes a result set for perf/report.

  perf/compare/compare.py --out DIR [--peers NAME ...] [--workloads FILE ...] [--rounds N] [--seconds S]     (needs build/release)
  perf/compare/compare.py --list

Peers take turns (A B C, A B C, ...), each started from scratch for each run and stopped after it, so that drift of a shared machine
meets all alike. What cannot be had is written down as absent, with the reason. Limits of the machine are probed in the same run."""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import traceback

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
import machine  # noqa: E402
import peers  # noqa: E402
import probes  # noqa: E402

import yaml  # noqa: E402

ROOT = peers.ROOT
BENCH = os.path.join(ROOT, "build", "release", "perf", "load", "eagre-bench")
WORKLOADS = os.path.join(ROOT, "perf", "workloads")
DEFAULT_WORKLOADS = ("1-topic-4-partitions-100b-single-records-durable", "1-topic-4-partitions-100b-batches-of-100-durable",
                     "1-topic-4-partitions-100b-batches-of-1000-durable", "1-topic-4-partitions-100b-100k-per-s-end-to-end-durable")


def workload_path(name):
    return name if os.path.exists(name) else os.path.join(WORKLOADS, f"{name}.yaml")


def built_drivers():
    done = subprocess.run([BENCH, "--drivers"], stdout=subprocess.PIPE, timeout=30, check=True)
    return {line.split()[0] for line in done.stdout.decode().splitlines()}


def run_bench(peer, path, options, prefix, more=()):
    """The result of eagre-bench against a running peer; more: settings of the workload that win over all others."""
    address = peer.bench_address() if hasattr(peer, "bench_address") else peer.address
    command = [BENCH, "--workload", path, "--driver", peer.driver, "--address", address, "--topic-prefix", prefix, "--json", "-"]
    for pid in peer.pids():
        command += ["--server-pid", str(pid)]
    if peer.extra:
        command += ["--extra", peer.extra]
    command += ["--set", f"warmup_seconds={options.warmup}"]
    if options.seconds:
        command += ["--set", f"seconds={options.seconds}"]
    for assignment in (*options.set, *more):
        command += ["--set", assignment]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=600, check=False)
    try:
        result = json.loads(done.stdout)
    except json.JSONDecodeError:
        raise peers.Absent(f"{' '.join(command)}: exit {done.returncode}: {done.stderr.decode()[-500:]}") from None
    result["exit"] = done.returncode
    result["said"] = done.stderr.decode()[-500:]
    result["command"] = " ".join(command)
    return result


def one_run(kind, path, options, number):
    """Starts a peer, measures, stops it."""
    peer = kind(options.directory)
    try:
        version = peer.version()
        peer.start()
        with open(path, encoding="utf-8") as file:
            workload = yaml.safe_load(file) or {}
        if peer.compiles_at_run_time and options.warmup:
            peer.topics(workload, f"warm{number}")
            run_bench(peer, path, options, f"warm{number}", ("rate=0", "warmup_seconds=0", f"seconds={options.warmup}"))
        prefix = f"bench{number}"
        peer.topics(workload, prefix)
        result = run_bench(peer, path, options, prefix)
        result["peer"] = {"name": peer.name, "mode": peer.mode, "label": peer.label, "version": version, "config": peer.config(),
                          "durability_class": peer.durability}
        return result
    finally:
        peer.stop()


def measure(kinds, options):
    """[results], {label: reason}"""
    results, absent = [], {}
    drivers = built_drivers()
    number = 0
    for round_number in range(options.rounds):
        for name in options.workloads:
            for kind in kinds:
                label = f"{kind.name} {kind.mode}".strip()
                if label in absent:
                    continue
                if kind.driver not in drivers:
                    absent[label] = f"eagre-bench was built without its driver ({kind.driver})"
                    continue
                number += 1
                try:
                    result = one_run(kind, workload_path(name), options, number)
                except peers.Absent as trouble:
                    absent[label] = str(trouble)
                    print(f"absent: {label}: {trouble}", flush=True)
                    continue
                result["round"] = round_number + 1
                results.append(result)
                run = result["runs"][-1]
                latency = run["latency"] or {}
                print(f"round {round_number + 1}  {result['workload']['name']}  {label}: {run['records_per_s']:,.0f} records/s  "
                      f"p50 {latency.get('p50_us', 0):,.0f} us  p99 {latency.get('p99_us', 0):,.0f} us  "
                      f"server {run['server']['cpu_s_per_million']:.2f} CPU s per million  exit {result['exit']}", flush=True)
                save(options, results, absent)
    return results, absent


def save(options, results, absent):
    os.makedirs(options.out, exist_ok=True)
    document = {"format": 1, "machine": options.facts, "limits": options.limits, "absent": absent, "results": results}
    path = os.path.join(options.out, "set.json")
    with open(path + ".new", "w", encoding="utf-8") as file:
        json.dump(document, file, indent=1)
    os.replace(path + ".new", path)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--out", help="directory of the result set")
    parser.add_argument("--peers", nargs="+", help="names or labels, in part (default: all)")
    parser.add_argument("--workloads", nargs="+", default=list(DEFAULT_WORKLOADS))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=0)
    parser.add_argument("--warmup", type=float, default=5, help="seconds; a Java virtual machine needs some")
    parser.add_argument("--set", action="append", default=[], help="key=value of the workload")
    parser.add_argument("--directory", help="where data live (default: a temporary directory)")
    parser.add_argument("--no-probes", action="store_true")
    parser.add_argument("--list", action="store_true")
    options = parser.parse_args()
    labels = {kind: f"{kind.name} {kind.mode}".strip() for kind in peers.ALL}
    if options.list:
        for kind, label in labels.items():
            print(f"{label}: {kind.durability}")
        return
    if options.out is None:
        parser.error("--out is needed")
    kinds = [kind for kind, label in labels.items() if options.peers is None or any(word.lower() in label.lower() for word in options.peers)]
    with tempfile.TemporaryDirectory(prefix="eagre-compare-", dir=options.directory) as directory:
        options.directory = directory
        options.facts = machine.facts(ROOT, directory)
        options.limits = {} if options.no_probes else probes.probe(directory)
        try:
            results, absent = measure(kinds, options)
        except KeyboardInterrupt:
            traceback.print_exc()
            sys.exit(1)
        save(options, results, absent)
    print(f"{len(results)} runs, {len(absent)} absent, in {options.out}/set.json; next: perf/report/report.py {options.out}")
    sys.exit(0 if results and all(result["exit"] == 0 for result in results) else 1)


if __name__ == "__main__":
    main()
