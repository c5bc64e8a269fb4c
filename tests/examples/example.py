"""What the checks of the examples share: processes of their own, waiting with a limit, reading a topic to its end.

A check starts the example's programs as a user would, kills some of them, and judges what came out. Every child is ended by its pid at
the end, every wait has a limit, every file lies in one temporary directory that stays when something failed."""

import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "tests", "system"))
from server import Server, Suite, binary, free_port  # noqa: E402,F401

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition  # noqa: E402
from confluent_kafka.admin import AdminClient, NewTopic  # noqa: E402

SECONDS = 60
EXAMPLES = os.path.join(ROOT, "deploy", "examples")
API_ADD_PARTITIONS_TO_TXN = 24


def check(condition, text):
    if not condition:
        raise AssertionError(text() if callable(text) else text)


def until(condition, text, seconds=SECONDS):
    """Waits until condition() is true; returns what it gave."""
    end = time.monotonic() + seconds
    while True:
        found = condition()
        if found:
            return found
        check(time.monotonic() < end, lambda: f"after {seconds} s: {text() if callable(text) else text}")
        time.sleep(0.05)


def seed():
    """The run's seed, printed; $SEED repeats a run."""
    number = int(os.environ.get("SEED", "0")) or random.SystemRandom().randrange(1, 1 << 31)
    print(f"seed {number} (repeat with SEED={number})", flush=True)
    return number


class Place:
    """A temporary directory and the processes that were started in it; a context that ends and removes them."""

    def __init__(self, name):
        self.directory = tempfile.mkdtemp(prefix=f"eagre-{name}-")
        self.children = []

    def path(self, name):
        return os.path.join(self.directory, name)

    def start(self, name, command, **options):
        child = Child(self.path(f"{name}.log"), command, **options)
        self.children.append(child)
        return child

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        for child in self.children:
            child.kill()
        if kind is None:
            shutil.rmtree(self.directory, ignore_errors=True)
        else:
            print(f"  kept {self.directory}")
            for path, child in {child.log_path: child for child in self.children}.items():  # the last one of each log
                print(f"  end of {path}:\n{child.tail(8)}")


class Child:
    """One process whose words go to a log."""

    def __init__(self, log_path, command, stdin=None, **options):
        self.log_path = log_path
        self.log_begin = os.path.getsize(log_path) if os.path.exists(log_path) else 0
        with open(log_path, "ab") as log:
            self.process = subprocess.Popen(command, stdin=stdin or subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, **options)

    def alive(self):
        return self.process.poll() is None

    def kill(self):
        """kill -9; nothing when it has ended."""
        if self.alive():
            self.process.send_signal(signal.SIGKILL)
        self.process.wait(SECONDS)

    def stop(self, number=signal.SIGTERM, seconds=SECONDS):
        """Asks it to end; returns the exit status."""
        if self.alive():
            self.process.send_signal(number)
        return self.process.wait(seconds)

    def wait(self, seconds=SECONDS):
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"{self.log_path}: still at work after {seconds} s:\n{self.tail()}") from None

    def text(self):
        """What this process (not an earlier one with the same log) has said."""
        with open(self.log_path, encoding="utf-8", errors="replace") as log:
            log.seek(self.log_begin)
            return log.read()

    def tail(self, lines=15):
        return "".join("    " + line for line in self.text().splitlines(True)[-lines:])


def create(server, topic, partitions, **config):
    client = AdminClient({"bootstrap.servers": server.address, "log_level": 3})
    settings = {name.replace("_", "."): str(value) for name, value in config.items()}
    client.create_topics([NewTopic(topic, partitions, 1, config=settings)], request_timeout=SECONDS)[topic].result(SECONDS)


def serves_compaction(server):
    """Does the server take cleanup.policy=compact? Tried on a topic that is of no other use."""
    try:
        create(server, "compaction-probe", 1, cleanup_policy="compact")
    except KafkaException as refusal:
        if refusal.args[0].code() != KafkaError.INVALID_CONFIG:
            raise
        return False
    return True


def create_compacted(server, topic, partitions=1):
    """A topic that keeps the latest record of each key; where the server has no compaction yet, one that keeps all."""
    create(server, topic, partitions, **({"cleanup_policy": "compact"} if serves_compaction(server) else {"retention_ms": -1}))


class Tail:
    """A topic's records as a reader of one isolation sees them; read() takes in what has come since the last call."""

    def __init__(self, address, topic, isolation="read_committed"):
        self.address = address
        self.topic = topic
        self.isolation = isolation
        self.found = {}  # partition -> messages in order

    def read(self, seconds=SECONDS):
        reader = Consumer({"bootstrap.servers": self.address, "group.id": "examples-check", "enable.auto.commit": False,
                           "enable.partition.eof": True, "isolation.level": self.isolation, "auto.offset.reset": "error"})
        try:
            for partition in reader.list_topics(self.topic, timeout=seconds).topics[self.topic].partitions:
                self.found.setdefault(partition, [])
            reader.assign([TopicPartition(self.topic, p, known[-1].offset() + 1 if known else 0) for p, known in self.found.items()])
            self.take(reader, set(self.found), time.monotonic() + seconds)
        finally:
            reader.close()
        return self.found

    def take(self, reader, open_ends, end):
        while open_ends:
            check(time.monotonic() < end, lambda: f"{self.topic}: no end of partitions {sorted(open_ends)} in time")
            for message in reader.consume(5000, 0.1):
                if message.error() is None:
                    self.found[message.partition()].append(message)
                elif message.error().code() == KafkaError._PARTITION_EOF:
                    open_ends.discard(message.partition())
                else:
                    raise KafkaException(message.error())

    def count(self):
        return sum(map(len, self.read().values()))


def read_all(address, topic, isolation="read_committed"):
    """All records of a topic as messages, {partition: [in order]}, up to the end that a reader of that isolation sees."""
    return Tail(address, topic, isolation).read()


def serves_transactions(server):
    """Does the server advertise AddPartitionsToTxn? Asked by hand: ApiVersions v0."""
    import socket
    import struct
    with socket.create_connection(("127.0.0.1", server.kafka_port), timeout=SECONDS) as connection:
        stream = connection.makefile("rb")
        connection.sendall(struct.pack(">ihhih", 10, 18, 0, 1, -1))
        body = stream.read(struct.unpack(">i", stream.read(4))[0])
    count = struct.unpack(">i", body[6:10])[0]
    keys = [struct.unpack(">h", body[10 + 6 * i:12 + 6 * i])[0] for i in range(count)]
    return API_ADD_PARTITIONS_TO_TXN in keys
