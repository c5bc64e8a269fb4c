#!/usr/bin/python3
"""Every metric that engine/metrics/metrics.def promises is exported, and the ones that a client can check are true.

Method: one server is driven by a Kafka client and by raw sockets so that each metric has a reason to move: batches taken and refused,
fetches that wait, a connection too many, segments that roll, transactions that end either way, clients beyond their limits, a topic
deleted, a clean restart, a kill and a segment that is damaged before it is compacted. At the end each name in
metrics.def must have had a sample; label values of zero are not exported, so a labelled metric counts as seen when any of its values was.

Run alone: $EAGRE names the server, else build/release/eagre. Ends: N passed, M failed."""

import os
import re
import signal
import socket
import struct
import sys
import time

import server
import wire

try:
    from confluent_kafka import Consumer, Producer, TopicPartition
    from confluent_kafka.admin import AdminClient, ConfigResource, NewTopic
except ImportError:
    print("SKIP check_metrics: wants python3-confluent-kafka")
    print("0 passed, 0 failed")
    sys.exit(0)

RECORDS = 300
VALUE = b"v" * 1000
PARTITIONS = 3
INTERNAL = 2  # the logs of metadata and, once a group has committed, of consumer groups
BULK_BYTES = 24 << 20
UNKNOWN_TOPIC = 3  # Kafka's error code
SECONDS_MAX = 30


def promised():
    """Names of metrics.def: {name: labelled}."""
    path = os.path.join(server.ROOT, "engine", "metrics", "metrics.def")
    with open(path) as table:
        text = table.read()
    names = {}
    for name, label in re.findall(r'^METRIC\(\w+, "(\w+)", \w+, [\w |]+, "(\w*)"', text, re.M):
        names[name] = label != ""
    for name in re.findall(r'^HISTOGRAM\(\w+, "(\w+)"', text, re.M):
        names[name + "_count"] = False
    for name in re.findall(r'^GROUP_METRIC\(\w+, "(\w+)"', text, re.M):
        names[name] = True
    for name in re.findall(r'^PARTITION_METRIC\(\w+, "(\w+)"', text, re.M):
        names[name] = True
    return names


class Watch:
    """Reads the exporter and remembers every name that ever had a sample."""

    def __init__(self, target):
        self.target = target
        self.seen = set()

    def read(self):
        samples = self.target.metrics()
        self.seen.update(name.split("{")[0] for name in samples)
        return samples

    def total(self, name, **labels):
        """Sum over the samples of a name with these labels."""
        found = 0
        for sample, value in self.read().items():
            if sample.split("{")[0] == "eagre_" + name and all(f'{k}="{v}"' in sample for k, v in labels.items()):
                found += value
        return found

    def until(self, what, condition):
        end = time.monotonic() + SECONDS_MAX
        while not condition():
            if time.monotonic() > end:
                raise AssertionError(f"not after {SECONDS_MAX} s: {what}")
            time.sleep(0.05)


def expect(actual, expected, what):
    if actual != expected:
        raise AssertionError(f"{what}: {actual}, expected {expected}")


def produce(address, topic, count, value=VALUE, **settings):
    failures = []
    producer = Producer({"bootstrap.servers": address, "linger.ms": 1, "message.timeout.ms": 60000, **settings})
    for index in range(count):
        producer.produce(topic, value, partition=index % PARTITIONS,
                         on_delivery=lambda error, _: failures.append(error) if error else None)
        producer.poll(0)
    expect(producer.flush(60), 0, "records not acknowledged")
    expect(failures, [], "failures")


def consume(address, topic, count):
    """Reads count records from the beginning of all partitions; then waits in vain for more."""
    consumer = Consumer({"bootstrap.servers": address, "group.id": "unused", "enable.auto.commit": False,
                         "fetch.wait.max.ms": 100})
    consumer.assign([TopicPartition(topic, partition, 0) for partition in range(PARTITIONS)])
    got = 0
    end = time.monotonic() + SECONDS_MAX
    while got < count and time.monotonic() < end:
        message = consumer.poll(0.2)
        if message is not None and not message.error():
            got += 1
    for _ in range(5):
        consumer.poll(0.1)
    consumer.close()
    expect(got, count, "records read")


