"""Clients that are broken, slow or hostile, beside one that behaves.

Goal: what is wrong closes its own connection, with a counted reason, or gets the error code of Kafka; it never delays or harms another
connection and never makes the server grow. Method: raw sockets; the server's own counters tell why it closed; a good client works and
is measured at the same time."""

import os
import random
import socket
import struct
import sys
import threading
import time

from server import Server, Suite
from wire import Connection, batch, batches, check, create_topic, fetch, fetch_values, produce, produce_values, request

PROGRESS_MS = 1000
RSS_GROWTH_MAX_KIB = 512 * 1024  # the budget of the memory settings below, not a leak's size
SEED = int(os.environ.get("SEED", time.time()))
SLOWER_MAX = 20
# A figure of few samples on a machine that does other things too: below this a ratio says nothing.
QUIET_FLOOR_SECONDS = 0.002

server = Server("--connection.progress_ms", str(PROGRESS_MS))
suite = Suite("hostile")


def connect(**options):
    return Connection(server, **options)


def closed(reason):
    """Connections closed for a reason so far, over all gates."""
    return sum(value for name, value in server.metrics().items()
               if name.startswith("eagre_connections_closed_total") and f'reason="{reason}"' in name)


def refused_connections():
    return sum(value for name, value in server.metrics().items() if name.startswith("eagre_connections_refused_total"))


def wait_for(what, text, seconds=5):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if what():
            return
        time.sleep(0.02)
    raise AssertionError(text)


def counted(reason, before, count=1):
    wait_for(lambda: closed(reason) >= before + count, f"{closed(reason) - before:.0f} closed as {reason}, due {count}")


def rss_kib():
    with open(f"/proc/{server.process.pid}/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmRSS:"))


def works():
    with connect() as connection:
        found = produce(connection, "good", batch([b"still here"]))
        check(found["error"] == 0, str(found))


def frame(data):
    return struct.pack(">i", len(data)) + data


def header(key, version, correlation=1):
    return struct.pack(">hhih", key, version, correlation, 5) + b"tests"


# ---- frames ----

def closes(data, reason, valid_first=False):
    before = closed(reason)
    with connect() as connection:
        if valid_first:
            connection.call("API_VERSIONS", 0)
        connection.raw(data)
        connection.closed_within(5)
    counted(reason, before)
    works()


def oversize_frame():
    for length in (100 * 1024 * 1024 + 1, 2**31 - 1):
        for valid_first in (False, True):
            closes(struct.pack(">i", length) + b"x" * 100, "oversize", valid_first)


def negative_frame():
    for length in (-1, -2**31):
        closes(struct.pack(">i", length), "oversize")


def short_frame():
    for length in (0, 1, 7):
        closes(struct.pack(">i", length) + bytes(length), "oversize")


def unknown_api():
    for key in (999, -1, 4, 6, 7, 71, 32767):
        for valid_first in (False, True):
            closes(frame(header(key, 0)), "unsupported", valid_first)


def unsupported_version():
    for key, version in ((0, 13), (0, 2), (0, -1), (1, 3), (1, 18), (2, 0), (3, 13), (3, -1), (19, 8), (22, 6), (60, 9)):
        closes(frame(header(key, version) + bytes(20)), "unsupported")


def malformed_bodies():
    """Bodies that do not parse: lists longer than the frame, strings longer than the frame, null where none may be."""
    cases = [
        ("METADATA", 1, struct.pack(">i", 2**31 - 1)), ("METADATA", 1, struct.pack(">ih", 1, 30000) + b"x"),
        ("METADATA", 1, struct.pack(">ih", 1, -1)), ("METADATA", 9, b"\xff\xff\xff\xff\x0f"), ("METADATA", 9, b"\xff" * 20),
        ("FETCH", 4, struct.pack(">iiiibi", -1, 0, 0, 0, 0, 2**31 - 1)), ("FETCH", 12, bytes(10)),
        ("PRODUCE", 7, struct.pack(">hhii", -1, 1, 0, 2**31 - 1)), ("PRODUCE", 7, struct.pack(">hhiih", -1, 1, 0, 1, 32767)),
        ("PRODUCE", 9, b"\x00\x00"), ("CREATE_TOPICS", 2, struct.pack(">i", -2)), ("LIST_OFFSETS", 1, b""),
        ("FIND_COORDINATOR", 0, b"\xff\xff"), ("DESCRIBE_CONFIGS", 1, b"\x7f" * 30), ("INIT_PRODUCER_ID", 0, b"\x00"),
    ]
    for api, version, body in cases:
        before = closed("malformed") + closed("limit")
        with connect() as connection:
            connection.raw(request(api, version, body=body))
            try:
                connection.closed_within(5)
            except AssertionError as error:
                raise AssertionError(f"{api} version {version}, body {body.hex()}: {error}") from None
        wait_for(lambda: closed("malformed") + closed("limit") > before, f"{api} version {version}, body {body.hex()}: not counted")
    works()


