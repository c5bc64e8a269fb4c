"""What an idle server costs: CPU time, memory, memory per empty partition.

Goal: ARCHITECTURE: nothing happens, nothing is used. Method: figures of /proc over a fixed time, in default mode, with idle connections and
a parked long poll, because those are what could keep a core awake."""

import os
import sys
import time

from server import Server, Suite
from wire import Connection, check, create_topic, fetch_values

IDLE_SECONDS = 10
IDLE_TICKS_MAX = 1
RSS_MAX_KIB = 64 * 1024
PARTITIONS = 1000
PARTITION_MAX_BYTES = 8192

server = Server()
suite = Suite("idle")


def ticks():
    """User and system time of all threads, in clock ticks."""
    with open(f"/proc/{server.process.pid}/stat") as stat:
        fields = stat.read().rsplit(")", 1)[1].split()
    return int(fields[11]) + int(fields[12])


def rss_kib():
    with open(f"/proc/{server.process.pid}/status") as status:
        for line in status:
            if line.startswith("VmRSS:"):
                return int(line.split()[1])
    raise AssertionError("no VmRSS")


def settled_rss_kib():
    """Resident memory when it no longer shrinks: what is committed ahead goes back after a pause."""
    lowest = rss_kib()
    end = time.monotonic() + 15
    while time.monotonic() < end and lowest > RSS_MAX_KIB:
        time.sleep(0.5)
        lowest = min(lowest, rss_kib())
    return lowest


def memory_at_start():
    resident = settled_rss_kib()
    print(f"     {resident} KiB resident after the start")
    check(resident <= RSS_MAX_KIB, f"{resident} KiB resident, {RSS_MAX_KIB} allowed")


def no_cpu_when_idle():
    connections = [Connection(server) for _ in range(10)]
    for connection in connections:
        connection.call("API_VERSIONS", 0)
    with Connection(server) as reader:
        create_topic(reader, "idle")
        reader.send("FETCH", 12, **fetch_values("idle", 0, wait_ms=28000))
        time.sleep(1)
        before = ticks()
        time.sleep(IDLE_SECONDS)
        used = ticks() - before
        print(f"     {used} ticks of 1/{os.sysconf('SC_CLK_TCK')} s in {IDLE_SECONDS} s")
        reader.socket.setblocking(False)
        try:
            reader.socket.recv(1)
            raise AssertionError("the long poll was answered early")
        except BlockingIOError:
            pass
    for connection in connections:
        connection.close()
    check(used <= IDLE_TICKS_MAX, f"{used} ticks in {IDLE_SECONDS} s, {IDLE_TICKS_MAX} allowed")


def empty_partitions_are_small():
    with Connection(server, timeout=60) as connection:
        create_topic(connection, "warm-up", 10)
        before = rss_kib()
        create_topic(connection, "many", PARTITIONS)
    time.sleep(1)
    each = (rss_kib() - before) * 1024 / PARTITIONS
    print(f"     {each:.0f} bytes per empty partition")
    check(each <= PARTITION_MAX_BYTES, f"{each:.0f} bytes per empty partition, {PARTITION_MAX_BYTES} allowed")


def no_cpu_with_partitions():
    time.sleep(2)
    before = ticks()
    time.sleep(IDLE_SECONDS)
    used = ticks() - before
    check(used <= IDLE_TICKS_MAX, f"{used} ticks in {IDLE_SECONDS} s with {PARTITIONS} partitions, {IDLE_TICKS_MAX} allowed")


def main():
    server.start()
    suite.run("at most 64 MiB are resident after the start", memory_at_start)
    suite.run("idle connections and a parked fetch use no CPU", no_cpu_when_idle)
    suite.run("an empty partition takes at most 8 KiB", empty_partitions_are_small)
    suite.run("1,000 idle partitions use no CPU", no_cpu_with_partitions)
    status = suite.finish()
    server.close(keep=status != 0)
    return status


if __name__ == "__main__":
    sys.exit(main())