def create(address, topic, **config):
    admin = AdminClient({"bootstrap.servers": address})
    futures = admin.create_topics([NewTopic(topic, num_partitions=PARTITIONS, replication_factor=1, config=config)])
    for future in futures.values():
        future.result(SECONDS_MAX)


def raw_produce(port, topic):
    """A Produce request, version 3, with one byte of records for partition 0; returns the error code answered."""
    name = topic.encode()
    body = struct.pack(">hhi", -1, -1, 1000) + struct.pack(">ih", 1, len(name)) + name
    body += struct.pack(">iii", 1, 0, 1) + b"x"
    header = struct.pack(">hhih", 0, 3, 7, -1)
    with socket.create_connection(("127.0.0.1", port), timeout=10) as stream:
        stream.sendall(struct.pack(">i", len(header) + len(body)) + header + body)
        answer = b""
        while len(answer) < 4 or len(answer) < 4 + struct.unpack_from(">i", answer)[0]:
            piece = stream.recv(4096)
            if not piece:
                raise AssertionError("the connection was closed")
            answer += piece
    return struct.unpack_from(">h", answer, 4 + 4 + 4 + 2 + len(name) + 4 + 4)[0]


def appends(target, watch):
    create(target.address, "orders")
    before = watch.read()
    produce(target.address, "orders", RECORDS, **{"enable.idempotence": True})
    for name in ("partition_records_in_total", "partition_high_watermark"):
        expect(watch.total(name, topic="orders"), RECORDS, name)
    batches = watch.total("partition_batches_in_total", topic="orders")
    grown = watch.total("records_appended_total") - sum(
        value for name, value in before.items() if name.startswith("eagre_records_appended_total"))
    if not RECORDS <= grown <= RECORDS + 10:  # the metadata log may add a few
        raise AssertionError(f"records_appended_total grew by {grown}")
    if watch.total("partition_bytes_in_total", topic="orders") < RECORDS * len(VALUE):
        raise AssertionError("partition_bytes_in_total is too small")
    if not 0 < batches <= RECORDS or watch.total("batches_appended_total") < batches:
        raise AssertionError(f"batches: {batches}")
    expect(watch.total("partition_start_offset", topic="orders"), 0, "start offset")
    expect(watch.total("partition_state", topic="orders"), 0, "state")
    if watch.total("producers") < 1:
        raise AssertionError("no idempotent producer is counted")
    expect(watch.total("partitions_online"), PARTITIONS + 1, "partitions online, the metadata log's among them")


def groups(_, watch):
    count = watch.total("commit_groups_total")
    expect(watch.total("commit_group_latency_seconds_count"), count, "latencies of groups")
    expect(watch.total("commit_group_bytes_count"), count, "sizes of groups")
    if watch.total("commit_group_entries_total") < count or watch.total("journal_padding_bytes_total") < count * 4096:
        raise AssertionError("entries or padding of groups are too few")


def reads(target, watch):
    consume(target.address, "orders", RECORDS)
    if watch.total("reads_tail_total") == 0 or watch.total("bytes_read_tail_total") < RECORDS * len(VALUE):
        raise AssertionError("reads from memory are not counted")
    if watch.total("fetches_woken_total", cause="timeout") == 0:
        raise AssertionError("fetches that waited in vain are not counted")
    watch.until("no fetch waits", lambda: watch.total("fetches_parked") == 0)


def requests(target, watch):
    for api in ("Produce", "Fetch", "Metadata", "ApiVersions", "CreateTopics", "InitProducerId"):
        if watch.total("requests_total", api=api) == 0:
            raise AssertionError(f"{api} is not counted")
    expect(watch.total("produce_latency_seconds_count"), watch.total("requests_total", api="Produce"), "latencies of Produce")
    if watch.total("fetch_latency_seconds_count") == 0 or watch.total("produce_latency_seconds_sum") <= 0:
        raise AssertionError("latencies are missing")