def garbage():
    """Arbitrary bytes, of every length, also after a valid request; the first four are often a plausible length."""
    chance = random.Random(SEED)
    for i in range(300):
        data = chance.randbytes(chance.randrange(1, 3000))
        if i % 2:
            data = frame(data)
        if i % 4 == 3:
            data = frame(struct.pack(">hh", chance.choice([0, 1, 2, 3, 10, 18, 19, 20, 22, 23, 32, 37, 60]), chance.randrange(0, 13)) + data)
        with connect() as connection:
            try:
                if i % 3 == 0:
                    connection.call("API_VERSIONS", 0)
                connection.raw(data)
            except OSError:
                pass
    check(server.alive(), "the server ended")
    works()


def mutated():
    """Valid requests with a few bytes changed."""
    chance = random.Random(SEED + 1)
    good = [request("PRODUCE", 9, produce_values("good", batch([b"m" * 50] * 3))), request("FETCH", 12, fetch_values("good", 0)),
            request("METADATA", 9, {"topics": [{"name": "good"}], "allow_auto_topic_creation": 0}),
            request("CREATE_TOPICS", 7, {"topics": [{"name": "mutant", "partition_count": 1, "replication_factor": 1}], "validate_only": 1}),
            request("LIST_OFFSETS", 7, {"topics": [{"name": "good", "partitions": [{"index": 0, "timestamp_ms": -1}]}]})]
    for _ in range(500):
        data = bytearray(chance.choice(good))
        for _ in range(chance.randrange(1, 5)):
            data[chance.randrange(4, len(data))] = chance.randrange(256)
        with connect() as connection:
            connection.raw(bytes(data))
    check(server.alive(), "the server ended")
    works()


def truncated_produce():
    """A real Produce request that ends after each of its bytes. Nothing is stored of a batch that is not whole; a whole one may be, as
    of any client that dies before its answer. Three bytes of tags follow the batch."""
    with connect() as connection:
        create_topic(connection, "cut")
    data = request("PRODUCE", 9, produce_values("cut", batch([b"t" * 40])))
    for count in range(len(data)):
        with connect() as connection:
            connection.raw(data[:count])
            if count % 2:
                connection.reset()
    with connect() as connection:
        offset = produce(connection, "cut", batch([b"whole"]))["base_offset"]
        check(0 <= offset <= 3, f"{offset} records of cut requests were stored, 3 batches were whole")
        found = [value for one in batches(fetch(connection, "cut", 0)["records"]) for value in one[5]]
        check(set(found) <= {b"t" * 40, b"whole"}, f"stored: {found}")
    wait_for(lambda: open_connections() <= 1, f"{open_connections()} connections are still open")


def open_connections():
    return sum(value for name, value in server.metrics().items() if name.startswith("eagre_connections_open"))


def split_everywhere():
    """The same bytes in two pieces, cut at each byte, are one good request."""
    with connect() as connection:
        create_topic(connection, "split")
        data = request("PRODUCE", 9, produce_values("split", batch([b"s" * 40])), 5)
        for count in range(1, len(data)):
            connection.raw(data[:count])
            connection.raw(data[count:])
            found = connection.receive("PRODUCE", 9, 5)["topics"][0]["partitions"][0]
            check(found["error"] == 0 and found["base_offset"] == count - 1, f"cut at {count}: {found}")


# ---- slow ones ----

def trickle(data, pause, seconds):
    """Seconds until the server closed a connection that gets one byte per pause."""
    with connect(timeout=0.01) as connection:
        begin = time.monotonic()
        for byte in data:
            try:
                connection.raw(bytes([byte]))
                if connection.socket.recv(1) == b"":
                    break
            except TimeoutError:
                pass
            except OSError:
                break
            if time.monotonic() - begin > seconds:
                raise AssertionError(f"still open after {seconds} s")
            time.sleep(pause)
        return time.monotonic() - begin


