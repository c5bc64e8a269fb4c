"""Kafka's own producers and consumers in Java, of two versions, against one server process that is killed in between.

Goal: groups of both protocols share partitions while members join, leave and die; every record is read, and read again only where its
commit was not told; transactions are seen whole or not at all. Method: java/Members.java does what it is told in processes that this
file starts and kills; every record is a number and is counted."""

import collections
import json
import os
import subprocess
import sys
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
sys.path.insert(0, os.path.join(HERE, "..", "system"))
from jvm import VERSIONS, Unavailable, java  # noqa: E402
from server import Server, Suite  # noqa: E402

from confluent_kafka import Producer  # noqa: E402
from confluent_kafka.admin import AdminClient, NewTopic  # noqa: E402

SECONDS = 60
PER_POLL = 10  # the most that a member may have told and not committed
ADD_PARTITIONS_TO_TXN = 24
CONSUMER_GROUP_HEARTBEAT = 68

CI = os.environ.get("CLIENTS_CI") == "yes"  # the whole set for the newest version, what differs for the older one

server = Server("--group.initial.rebalance.delay.ms", "100ms", "--group.consumer.session.timeout.ms", "6s",
                "--group.consumer.heartbeat.interval.ms", "500ms")
suite = Suite("java clients")


def check(condition, text):
    if not condition:
        raise AssertionError(text() if callable(text) else text)


def create(topic, partitions, **config):
    client = AdminClient({"bootstrap.servers": server.address})
    client.create_topics([NewTopic(topic, partitions, 1, config=config)], request_timeout=SECONDS)[topic].result()


class Process:
    """One process of Members.java and what its members have told so far."""

    def __init__(self, version):
        self.process = subprocess.Popen(java(version, "Members.java"), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=subprocess.DEVNULL)
        self.lines = []
        self.thread = threading.Thread(target=self.collect, daemon=True)
        self.thread.start()

    def collect(self):
        for line in self.process.stdout:
            try:
                self.lines.append(json.loads(line))
            except ValueError:
                pass  # the last line of a process that was killed

    def tell(self, **request):
        self.process.stdin.write(json.dumps(request).encode() + b"\n")
        self.process.stdin.flush()

    def ask(self, what, **request):
        """Does it and waits for the answer."""
        seen = len(self.lines)
        self.tell(**request)
        end = time.monotonic() + SECONDS
        while time.monotonic() < end:
            for line in self.lines[seen:]:
                if line["of"] == request["do"]:
                    check("error" not in line, lambda: f"{line}")
                    return line[what]
            time.sleep(0.02)
        raise AssertionError(f"no answer to {request['do']}")

    def told(self, name, *keys):
        """[(key, value)] of a member, in order."""
        return [(key, line[key]) for line in list(self.lines) if line["of"] == name for key in keys if key in line]

    def assigned(self, name):
        told = self.told(name, "assigned", "revoked", "lost")
        return told[-1][1] if told else []

    def numbers(self, name):
        return [number for _, numbers in self.told(name, "read") for number in numbers]

    def kill(self):
        self.process.kill()
        self.process.wait(timeout=10)
        self.thread.join(10)

    def close(self):
        if self.process.poll() is None:
            self.process.stdin.close()
            try:
                self.process.wait(timeout=15)
            except subprocess.TimeoutExpired:
                self.kill()


class World:
    """One version of Kafka: a process of members, and more where some shall die."""

    def __init__(self, version):
        self.version = version
        self.tag = version.replace(".", "-")
        self.main = Process(version)
        self.made = 0

    def topic(self, name, partitions, **config):
        topic = f"{name}-{self.tag}"
        create(topic, partitions, **config)
        return topic

    def config(self, **extra):
        return {"bootstrap.servers": server.address, **{key.replace("_", "."): value for key, value in extra.items()}}

    def member(self, group, **extra):
        classic = {} if extra.get("group_protocol") == "consumer" else {"session_timeout_ms": 6000, "heartbeat_interval_ms": 500}
        return self.config(group_id=group, enable_auto_commit="false", auto_offset_reset="earliest", max_poll_records=PER_POLL,
                           **{**classic, **extra})

    def join(self, name, topic, process=None, **extra):
        (process or self.main).tell(do="join", name=name, topic=topic, config=self.member(topic, **extra))

    def leave(self, name):
        self.main.tell(do="leave", name=name)
        until(lambda: self.main.told(name, "left"), f"{name} does not leave")

    def write(self, topic, start, count, partitions, **extra):
        return self.main.ask("offsets", do="produce", topic=topic, **{"from": start}, count=count, partitions=partitions,
                             config=self.config(acks="all", enable_idempotence="true", linger_ms=5, **extra))

    def read(self, topic, **extra):
        records = self.main.ask("records", do="read", topic=topic, config=self.config(**extra))
        return [tuple(record) for record in records]