def refusals(target, watch):
    expect(raw_produce(target.kafka_port, "nowhere"), UNKNOWN_TOPIC, "error answered")
    watch.until("the refusal is told", lambda: watch.total("batches_refused_total", reason="unknown") == 1)
    watch.until("the error is told", lambda: watch.total("request_errors_total", error=UNKNOWN_TOPIC) == 1)


def connections(target, watch):
    limit = 16
    streams = [socket.create_connection(("127.0.0.1", target.kafka_port), timeout=10) for _ in range(limit + 4)]
    watch.until("connections are refused", lambda: watch.total("connections_refused_total", reason="limit") >= 4)
    expect(watch.total("connections_open"), limit, "connections open")
    for stream in streams:
        stream.close()
    watch.until("all are closed", lambda: watch.total("connections_open") == 0)
    accepted = watch.total("connections_accepted_total")
    expect(watch.total("connections_closed_total"), accepted, "connections closed")
    if watch.total("bytes_received_total") == 0 or watch.total("bytes_sent_total") == 0:
        raise AssertionError("bytes of connections are not counted")


def bulk(target, watch):
    """More than the journal and a segment hold: flushes, rolls, reclaims, checkpoints, back-pressure."""
    create(target.address, "bulk", **{"segment.bytes": str(1 << 20)})
    value = b"b" * 200000
    produce(target.address, "bulk", BULK_BYTES // len(value), value=value)
    watch.until("segments roll", lambda: watch.total("segments_rolled_total") > 0)
    watch.until("journal files are reclaimed", lambda: watch.total("journal_reclaims_total") > 0)
    if watch.total("checkpoints_written_total") < 2 or watch.total("checkpoint_bytes_total") == 0:
        raise AssertionError("checkpoints are not counted")
    if watch.total("runs_flushed_total") == 0 or watch.total("bytes_flushed_total") < BULK_BYTES // 2:
        raise AssertionError("flushed runs are not counted")
    if watch.total("disk_jobs_total") == 0 or watch.total("disk_job_latency_seconds_count") != watch.total("disk_jobs_total"):
        raise AssertionError("disk jobs are not counted")
    if watch.total("append_backpressure_total") == 0:
        raise AssertionError("back-pressure is not counted")
    if watch.total("tail_cache_bytes") == 0:
        raise AssertionError("the tail cache is empty")


def native_door(target, watch):
    """What strangers send to the native door: a JOIN that is none, datagrams without a session, more than the kernel's buffer holds."""
    tiles = [tile for core in target.json("/api/v1/tiles")["cores"] for tile in core["tiles"]]
    address = ("127.0.0.1", next(tile["native"]["port"] for tile in tiles if "native" in tile))
    with socket.create_connection(address, timeout=SECONDS_MAX) as stream:
        stream.sendall(b"\xff" * 16)
        while stream.recv(4096):
            pass
    watch.until("a JOIN that is none is counted", lambda: watch.total("native_joins_refused_total", reason="protocol") == 1)
    expect(watch.total("native_joins_total"), 1, "control connections")
    hello = struct.pack("<BBHIQQ", 0x11, 0, 1200, 0x12345600, 1, 0).ljust(1200, b"\0")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
        stranger.sendto(b"nothing of ours", address)
        for _ in range(5):
            stranger.sendto(hello, address)
        watch.until("datagrams of strangers are counted", lambda: watch.total("native_packets_dropped_total") == 6)
        expect(watch.total("native_packets_sent_total"), 0, "answers to strangers")
        os.kill(target.process.pid, signal.SIGSTOP)
        try:
            for _ in range(16000):
                stranger.sendto(hello, address)
        finally:
            os.kill(target.process.pid, signal.SIGCONT)

        def lost():  # the kernel tells with the next datagram
            stranger.sendto(hello, address)
            return watch.total("native_packets_lost_total", cause="carrier") > 0
        watch.until("the carrier's losses are counted", lost)
    received = watch.total("native_packets_received_total")
    watch.until("all of them are dropped", lambda: watch.total("native_packets_dropped_total") >= received)


def consumer_groups(target, watch):
    """One member that comes, commits and goes."""
    member = Consumer({"bootstrap.servers": target.address, "group.id": "watched", "enable.auto.commit": False, "auto.offset.reset": "earliest"})
    member.subscribe(["orders"])
    message = None
    end = time.monotonic() + 30
    while (message is None or message.error()) and time.monotonic() < end:
        message = member.poll(0.5)
    before = watch.total("group_commits_total")
    member.commit(message=message, asynchronous=False)
    expect(watch.total("group_commits_total") - before, 1, "group_commits_total")
    member.close()
    watch.until("its rebalances are counted", lambda: watch.total("group_rebalances_total") >= 2)
    watch.until("the group is empty", lambda: watch.total("groups", state="empty") >= 1 and watch.total("groups", state="stable") == 0)


def transactions(target, watch):
    """Two that end, either way, and one that a new producer of the same id puts an end to."""
    settings = {"bootstrap.servers": target.address, "transactional.id": "watched"}
    producer = Producer(settings)
    producer.init_transactions(SECONDS_MAX)
    expect(watch.total("transactions", state="empty"), 1, "ids without a transaction yet")
    create(target.address, "ended")
    for commit in (True, False):
        producer.begin_transaction()
        producer.produce("ended", b"v", partition=0)
        expect(producer.flush(SECONDS_MAX), 0, "records not acknowledged")
        expect(watch.total("transactions", state="ongoing"), 1, "open transactions")
        expect(watch.total("transactions_open"), 1, "open transactions in partitions")
        if commit:
            producer.commit_transaction(SECONDS_MAX)
        else:
            producer.abort_transaction(SECONDS_MAX)
        kind = "commit" if commit else "abort"
        watch.until(f"the {kind} is complete", lambda: watch.total("transactions", state=f"complete_{kind}") == 1)
        watch.until("its marker is counted", lambda: watch.total("transaction_markers_total", kind=kind) == 1)
    expect(watch.total("transaction_commits_total"), 1, "commits")
    expect(watch.total("transaction_aborts_total", reason="producer"), 1, "aborts")
    producer.begin_transaction()
    producer.produce("ended", b"v", partition=0)
    expect(producer.flush(SECONDS_MAX), 0, "records not acknowledged")
    Producer(settings).init_transactions(SECONDS_MAX)
    expect(watch.total("transaction_aborts_total", reason="fenced"), 1, "aborts of a former producer")
    watch.until("nothing is open", lambda: watch.total("transactions_open") == 0)


def quotas(target, watch):
    connection = wire.Connection(target)
    answer = connection.call("ALTER_CLIENT_QUOTAS", 1, entries=[
        {"entity": [{"entity_type": "client-id", "entity_name": "slow"}],
         "ops": [{"key": "producer_byte_rate", "value": 20000.0, "remove": False}]}])
    connection.close()
    expect(answer["entries"][0]["error"], 0, "the limit is taken")
    produce(target.address, "orders", 100, **{"client.id": "slow", "batch.num.messages": 10})
    if watch.total("quota_throttles_total", quota="produce") == 0:
        raise AssertionError("pauses are not counted")
    if watch.total("quota_throttle_nanoseconds_total", quota="produce") < 1e9:  # 100 kB at 20 kB/s
        raise AssertionError("the time of pauses is not counted")
    expect(watch.total("quota_throttles_total", quota="fetch"), 0, "pauses of readers")


def deletion(target, watch):
    admin = AdminClient({"bootstrap.servers": target.address})
    for future in admin.delete_topics(["bulk"], operation_timeout=SECONDS_MAX).values():
        future.result(SECONDS_MAX)
    watch.until("segments are deleted", lambda: watch.total("segments_deleted_total", cause="topic") >= PARTITIONS)
    if watch.total("bytes_deleted_total") < BULK_BYTES // 2:  # what was in memory alone is no segment
        raise AssertionError("deleted bytes are too few")
    watch.until("partitions are gone", lambda: watch.total("partitions_online") == PARTITIONS + INTERNAL)


def clean_restart(target, watch):
    expect(target.stop(), 0, "exit status")
    target.start()
    expect(watch.total("recovery_groups"), 0, "recovery_groups")
    expect(watch.total("recovery_journal_bytes"), 0, "recovery_journal_bytes")
    expect(watch.total("recovery_partitions"), PARTITIONS + INTERNAL, "recovery_partitions")
    if watch.total("recovery_duration_nanoseconds") == 0:
        raise AssertionError("recovery took no time")
    expect(watch.total("partition_high_watermark", topic="orders"), RECORDS, "high watermark")
    consume(target.address, "orders", RECORDS)
    if watch.total("reads_cold_total") == 0 or watch.total("bytes_read_cold_total") < RECORDS * len(VALUE):
        raise AssertionError("reads from segments are not counted")


def killed(target, watch):
    produce(target.address, "orders", 30)
    target.kill()
    target.start()
    if watch.total("recovery_groups") == 0 or watch.total("recovery_journal_bytes") < 30 * len(VALUE):
        raise AssertionError("what was replayed is not counted")
    expect(watch.total("partition_high_watermark", topic="orders"), RECORDS + 30, "high watermark")
    expect(watch.total("partition_records_in_total", topic="orders"), 0, "records taken by this process")


def damaged_before_compaction(target, watch):
    """Damage that compaction meets is counted by its reason; recovery reads no batch of a sealed segment and cannot meet it first."""
    create(target.address, "states", **{"cleanup.policy": "compact", "segment.bytes": str(1 << 20),
                                        "min.compaction.lag.ms": str(1 << 40), "min.cleanable.dirty.ratio": "0"})
    needle = b"here it will be damaged"
    producer = Producer({"bootstrap.servers": target.address, "message.timeout.ms": 60000})
    for index in range(40):
        producer.produce("states", needle + b"s" * 100000, key=str(index % 4), partition=0)
    expect(producer.flush(60), 0, "records not acknowledged")
    expect(target.stop(), 0, "exit status")
    paths = [os.path.join(folder, name) for folder, _, names in os.walk(target.data) for name in names if name.endswith(".seg")]
    damaged = 0
    for path in sorted(paths):
        with open(path, "r+b") as segment:
            at = segment.read().find(needle)
            if at >= 0 and damaged == 0:
                segment.seek(at)
                segment.write(b"H")
                damaged += 1
    expect(damaged, 1, "segments damaged")
    target.start()
    expect(watch.total("compaction_failures_total"), 0, "failures before it may be compacted")
    admin = AdminClient({"bootstrap.servers": target.address})
    for future in admin.alter_configs([ConfigResource("topic", "states", set_config={
            "cleanup.policy": "compact", "segment.bytes": str(1 << 20), "min.cleanable.dirty.ratio": "0"})]).values():
        future.result(SECONDS_MAX)
    watch.until("the failure is counted", lambda: watch.total("compaction_failures_total", reason="corrupt") == 1)
    expect(watch.total("compaction_failures_total"), 1, "failures")


def budget(_, watch):
    committed = watch.total("memory_committed_bytes")
    if not 0 < committed <= watch.total("memory_budget_bytes"):
        raise AssertionError(f"memory committed: {committed}")


def nothing_is_absent(_, watch):
    watch.read()
    names = promised()
    if len(names) < 40:
        raise AssertionError("metrics.def was not understood")
    absent = sorted(name for name in names if "eagre_" + name not in watch.seen)
    expect(absent, [], "promised and never exported")


def main():
    suite = server.Suite("metrics")
    target = server.Server("--connections_max", "16", "--memory", "512MiB")
    watch = Watch(target)
    tests = [appends, groups, reads, requests, refusals, connections, bulk, native_door, consumer_groups, deletion, clean_restart,
             killed, quotas, transactions, damaged_before_compaction, budget, nothing_is_absent]
    try:
        target.start()
        for test in tests:
            suite.run(test.__name__.replace("_", " "), test, target, watch)
    finally:
        target.close(keep=suite.failed > 0)
    return suite.finish()


if __name__ == "__main__":
    sys.exit(main())