def slow_loris():
    """One byte per 100 ms, in the header and in the records, ends at about the deadline."""
    data = request("PRODUCE", 9, produce_values("good", batch([b"z" * 100000])))
    before = closed("progress")
    took = trickle(data, 0.1, 5 * PROGRESS_MS / 1000)
    check(took > 0.5 * PROGRESS_MS / 1000, f"closed after {took:.1f} s")
    with connect(timeout=0.01) as connection:
        connection.raw(data[:5000])  # past all headers
        begin = time.monotonic()
        try:
            for byte in data[5000:]:
                connection.raw(bytes([byte]))
                try:
                    if connection.socket.recv(1) == b"":
                        break
                except TimeoutError:
                    pass
                check(time.monotonic() - begin < 8 * PROGRESS_MS / 1000, "still open in the body")
                time.sleep(0.1)
        except OSError:
            pass
    counted("progress", before, 2)
    works()


def half_open():
    """Connections that say nothing, or stop in a request, beside one that works; those in a request are closed."""
    before = closed("progress")
    silent = [connect() for _ in range(50)]
    stuck = [connect() for _ in range(50)]
    for i, connection in enumerate(stuck):
        connection.raw(request("PRODUCE", 9, produce_values("good", batch([b"h" * 5000])))[:3 + 40 * i])
    works()
    for connection in stuck:
        connection.closed_within(5 * PROGRESS_MS / 1000)
    counted("progress", before, 50)
    for connection in silent:
        check(connection.call("API_VERSIONS", 0)["error"] == 0, "a silent connection may speak later")
        connection.close()
    for connection in stuck:
        connection.close()


def closed_write_side():
    """A client that shuts its sending side after a request is gone, answered or not; nothing leaks."""
    for _ in range(20):
        with connect() as connection:
            connection.raw(request("METADATA", 9, {"topics": None}))
            connection.socket.shutdown(socket.SHUT_WR)
    wait_for(lambda: open_connections() <= 1, f"{open_connections()} connections are still open")
    works()


def slow_reader():
    """A client that asks for far more than it reads is closed at its deadline; another reads at full speed meanwhile."""
    with connect(timeout=30) as writer:
        create_topic(writer, "large")
        data = batch([b"L" * 100000] * 9)
        for _ in range(20):
            check(produce(writer, "large", data)["error"] == 0, "produce")
        before = closed("progress")
        slow = connect(receive_bytes=4096)
        for _ in range(40):
            slow.send("FETCH", 12, **fetch_values("large", 0, max_bytes=1 << 20))
        for _ in range(10):
            begin = time.monotonic()
            check(batches(fetch(writer, "large", 0)["records"]), "records")
            check(time.monotonic() - begin < 1, "the good reader was delayed")
        counted("progress", before)
        slow.close()


# ---- many ----

def churn():
    """2,000 connections one after the other, half of them ending in the middle of a request."""
    begin = rss_kib()
    data = request("PRODUCE", 9, produce_values("good", batch([b"c" * 200])))
    for i in range(2000):
        connection = connect()
        if i % 4 == 0:
            connection.call("API_VERSIONS", 0)
        elif i % 4 == 1:
            connection.raw(data[:random.Random(SEED + i).randrange(len(data))])
        elif i % 4 == 2:
            connection.raw(data)
        connection.reset() if i % 3 else connection.close()
    wait_for(lambda: open_connections() <= 1, f"{open_connections()} connections are still open")
    check(rss_kib() - begin < 64 * 1024, f"grew by {rss_kib() - begin} KiB")
    works()


def connection_limit():
    server.stop()
    server.start("--connections_max", "40")
    before = refused_connections()
    held = [connect() for _ in range(40)]
    for connection in held:
        connection.call("API_VERSIONS", 0)
    for _ in range(10):
        with connect() as connection:
            connection.closed_within(5)
    check(refused_connections() == before + 10, f"{refused_connections() - before} refused, due 10")
    for connection in held:
        check(connection.call("API_VERSIONS", 0)["error"] == 0, "those that are in must be served")
    for connection in held[:5]:
        connection.close()
    wait_for(lambda: open_connections() <= 35, "not noticed")
    for _ in range(5):
        held.append(connect())
        held[-1].call("API_VERSIONS", 0)
    for connection in held:
        connection.close()
    server.stop()
    server.start()


