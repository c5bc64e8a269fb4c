"""Compacted topics as real clients meet them, against one server process that is killed and restarted.

Goal: after a million updates of a thousand keys, a reader from the start finds the newest value of each key, in the order of offsets,
and far fewer records than were written; tombstones go; nothing comes back after kill -9. Method: confluent-kafka writes in several
codecs, the server's metrics say when compaction has come to its end, confluent-kafka and kcat read back."""

import os
import random
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "system"))
from server import Server, Suite, binary  # noqa: E402

from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition  # noqa: E402
from confluent_kafka.admin import AdminClient, NewTopic  # noqa: E402

SECONDS = 60
RECORDS = int(os.environ.get("CLIENTS_RECORDS", 1000000))
KEYS = 1000

server = Server()
suite = Suite("compaction")
seed = random.randrange(1 << 32)
chance = random.Random(seed)
newest = {}


def check(condition, text):
    if not condition:
        raise AssertionError(text)


def metric(name):
    return sum(value for sample, value in server.metrics().items() if sample.split("{")[0] == name)


def create(topic, **config):
    client = AdminClient({"bootstrap.servers": server.address})
    settings = {"cleanup.policy": "compact", "segment.bytes": str(1 << 20), "min.cleanable.dirty.ratio": "0.05"}
    settings.update({key.replace("_", "."): str(value) for key, value in config.items()})
    client.create_topics([NewTopic(topic, 1, 1, config=settings)], request_timeout=SECONDS)[topic].result()


def write(topic, count, codec, make):
    failed = []
    client = Producer({"bootstrap.servers": server.address, "linger.ms": 5, "compression.type": codec,
                       "enable.idempotence": True, "queue.buffering.max.messages": 200000})

    def told(error, _):
        if error is not None:
            failed.append(error)

    for i in range(count):
        key, value = make(i)
        while True:
            try:
                client.produce(topic, value, key, on_delivery=told)
                break
            except BufferError:
                client.poll(0.1)
        if i % 1000 == 0:
            client.poll(0)
    check(client.flush(SECONDS) == 0 and not failed, f"{len(failed)} failed: {failed[:1]}")


def wait_until_clean(runs):
    """Until one more run has ended and nothing is left that may be compacted."""
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        if metric("eagre_compaction_runs_total") > runs and metric("eagre_compaction_dirty_bytes") == 0:
            return
        time.sleep(0.5)
    raise AssertionError(f"not clean: {({k: v for k, v in server.metrics().items() if 'compaction' in k})}")


def read(topic):
    """[(offset, key, value)] from the start to the end."""
    client = Consumer({"bootstrap.servers": server.address, "group.id": "reader", "enable.partition.eof": True,
                       "enable.auto.commit": False, "check.crcs": True})
    client.assign([TopicPartition(topic, 0, 0)])
    found = []
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        for message in client.consume(10000, 1):
            if message.error() is None:
                found.append((message.offset(), message.key(), message.value()))
            elif message.error().code() == KafkaError._PARTITION_EOF:
                client.close()
                return found
            else:
                raise KafkaException(message.error())
    raise AssertionError("no end of the partition")


def check_newest(found, want):
    got = {}
    last = -1
    for offset, key, value in found:
        check(offset > last, f"offset {offset} behind {last}")
        last = offset
        got[key] = value
    lost = {key: value for key, value in want.items() if got.get(key) != value}
    check(not lost, f"{len(lost)} of {len(want)} keys differ (seed {seed}), as {next(iter(lost.items()), None)}")


def a_record_without_key_is_refused():
    create("keyless")
    client = Producer({"bootstrap.servers": server.address, "compression.type": "none"})
    answers = []
    client.produce("keyless", b"value", on_delivery=lambda error, _: answers.append(error))
    client.flush(SECONDS)
    check(len(answers) == 1 and answers[0] is not None and answers[0].code() == KafkaError.INVALID_RECORD, str(answers))


def the_newest_of_each_key_is_left():
    create("updates")
    runs = metric("eagre_compaction_runs_total")

    def make(i):
        key = f"key-{chance.randrange(KEYS)}".encode()
        newest[key] = f"value-{i}-".encode() + b"x" * chance.randrange(80)
        return key, newest[key]

    for codec in ("none", "lz4", "zstd", "snappy", "gzip"):
        write("updates", RECORDS // 5, codec, make)
    wait_until_clean(runs)
    found = read("updates")
    check_newest(found, newest)
    check(len(found) < RECORDS * 0.9, f"{len(found)} of {RECORDS} records are left")
    check(metric("eagre_compaction_records_removed_total") >= RECORDS - len(found), "records removed")
    check(metric("eagre_compaction_failures_total") == 0, "no failure")
    print(f"  {RECORDS} records of {KEYS} keys, {len(found)} left, "
          f"{int(metric('eagre_compaction_bytes_read_total')) >> 20} MiB read, "
          f"{int(metric('eagre_compaction_bytes_written_total')) >> 20} MiB written")


def kcat_reads_the_same():
    text = subprocess.run(["kcat", "-b", server.address, "-t", "updates", "-C", "-o", "beginning", "-e", "-q", "-f", "%o\t%k\t%s\n"],
                          capture_output=True, timeout=SECONDS, check=True).stdout
    rows = [line.split(b"\t") for line in text.splitlines()]
    check_newest([(int(offset), key, value) for offset, key, value in rows], newest)


def nothing_comes_back_after_a_kill():
    before = read("updates")
    server.kill()
    server.start()
    check(read("updates") == before, "another content after kill -9")


def tombstones_go_when_their_time_has_passed():
    create("deleted", delete_retention_ms=1000)
    runs = metric("eagre_compaction_runs_total")
    write("deleted", 50000, "none", lambda i: (f"k{i % 500}".encode(), b"y" * 100))
    write("deleted", 500, "none", lambda i: (f"k{i}".encode(), None))
    for turn in range(2):
        write("deleted", 50000, "lz4", lambda i: (f"other{i % 500}".encode(), os.urandom(100)))
        wait_until_clean(runs + turn)
        time.sleep(1.5)
    found = read("deleted")
    left = [row for row in found if row[1].startswith(b"k")]
    check(not left, f"{len(left)} records of deleted keys are left, as {left[:2]}")


def the_policy_is_shown():
    text = subprocess.run([binary(), "topic", "describe", "updates", "--server", server.address],
                          capture_output=True, text=True, timeout=SECONDS).stdout
    check("cleanup.policy" in text and "compact" in text, text)


def main():
    server.start()
    suite.run("a record without key is refused", a_record_without_key_is_refused)
    suite.run("the newest of each key is left", the_newest_of_each_key_is_left)
    suite.run("kcat reads the same", kcat_reads_the_same)
    suite.run("the policy is shown", the_policy_is_shown)
    suite.run("nothing comes back after a kill", nothing_comes_back_after_a_kill)
    suite.run("tombstones go when their time has passed", tombstones_go_when_their_time_has_passed)
    server.close(keep=suite.failed > 0)
    return suite.finish()


if __name__ == "__main__":
    sys.exit(main())
