"""Limits of the machine, measured in the same run as what stands beside them."""

import json
import os
import re
import subprocess
import tempfile

import peers

BUILD = os.path.join(peers.ROOT, "build", "release")
MICRO = os.path.join(BUILD, "perf", "micro", "eagre-micro")
BYPASS = os.path.join(peers.ROOT, "perf", "bypass", "run")
SECONDS = 180

# Name of the limit: (case of eagre-micro, beginning of its row, which of the two figures, unit).
ROWS = {
    "device_synced_p50_us": ("stream", "raw 4 KiB O_DIRECT|O_DSYNC write, p50", 0, "us"),
    "device_synced_p99_us": ("stream", "raw 4 KiB O_DIRECT|O_DSYNC write, p50", 1, "us"),
    "stream_mb_per_s": ("stream", "memcpy, CRC-32C and O_DIRECT", 0, "MB/s"),
    "ring_hop_ns": ("ring", "ring: push and pop a 64-byte slot, burst 1 ", 0, "ns"),
    "ring_hop_burst_32_ns": ("ring", "ring: push and pop a 64-byte slot, burst 32", 0, "ns"),
    "udp_gso_m_per_s": ("nic", "UDP loopback, 1400 bytes", 0, "M datagrams/s"),
    "udp_single_m_per_s": ("nic", "UDP loopback, 1400 bytes", 1, "M datagrams/s"),
}


def micro(case, directory):
    done = subprocess.run([MICRO, case, "--dir", directory], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, timeout=SECONDS, check=False)
    return done.stdout.decode().splitlines()


def figures(line):
    """The two figures of a row: behind the name, and behind the limit's name."""
    first = re.match(r"\s*([\d.]+)", line[58:])
    second = re.search(r"([\d.]+)\s+[\d.]+x?\s*$", line)
    return float(first.group(1)) if first else None, float(second.group(1)) if second else None


def pick(lines, name):
    """The figure of a limit among the rows of its case, or None."""
    _, begin, which, _ = ROWS[name]
    line = next((line for line in lines if line.startswith(begin)), None)
    return figures(line)[which] if line else None


def row(name, directory):
    """One limit, measured now."""
    return pick(micro(ROWS[name][0], directory), name)


def shared_memory(directory):
    """Packets over virtio_user <-> vhost-user, 64-byte frames; None where DPDK cannot."""
    path = os.path.join(directory, "bypass.json")
    done = subprocess.run([BYPASS, "--seconds", "1", "--runs", "1", "--json", path], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          timeout=SECONDS, check=False)
    if done.returncode != 0 or not os.path.exists(path):
        return None, f"perf/bypass/run gave {done.returncode}"
    with open(path, encoding="utf-8") as file:
        return json.load(file), "perf/bypass/run"


def probe(directory):
    """{name: {value, unit, command}}"""
    limits = {}
    with tempfile.TemporaryDirectory(prefix="probe-", dir=directory) as place:
        lines = {case: micro(case, place) for case in {row[0] for row in ROWS.values()}}
        for name, (case, _, _, unit) in ROWS.items():
            limits[name] = {"value": pick(lines[case], name), "unit": unit, "command": f"eagre-micro {case} --dir DIR"}
        document, command = shared_memory(place)
        limits["virtio_user"] = {"value": document, "unit": "as perf/bypass/run --json", "command": command}
    return limits