class Good(threading.Thread):
    """Numbered records, one request at a time; latencies in seconds."""

    def __init__(self, topic):
        super().__init__(daemon=True)
        self.topic = topic
        self.connection = connect(timeout=30)
        self.ending = threading.Event()
        self.latencies = []
        self.failure = None

    def run(self):
        try:
            for i in range(10**6):
                if self.ending.is_set():
                    return
                data = batch([b"%d" % i])
                begin = time.monotonic()
                found = produce(self.connection, self.topic, data)
                self.latencies.append(time.monotonic() - begin)
                if found["error"] != 0 or found["base_offset"] != i:
                    raise AssertionError(f"record {i}: {found}")
                time.sleep(0.001)
        except Exception as error:  # the test's own thread reports it
            self.failure = error

    def p99(self):
        taken, self.latencies = sorted(self.latencies), []
        check(len(taken) > 20, f"only {len(taken)} requests of the good client were answered")
        return taken[len(taken) * 99 // 100]


def pool_exhaustion():
    """Half-sent 1 MiB batches, more than the pool holds, sent as slowly as is allowed: the good client goes on."""
    server.stop()
    server.start("--memory.ingest_bytes", "16MiB")
    with connect() as connection:
        create_topic(connection, "beside")
        create_topic(connection, "victim")
    good = Good("beside")
    good.start()
    time.sleep(1.5)
    quiet = good.p99()
    data = request("PRODUCE", 9, produce_values("victim", batch([b"e" * 1000000])))
    hostile = [connect(timeout=0.05) for _ in range(60)]
    for connection in hostile:
        try:
            connection.raw(data[:len(data) // 2])
        except OSError:
            pass
    end = time.monotonic() + 3
    while time.monotonic() < end:
        time.sleep(0.2)
        for connection in hostile:
            try:
                connection.raw(data[:1024])
            except OSError:
                pass
    beside = good.p99()
    waits = sum(value for name, value in server.metrics().items() if name.startswith("eagre_ingest_waits_total"))
    check(waits >= 10, f"the pool was not exhausted: {waits} waits")
    good.ending.set()
    good.join(30)
    for connection in hostile:
        connection.close()
    check(good.failure is None, f"the good client: {good.failure}")
    print(f"     p99 of the good client: {quiet * 1000:.2f} ms quiet, {beside * 1000:.2f} ms beside 60 half-sent batches")
    check(beside <= SLOWER_MAX * max(quiet, QUIET_FLOOR_SECONDS), f"p99 {quiet * 1000:.1f} ms became {beside * 1000:.1f} ms")
    with connect(timeout=30) as connection:
        end_offset = fetch(connection, "beside", 0)["high_watermark"]
        offset = 0
        while offset < end_offset:
            for base, _, _, _, count, values in batches(fetch(connection, "beside", offset)["records"]):
                check(values == [b"%d" % base], f"record {base} is {values}")
                offset = base + count
        found = produce(connection, "victim", batch([b"e" * 1000000]))
        check(found["error"] == 0, f"a whole 1 MiB batch afterwards: {found}")
    server.stop()
    server.start()


# ---- batches ----

def bad_batches():
    """Each wrong batch gets its code; the good partitions of the same request go on."""
    good = batch([b"good"])
    legacy = struct.pack(">qiIbbqii", 0, 22, 0, 1, 0, 0, -1, -1)
    cases = {
        "CRC": (batch([b"x"], crc=1), 2),
        "magic 1": (batch([b"x"], magic=1), 87),
        "magic 0": (batch([b"x"], magic=0), 87),
        "magic 3": (batch([b"x"], magic=3), 87),
        "a message set": (legacy, 87),
        "base offset": (batch([b"x"], base_offset=5), 87),
        "count above the last offset": (batch([b"x"], count=2), 87),
        "count below": (batch([b"x"] * 3, count=1), 87),
        "count 0": (batch([], delta=0, count=0), 87),
        "negative count": (batch([b"x"], count=-1, delta=-2), 87),
        "negative delta": (batch([b"x"], count=1, delta=-1), 87),
        "control": (batch([b"x"], attributes=0x30), 87),
        "sequence missing": (batch([b"x"], producer=(7, 0, -1)), 87),
        "two batches": (good + good, 87),
        "length too long": (batch([b"x"], length=5000), None),
        "length too short": (batch([b"x"], length=49), None),
        "length negative": (batch([b"x"], length=-1), None),
        "cut header": (good[:40], None),
        "no batch": (b"", None),
        "null": (None, None),
        "append time claimed": (batch([b"x"], attributes=8), 32),
        "too large": (batch([b"x" * (1 << 20)] * 2), 10),
    }
    with connect() as connection:
        create_topic(connection, "judged", 3)
    stored = 0
    for name, (bad, code) in cases.items():
        with connect() as connection:
            values = produce_values("judged", good)
            values["topics"][0]["partitions"] = [{"index": 0, "records": good}, {"index": 1, "records": bad}, {"index": 2, "records": good}]
            try:
                found = {p["index"]: p for p in connection.call("PRODUCE", 9, **values)["topics"][0]["partitions"]}
            except ConnectionResetError:
                raise AssertionError(f"{name}: closed instead of answered") from None
            wanted = (code,) if code else (2, 87)
            check(found[1]["error"] in wanted and found[1]["base_offset"] == -1, f"{name}: {found[1]}, due {wanted}")
            for index in (0, 2):
                check(found[index]["error"] == 0 and found[index]["base_offset"] == stored, f"{name}: beside it {found[index]}")
            stored += 1
            values["topics"][0]["partitions"][1]["index"] = 99
            values["topics"][0]["partitions"][1]["records"] = good
            found = {p["index"]: p["error"] for p in connection.call("PRODUCE", 9, **values)["topics"][0]["partitions"]}
            check(found == {0: 0, 99: 3, 2: 0}, f"unknown partition: {found}")
            stored += 1
    with connect() as connection:
        check(fetch(connection, "judged", 0, partition=1)["high_watermark"] == 0, "a bad batch was stored")


def acks_none():
    """acks=0: good ones are silent, a bad one closes the connection."""
    with connect() as connection:
        create_topic(connection, "silent")
        for _ in range(5):
            connection.send("PRODUCE", 9, **produce_values("silent", batch([b"s"]), acks=0))
        found = connection.call("API_VERSIONS", 0)
        check(found["error"] == 0, "the next answer must be that of the next request")
        wait_for(lambda: fetch(connection, "silent", 0)["high_watermark"] == 5, "not stored")
        for data, partition in ((batch([b"s"], crc=1), 0), (batch([b"s"]), 9)):
            with connect() as other:
                other.send("PRODUCE", 9, **produce_values("silent", data, partition, acks=0))
                other.closed_within(5)


def unproven_bytes():
    """Before its first valid request a connection may not make the server hold more than 16 KiB."""
    begin = rss_kib()
    connections = []
    data = request("PRODUCE", 9, produce_values("n" * 200, batch([b"u" * 900000])))[:400000]
    for _ in range(100):
        connection = connect(timeout=2)
        try:
            connection.raw(data)
        except OSError:
            pass
        connections.append(connection)
    time.sleep(0.3)
    grown = rss_kib() - begin
    for connection in connections:
        connection.close()
    check(grown < 16 * 1024, f"grew by {grown} KiB for 100 unproven connections")
    works()


TESTS = [oversize_frame, negative_frame, short_frame, unknown_api, unsupported_version, malformed_bodies, garbage, mutated,
         truncated_produce, split_everywhere, unproven_bytes, slow_loris, half_open, closed_write_side, slow_reader, churn, bad_batches,
         acks_none, connection_limit, pool_exhaustion]


def survived(start_kib):
    works()
    grown = rss_kib() - start_kib
    check(grown < RSS_GROWTH_MAX_KIB, f"grew by {grown} KiB")
    check(server.stop() == 0, "stop")
    server.start()
    with connect() as connection:
        check(fetch(connection, "good", 0)["records"], "records of the good client after a restart")


def main():
    print(f"     seed {SEED} (repeat with SEED={SEED})")
    server.start()
    with connect() as connection:
        create_topic(connection, "good")
    start_kib = rss_kib()
    wanted = sys.argv[1:]
    for test in TESTS:
        if wanted and test.__name__ not in wanted:
            continue
        suite.run(test.__name__.replace("_", " "), test)
        if not server.alive():
            print(f"FAIL hostile: the server ended with {server.process.returncode}:\n{server.log_tail()}")
            suite.failed += 1
            server.start()
    suite.run("the server survived all of it", survived, start_kib)
    status = suite.finish()
    server.close(keep=status != 0)
    return status


if __name__ == "__main__":
    sys.exit(main())