def until(condition, text, seconds=SECONDS):
    end = time.monotonic() + seconds
    while not condition():
        check(time.monotonic() < end, text)
        time.sleep(0.05)


def counted(numbers, total, repeated):
    """Each of total numbers is there, and no more than `repeated` twice."""
    count = collections.Counter(numbers)
    missing = [number for number in range(total) if number not in count]
    check(not missing, f"{len(missing)} records are missing, the first {missing[:5]}")
    again = len(numbers) - total
    check(again <= repeated, f"{again} records were read again: {[n for n, c in count.items() if c > 1][:5]}")


# ---- producers ----


def idempotent(world):
    topic = world.topic("idempotent", 4)
    for codec in ("none", "gzip", "snappy", "lz4", "zstd"):
        start = ("none", "gzip", "snappy", "lz4", "zstd").index(codec) * 4000
        offsets = world.write(topic, start, 4000, 4, compression_type=codec)
        check(offsets == [list(range(start // 4, start // 4 + 1000))] * 4, f"{codec}: offsets")
    records = world.read(topic)
    for partition in range(4):
        mine = [(offset, key, value) for where, offset, key, value in records if where == partition]
        check(mine == [(i, f"k{4 * i + partition}", f"{4 * i + partition}") for i in range(5000)], f"partition {partition}")


# ---- groups ----


def come_and_go(world, label, **extra):
    """One, two, three members, then two again, while a producer writes; nobody dies, so nothing is read twice."""
    topic = world.topic(label, 6)
    main = world.main
    names = [f"{label}-{i}" for i in range(3)]

    def shares():
        return sorted(partition for name in names for partition in main.assigned(name))

    def even(count):
        return shares() == list(range(6)) and all(len(main.assigned(name)) in (0, 6 // count) for name in names)

    written = 0
    for count, name in enumerate(names, 1):
        world.join(name, topic, **extra)
        world.write(topic, written, 600, 6)
        written += 600
        until(lambda c=count: even(c), lambda c=count: f"{c} members: {[main.assigned(n) for n in names]}")
    world.leave(names[0])
    world.write(topic, written, 600, 6)
    written += 600
    until(lambda: shares() == list(range(6)) and not main.assigned(names[0]), lambda: f"one left: {[main.assigned(n) for n in names]}")
    until(lambda: len({n for name in names for n in main.numbers(name)}) == written, lambda: f"{[len(main.numbers(n)) for n in names]}")
    for name in names[1:]:
        world.leave(name)
    failed = [event for name in names for event in main.told(name, "error")]
    check(not failed, lambda: f"{failed}")
    # A commit that a rebalance overtook was told as such; what it covered may come again.
    excused = sum(PER_POLL for name in names for _ in main.told(name, "uncommitted"))
    counted([n for name in names for n in main.numbers(name)], written, excused)
    # Somebody who comes later has nothing left to read.
    world.join(f"{label}-late", topic, **extra)
    until(lambda: len(main.assigned(f"{label}-late")) == 6, "the late one gets nothing")
    time.sleep(1)
    check(main.numbers(f"{label}-late") == [] or excused, lambda: f"read after the end: {main.numbers(f'{label}-late')[:5]}")
    world.leave(f"{label}-late")


def static_member(world):
    topic = world.topic("static", 2)
    main = world.main
    for name in ("one", "two"):
        world.join(f"static-{name}", topic, group_instance_id=name, session_timeout_ms=20000)
    until(lambda: sorted(main.assigned("static-one") + main.assigned("static-two")) == [0, 1] and len(main.assigned("static-one")) == 1,
          "no even shares")
    mine, before = main.assigned("static-one"), len(main.told("static-two", "assigned"))
    world.leave("static-one")
    world.join("static-again", topic, group_instance_id="one", session_timeout_ms=20000)
    until(lambda: main.assigned("static-again") == mine, lambda: f"{main.assigned('static-again')} is not {mine}")
    check(len(main.told("static-two", "assigned")) == before, "the other member saw a rebalance")
    world.leave("static-again")
    world.leave("static-two")


def a_member_dies(world, label, **extra):
    """kill -9 of a process in the middle of its work: another takes its partitions; only its last poll may be read again."""
    topic = world.topic(label, 4)
    main = world.main
    dying = Process(world.version)
    try:
        world.join(f"{label}-dying", topic, process=dying, **extra)
        until(lambda: len(dying.assigned(f"{label}-dying")) == 4, "no assignment")
        world.join(f"{label}-heir", topic, **extra)
        until(lambda: len(main.assigned(f"{label}-heir")) == 2, "no share for the second")
        world.write(topic, 0, 4000, 4)
        until(lambda: len(dying.numbers(f"{label}-dying")) > 200, "the first reads nothing")
        dying.kill()
        until(lambda: main.assigned(f"{label}-heir") == [0, 1, 2, 3], lambda: f"nobody took over: {main.assigned(f'{label}-heir')}")
        numbers = dying.numbers(f"{label}-dying")
        until(lambda: len(set(numbers + main.numbers(f"{label}-heir"))) == 4000, "records are missing")
        world.leave(f"{label}-heir")
        excused = PER_POLL * (1 + len(main.told(f"{label}-heir", "uncommitted")))
        counted(numbers + main.numbers(f"{label}-heir"), 4000, excused)
    finally:
        dying.close()


def the_server_dies(world, label, **extra):
    topic = world.topic(label, 4)
    main = world.main
    name = f"{label}-reader"
    world.join(name, topic, **extra)
    world.write(topic, 0, 2000, 4)
    until(lambda: len(main.numbers(name)) > 300, "no progress")
    server.kill()
    server.start()
    world.write(topic, 2000, 2000, 4)
    until(lambda: len(set(main.numbers(name))) == 4000, lambda: f"{len(set(main.numbers(name)))} of 4000 records")
    world.leave(name)
    # Commits are retried by the client; one whose answer was lost may come again with its poll.
    counted(main.numbers(name), 4000, PER_POLL * (1 + len(main.told(name, "uncommitted"))))


def consumer_protocol(world, test, label):
    if CONSUMER_GROUP_HEARTBEAT not in server.offered():
        return "skip: the server does not offer ConsumerGroupHeartbeat"
    return test(world, label, group_protocol="consumer")


# ---- transactions ----


def commit_and_abort(world):
    if ADD_PARTITIONS_TO_TXN not in server.offered():
        return "skip: the server does not offer transactions"
    topics = [world.topic("txn-a", 3), world.topic("txn-b", 1)]
    plan = [{"from": 100 * i, "count": 100, "commit": i % 3 != 1} for i in range(12)]
    done = world.main.ask("done", do="transactions", topics=topics, transactions=plan,
                          config=world.config(transactional_id=f"txn-{world.tag}"))
    check(done == 12, f"{done}")
    committed = [str(one["from"] + i) for one in plan if one["commit"] for i in range(100)]
    everything = [str(i) for i in range(1200)]
    for topic in topics:
        seen = [record[3] for record in world.read(topic, isolation_level="read_committed")]
        check(sorted(seen, key=int) == committed, f"read_committed: {len(seen)} records of {len(committed)}")
        seen = [record[3] for record in world.read(topic, isolation_level="read_uncommitted")]
        check(sorted(seen, key=int) == everything, f"read_uncommitted: {len(seen)} records of 1200")
    return None


def exactly_once(world):
    """Read, copy, commit in one transaction, while the server and a worker are killed: the copy has each record once."""
    if ADD_PARTITIONS_TO_TXN not in server.offered():
        return "skip: the server does not offer transactions"
    source, target = world.topic("eos-in", 3), world.topic("eos-out", 3)
    dying = Process(world.version)
    try:
        for process, name in ((dying, "eos-dying"), (world.main, "eos-staying")):
            process.tell(do="transform", name=name, **{"from": source}, to=target, id=f"{name}-{world.tag}",
                         config=world.member(source, isolation_level="read_committed"))
        world.write(source, 0, 1500, 3)
        until(lambda: dying.assigned("eos-dying") and world.main.assigned("eos-staying"), "no shares")
        dying.kill()
        server.kill()
        server.start()
        world.write(source, 1500, 1500, 3)

        def copied():
            return sorted(int(record[3]) for record in world.read(target, isolation_level="read_committed"))

        end = time.monotonic() + 2 * SECONDS
        while len(copied()) < 3000 and time.monotonic() < end:
            time.sleep(1)
        world.leave("eos-staying")
        counted(copied(), 3000, 0)
        return None
    finally:
        dying.close()


# ---- compaction ----


def latest_per_key(world):
    """A compacted topic with few keys and many values shrinks, and still gives the latest value of each key."""
    if not [name for name in server.metrics() if name.startswith("eagre_compaction_")]:
        return "skip: the server has no compaction"
    topic = world.topic("compacted", 1, **{"cleanup.policy": "compact", "segment.bytes": "65536", "min.cleanable.dirty.ratio": "0.01",
                                           "segment.ms": "2000"})
    producer = Producer({"bootstrap.servers": server.address, "linger.ms": 1, "batch.num.messages": 50})
    last = {}
    for i in range(20000):
        key = f"k{i % 97}"
        last[key] = f"{i}"
        producer.produce(topic, key=key, value=last[key] if i < 19990 else None)
        producer.poll(0)
        if i >= 19990:
            last.pop(key)
    check(producer.flush(SECONDS) == 0, "flush left messages")
    end = time.monotonic() + SECONDS
    records = world.read(topic)
    while len(records) > 15000 and time.monotonic() < end:
        time.sleep(2)
        records = world.read(topic)
    state = {}
    offsets = [offset for _, offset, _, _ in records]
    check(offsets == sorted(offsets), "offsets go back")
    for _, _, key, value in records:
        state[key] = value
    check({key: value for key, value in state.items() if value is not None} == last, "the latest values differ")
    check(len(records) <= 15000, f"{len(records)} records are left of 20000 with 97 keys")
    return None


TESTS = (
    ("idempotent producer, every codec", idempotent),
    ("members come and go, range", lambda w: come_and_go(w, "range", partition_assignment_strategy="org.apache.kafka.clients.consumer.RangeAssignor")),
    ("members come and go, cooperative", lambda w: come_and_go(w, "sticky", partition_assignment_strategy="org.apache.kafka.clients.consumer.CooperativeStickyAssignor")),
    ("members come and go, consumer protocol", lambda w: consumer_protocol(w, come_and_go, "new")),
    ("a static member restarts", static_member),
    ("a member dies", lambda w: a_member_dies(w, "dies")),
    ("a member dies, consumer protocol", lambda w: consumer_protocol(w, a_member_dies, "new-dies")),
    ("the server dies", lambda w: the_server_dies(w, "killed")),
    ("the server dies, consumer protocol", lambda w: consumer_protocol(w, the_server_dies, "new-killed")),
    ("transactions commit and abort", commit_and_abort),
    ("exactly once through deaths", exactly_once),
    ("compacted to the latest value", latest_per_key),
)

OLDER = ("idempotent producer, every codec", "members come and go, cooperative", "members come and go, consumer protocol", "the server dies",
         "transactions commit and abort")


def main():
    server.start()
    for version in VERSIONS:
        try:
            world = World(version)
        except Unavailable as error:
            suite.run(f"clients of Kafka {version}", lambda why=error: f"skip: {why}")
            continue
        for name, test in TESTS:
            if CI and version != VERSIONS[0] and name not in OLDER:
                continue
            suite.run(f"{version}: {name}", test, world)
        world.main.close()
    suite.run("the server stops", lambda: check(server.stop() == 0, server.log_tail(5)))
    server.close(keep=suite.failed > 0)
    return suite.finish()


if __name__ == "__main__":
    sys.exit(main())
