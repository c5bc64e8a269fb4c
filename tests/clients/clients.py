"""kcat, the command line (librdkafka in C), confluent-kafka and kafka-python against one server process.

Goal: clients that know nothing of Eagre work unchanged. Method: each client writes and reads with keys, headers and every codec,
and reads what the others wrote; admin calls and error answers are compared with what Kafka would say."""

import os
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "system"))
from server import Server, Suite, binary  # noqa: E402

from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition  # noqa: E402
from confluent_kafka.admin import AdminClient, ConfigResource, NewPartitions, NewTopic  # noqa: E402
import kafka  # noqa: E402
from kafka.admin import ConfigResource as PyConfigResource  # noqa: E402
from kafka.admin import ConfigResourceType, KafkaAdminClient  # noqa: E402
from kafka.admin import NewTopic as PyNewTopic  # noqa: E402

CODECS = ["none", "gzip", "snappy", "lz4", "zstd"]
SECONDS = 30

server = Server()
suite = Suite("clients")


def check(condition, text):
    if not condition:
        raise AssertionError(text)


def command(*words, stdin=b"", status=0):
    done = subprocess.run(words, input=stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=SECONDS)
    check(done.returncode == status, f"{' '.join(words)} gave {done.returncode}: {done.stderr.decode()[-400:]}")
    return done.stdout


def cli(*words, stdin=b"", status=0):
    return command(binary(), *words, "--server", server.address, stdin=stdin, status=status)


def consumer():
    return Consumer({"bootstrap.servers": server.address, "group.id": "tests", "enable.auto.commit": False,
                     "auto.offset.reset": "error", "enable.partition.eof": True})


def read_all(topic, partition=0, offset=0):
    """Everything of one partition from offset on, through confluent-kafka."""
    reader = consumer()
    reader.assign([TopicPartition(topic, partition, offset)])
    found = []
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        message = reader.poll(1.0)
        if message is None:
            continue
        if message.error():
            check(message.error().code() == KafkaError._PARTITION_EOF, str(message.error()))
            reader.close()
            return found
        found.append(message)
    raise AssertionError(f"{topic}: no end of partition after {SECONDS} s, {len(found)} records read")


def admin():
    return AdminClient({"bootstrap.servers": server.address})


def create(topic, partitions=1, **config):
    client = admin()
    futures = client.create_topics([NewTopic(topic, partitions, 1, config=config)], request_timeout=SECONDS)
    futures[topic].result()


# ---- kcat ----

def kcat_codec(codec):
    topic = f"kcat-{codec}"
    lines = [f"key{i}|value {i} {'x' * (i % 200)}" for i in range(500)]
    command("kcat", "-P", "-b", server.address, "-t", topic, "-K", "|", "-z", codec, "-X", "acks=all",
            "-H", "source=kcat", stdin="\n".join(lines).encode())
    out = command("kcat", "-C", "-b", server.address, "-t", topic, "-e", "-q", "-o", "beginning", "-K", "|")
    check(out.decode().split("\n")[:-1] == lines, "read back differs")
    headers = command("kcat", "-C", "-b", server.address, "-t", topic, "-e", "-q", "-c", "3", "-f", "%h\\n")
    check(headers == b"source=kcat\n" * 3, f"headers: {headers!r}")


def kcat_metadata():
    out = command("kcat", "-L", "-b", server.address, "-t", "kcat-none").decode()
    check("topic \"kcat-none\" with 1 partitions" in out, out)
    check(server.address in out, "the advertised address is missing: " + out)


# ---- command line ----

def cli_round_trip():
    cli("topic", "create", "cli", "--partitions", "3")
    listed = cli("topic", "list").decode()
    check("cli" in listed and "3 partitions" in listed, listed)
    lines = [f"k{i};line {i}" for i in range(2000)]
    cli("produce", "cli", "--key-separator", ";", "--idempotent", "--codec", "lz4", "--header", "a=b",
        stdin="\n".join(lines).encode())
    got = cli("consume", "cli", "--key-separator", ";").decode().split("\n")[:-1]
    check(sorted(got) == sorted(lines), f"{len(got)} of {len(lines)} records")
    described = cli("topic", "describe", "cli").decode()
    check("eagre.durability=device" in described, described)
    cli("topic", "delete", "cli")
    check(b"cli\n" not in cli("topic", "list"), "still listed after delete")


def cli_errors():
    cli("topic", "describe", "no-such-topic", status=4)
    cli("topic", "create", "bad/name", status=1)
    cli("topic", "create", "zero", "--partitions", "0", status=2)
    cli("consume", "x", "--no-such-option", status=2)
    command(binary(), "topic", "list", "--server", "127.0.0.1:1", status=3)


# ---- confluent-kafka ----

def confluent_codec(codec):
    topic = f"confluent-{codec}"
    create(topic)
    producer = Producer({"bootstrap.servers": server.address, "compression.type": codec, "acks": "all", "linger.ms": 20})
    acked = []
    for i in range(3000):
        producer.produce(topic, key=f"k{i}", value=f"value {i} " + "y" * (i % 300), headers=[("n", str(i)), ("empty", b"")],
                         timestamp=1700000000000 + i, on_delivery=lambda error, message: acked.append((error, message.offset())))
    check(producer.flush(SECONDS) == 0, "flush left messages")
    check(all(error is None for error, _ in acked) and len(acked) == 3000, "delivery errors")
    check(sorted(offset for _, offset in acked) == list(range(3000)), "offsets of the acknowledgements")
    found = read_all(topic)
    check([m.offset() for m in found] == list(range(3000)), "offsets read")
    check(all(m.value() == (f"value {i} " + "y" * (i % 300)).encode() and m.key() == f"k{i}".encode()
              and m.headers() == [("n", str(i).encode()), ("empty", b"")] and m.timestamp()[1] == 1700000000000 + i
              for i, m in enumerate(found)), "contents differ")


def confluent_large_record():
    create("large", **{"max.message.bytes": "4194304"})
    producer = Producer({"bootstrap.servers": server.address, "message.max.bytes": 4000000})
    values = [os.urandom(1 << 20), os.urandom(3 << 20), b"small"]
    for value in values:
        producer.produce("large", value)
    check(producer.flush(SECONDS) == 0, "flush left messages")
    reader = Consumer({"bootstrap.servers": server.address, "group.id": "large", "enable.auto.commit": False, "enable.partition.eof": True})
    reader.assign([TopicPartition("large", 0, 0)])
    found = []
    end = time.monotonic() + SECONDS
    while len(found) < 3 and time.monotonic() < end:
        message = reader.poll(1.0)
        if message is not None and not message.error():
            found.append(message.value())
    reader.close()
    check(found == values, f"{[len(v) for v in found]}")


def confluent_too_large():
    create("limited", **{"max.message.bytes": "2000"})
    producer = Producer({"bootstrap.servers": server.address})
    errors = []
    producer.produce("limited", b"z" * 5000, on_delivery=lambda error, message: errors.append(error))
    producer.produce("limited", b"fits", on_delivery=lambda error, message: errors.append(error))
    producer.flush(SECONDS)
    codes = [error.code() if error else 0 for error in errors]
    check(KafkaError.MSG_SIZE_TOO_LARGE in codes, f"{codes}")


def confluent_idempotent():
    create("idempotent", 4)
    producer = Producer({"bootstrap.servers": server.address, "enable.idempotence": True, "linger.ms": 1})
    for i in range(20000):
        producer.produce("idempotent", str(i), partition=i % 4)
        producer.poll(0)
    check(producer.flush(SECONDS) == 0, "flush left messages")
    for partition in range(4):
        values = [int(m.value()) for m in read_all("idempotent", partition)]
        check(values == list(range(partition, 20000, 4)), f"partition {partition}: {len(values)} values")


def confluent_seek():
    base = 1700000000000
    reader = consumer()
    for wanted, expected in ((base + 1500, 1500), (base - 5, 0)):
        found = reader.offsets_for_times([TopicPartition("confluent-lz4", 0, wanted)], timeout=SECONDS)
        check(found[0].offset == expected, f"time {wanted}: offset {found[0].offset}")
    beyond = reader.offsets_for_times([TopicPartition("confluent-lz4", 0, base + 999999)], timeout=SECONDS)
    check(beyond[0].offset == -1, f"time beyond the end: {beyond[0].offset}")
    low, high = reader.get_watermark_offsets(TopicPartition("confluent-lz4", 0), timeout=SECONDS)
    check((low, high) == (0, 3000), f"watermarks {low} {high}")
    reader.close()
    check([m.offset() for m in read_all("confluent-lz4", 0, 2990)] == list(range(2990, 3000)), "read from an offset")


def confluent_out_of_range():
    reader = consumer()
    reader.assign([TopicPartition("confluent-none", 0, 999999)])
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        message = reader.poll(1.0)
        if message is not None and message.error():
            reader.close()
            check(message.error().code() in (KafkaError.OFFSET_OUT_OF_RANGE, KafkaError._AUTO_OFFSET_RESET), str(message.error()))
            return
    raise AssertionError("no error for an offset beyond the end")


def confluent_admin():
    create("admin-a", 2, **{"retention.ms": "3600000"})
    client = admin()
    try:
        client.create_topics([NewTopic("admin-a", 2, 1)])["admin-a"].result(SECONDS)
        raise AssertionError("a second create succeeded")
    except KafkaException as error:
        check(error.args[0].code() == KafkaError.TOPIC_ALREADY_EXISTS, str(error))
    for name, config, code in (("admin/b", {}, KafkaError.TOPIC_EXCEPTION), ("admin-c", {"no.such.key": "1"}, KafkaError.INVALID_CONFIG)):
        try:
            client.create_topics([NewTopic(name, 1, 1, config=config)])[name].result(SECONDS)
            raise AssertionError(f"{name} was created")
        except KafkaException as error:
            check(error.args[0].code() == code, str(error))
    client.create_topics([NewTopic("admin-dry", 1, 1)], validate_only=True)["admin-dry"].result(SECONDS)
    client.create_partitions([NewPartitions("admin-a", 5)])["admin-a"].result(SECONDS)
    topics = client.list_topics(timeout=SECONDS).topics
    check("admin-dry" not in topics, "validate_only created a topic")
    check(len(topics["admin-a"].partitions) == 5, f"{len(topics['admin-a'].partitions)} partitions")
    resource = ConfigResource(ConfigResource.Type.TOPIC, "admin-a")
    configs = client.describe_configs([resource])[resource].result(SECONDS)
    check(configs["retention.ms"].value == "3600000", configs["retention.ms"].value)
    check(configs["eagre.durability"].value == "device", "durability is not shown")
    client.delete_topics(["admin-a"])["admin-a"].result(SECONDS)
    check("admin-a" not in client.list_topics(timeout=SECONDS).topics, "still listed after delete")
    create("admin-a")
    check(read_all("admin-a") == [], "records of the deleted topic came back")


def settings_of(topic):
    resource = ConfigResource(ConfigResource.Type.TOPIC, topic)
    client = admin()  # must live until its future has a result
    return client.describe_configs([resource])[resource].result(SECONDS)


def confluent_alter():
    create("alter", 3, **{"segment.ms": "60000"})
    client = admin()

    def alter(topic, **config):
        resource = ConfigResource(ConfigResource.Type.TOPIC, topic, set_config=config)
        client.alter_configs([resource])[resource].result(SECONDS)

    for topic, config, code, word in (("alter", {"no.such.key": "1"}, KafkaError.INVALID_CONFIG, "no.such.key"),
                                      ("alter", {"retention.ms": "soon"}, KafkaError.INVALID_CONFIG, "retention.ms"),
                                      ("no-such-topic", {"retention.ms": "1"}, KafkaError.UNKNOWN_TOPIC_OR_PART, "")):
        try:
            alter(topic, **config)
            raise AssertionError(f"{topic} took {config}")
        except KafkaException as error:
            check(error.args[0].code() == code and word in error.args[0].str(), str(error))
    alter("alter", **{"retention.ms": "7200000", "max.message.bytes": "2000"})
    found = settings_of("alter")
    check(found["retention.ms"].value == "7200000" and found["retention.ms"].source == 1, str(found["retention.ms"]))
    check(found["segment.ms"].value == "604800000", "the old request replaces every override")
    producer = Producer({"bootstrap.servers": server.address})
    errors = []
    producer.produce("alter", b"z" * 5000, on_delivery=lambda error, message: errors.append(error))
    producer.flush(SECONDS)
    check(errors and errors[0] is not None and errors[0].code() == KafkaError.MSG_SIZE_TOO_LARGE, f"{errors}")


def altered_retention():
    """Whole segments go as soon as a topic that keeps everything is told to keep less."""
    create("shorter", **{"segment.bytes": "65536"})
    producer = Producer({"bootstrap.servers": server.address, "linger.ms": 0, "batch.num.messages": 10})
    for i in range(600):
        producer.produce("shorter", b"%d" % i + os.urandom(1000))
        producer.poll(0)
    check(producer.flush(SECONDS) == 0, "flush left messages")
    reader = consumer()
    check(reader.get_watermark_offsets(TopicPartition("shorter", 0), SECONDS) == (0, 600), "before")
    cli("topic", "alter", "shorter", "--config", "retention.bytes=131072")
    end = time.monotonic() + SECONDS
    low = 0
    while low == 0 and time.monotonic() < end:
        time.sleep(0.2)
        low, _ = reader.get_watermark_offsets(TopicPartition("shorter", 0), SECONDS)
    reader.close()
    check(0 < low < 600, f"the partition begins at {low}")


def cli_alter():
    cli("topic", "create", "cli-alter", "--config", "segment.ms=60000")
    cli("topic", "alter", "cli-alter", status=2)
    cli("topic", "alter", "cli-alter", "--config", "retention.ms", status=2)
    cli("topic", "alter", "cli-alter", "--config", "no.such.key=1", status=1)
    cli("topic", "alter", "cli-alter", "--delete-config", "no.such.key", status=1)
    cli("topic", "alter", "no-such-topic", "--config", "retention.ms=1", status=4)
    cli("topic", "alter", "cli-alter", "--config", "retention.ms=3600000", "--partitions", "4")
    cli("topic", "alter", "cli-alter", "--partitions", "2", status=1)
    described = cli("topic", "describe", "cli-alter").decode()
    check("* segment.ms=60000" in described and "* retention.ms=3600000" in described, described)
    check(len(admin().list_topics(timeout=SECONDS).topics["cli-alter"].partitions) == 4, "partitions")
    cli("topic", "alter", "cli-alter", "--delete-config", "segment.ms")
    described = cli("topic", "describe", "cli-alter").decode()
    check("  segment.ms=604800000" in described and "* retention.ms=3600000" in described, described)


def cli_trim():
    cli("topic", "create", "cli-trim", "--partitions", "1")
    cli("produce", "cli-trim", stdin=b"".join(b"%d\n" % i for i in range(100)))
    cli("topic", "trim", "cli-trim", "--partition", "0", status=2)
    cli("topic", "trim", "no-such-topic", "--partition", "0", "--before", "1", status=4)
    cli("topic", "trim", "cli-trim", "--partition", "1", "--before", "1", status=4)
    cli("topic", "trim", "cli-trim", "--partition", "0", "--before", "101", status=1)
    out = cli("topic", "trim", "cli-trim", "--partition", "0", "--before", "40").decode()
    check("begins at offset 40" in out, out)
    check(cli("consume", "cli-trim").split()[0] == b"40", "the first record left")
    cli("topic", "trim", "cli-trim", "--partition", "0", "--before", "end")
    check(cli("consume", "cli-trim") == b"", "records are left")
    cli("produce", "cli-trim", stdin=b"new\n")
    check(cli("consume", "cli-trim") == b"new\n", "after the trim")


def settings_survive():
    check(settings_of("cli-alter")["retention.ms"].value == "3600000", "eagre topic alter")
    check(settings_of("cli-alter")["segment.ms"].value == "604800000", "a deleted override came back")
    check(settings_of("python-alter")["retention.ms"].value == "5400000", "kafka-python")
    check(cli("consume", "cli-trim") == b"new\n", "trimmed records came back")


# ---- kafka-python ----

def python_codec(codec):
    topic = f"python-{codec}"
    producer = kafka.KafkaProducer(bootstrap_servers=server.address, acks="all",
                                   compression_type=None if codec == "none" else codec)
    futures = [producer.send(topic, key=str(i).encode(), value=b"v%d" % i * (i % 50), headers=[("h", b"%d" % i)])
               for i in range(1000)]
    offsets = sorted(future.get(SECONDS).offset for future in futures)
    check(offsets == list(range(1000)), "offsets of the acknowledgements")
    producer.close()
    reader = kafka.KafkaConsumer(bootstrap_servers=server.address, consumer_timeout_ms=3000)
    partition = kafka.TopicPartition(topic, 0)
    reader.assign([partition])
    reader.seek_to_beginning(partition)
    found = []
    for message in reader:
        found.append(message)
        if len(found) == 1000:
            break
    check([m.offset for m in found] == list(range(1000)), f"{len(found)} records read")
    check(all(m.value == b"v%d" % i * (i % 50) and m.headers == [("h", b"%d" % i)] for i, m in enumerate(found)), "contents differ")
    check(reader.end_offsets([partition])[partition] == 1000, "end offset")
    check(reader.offsets_for_times({partition: 1})[partition].offset == 0, "offset for a time")
    reader.close()


def python_admin():
    client = KafkaAdminClient(bootstrap_servers=server.address)
    client.create_topics([PyNewTopic("python-admin", 3, 1)])
    check("python-admin" in client.list_topics(), "not listed")
    described = client.describe_topics(["python-admin"])
    check(len(described[0]["partitions"]) == 3, str(described))
    client.delete_topics(["python-admin"])
    check("python-admin" not in client.list_topics(), "still listed")
    client.close()


def python_alter():
    client = KafkaAdminClient(bootstrap_servers=server.address)
    client.create_topics([PyNewTopic("python-alter", 1, 1)])
    client.alter_configs([PyConfigResource(ConfigResourceType.TOPIC, "python-alter", configs={"retention.ms": "5400000"})])
    answer = client.describe_configs([PyConfigResource(ConfigResourceType.TOPIC, "python-alter")])
    found = {entry[0]: entry[1] for entry in answer[0].resources[0][4]}
    check(found["retention.ms"] == "5400000", str(found))
    client.close()


# ---- one million records, before and after a restart ----

MILLION = int(os.environ.get("CLIENTS_RECORDS", "1000000"))
PARTITIONS = 4


def million_value(partition, number):
    return b"%d:%d:" % (partition, number) + b"abcdefghij"[: number % 10] * (1 + (number * 7919) % 40)


def million_write():
    create("million", PARTITIONS)
    producer = Producer({"bootstrap.servers": server.address, "enable.idempotence": True, "linger.ms": 20,
                         "queue.buffering.max.messages": 200000, "compression.type": "none"})
    for i in range(MILLION):
        partition = i % PARTITIONS
        while True:
            try:
                producer.produce("million", million_value(partition, i // PARTITIONS), partition=partition)
                break
            except BufferError:
                producer.poll(0.1)
        if i % 1000 == 0:
            producer.poll(0)
    check(producer.flush(120) == 0, "flush left messages")


def million_read():
    reader = consumer()
    reader.assign([TopicPartition("million", p, 0) for p in range(PARTITIONS)])
    expected = [0] * PARTITIONS
    end = time.monotonic() + 180
    while sum(expected) < MILLION and time.monotonic() < end:
        for message in reader.consume(20000, 1.0):
            if message.error():
                check(message.error().code() == KafkaError._PARTITION_EOF, str(message.error()))
                continue
            partition = message.partition()
            number = expected[partition]
            if message.offset() != number or message.value() != million_value(partition, number):
                raise AssertionError(f"partition {partition}: record {number} differs (offset {message.offset()})")
            expected[partition] = number + 1
    reader.close()
    check(sum(expected) == MILLION, f"{sum(expected)} records read")


def restart():
    status = server.stop()
    check(status == 0, f"exit status {status}: {server.log_tail(5)}")
    server.start()
    metrics = server.metrics()
    replayed = [value for name, value in metrics.items() if "recovery" in name and "groups" in name]
    check(replayed and all(value == 0 for value in replayed), f"a clean start replayed {replayed}")


def ends_well():
    check(server.alive(), "the server is gone")
    check(server.http("/healthz") != "", "no health answer")
    status = server.stop()
    check(status == 0, f"exit status {status}: {server.log_tail(5)}")


def main():
    server.start()
    for codec in CODECS:
        suite.run(f"kcat round trip, {codec}", kcat_codec, codec)
        suite.run(f"confluent-kafka round trip, {codec}", confluent_codec, codec)
        suite.run(f"kafka-python round trip, {codec}", python_codec, codec)
    suite.run("kcat metadata shows the advertised address", kcat_metadata)
    suite.run("command line round trip", cli_round_trip)
    suite.run("command line errors and exit codes", cli_errors)
    suite.run("records of 1 MiB and 3 MiB", confluent_large_record)
    suite.run("a record above max.message.bytes is refused", confluent_too_large)
    suite.run("idempotent producer", confluent_idempotent)
    suite.run("seek by offset and time", confluent_seek)
    suite.run("an offset out of range is answered", confluent_out_of_range)
    suite.run("admin calls and their errors", confluent_admin)
    suite.run("kafka-python admin", python_admin)
    suite.run("confluent-kafka alters settings", confluent_alter)
    suite.run("kafka-python alters settings", python_alter)
    suite.run("eagre topic alter", cli_alter)
    suite.run("eagre topic trim", cli_trim)
    suite.run("a shorter retention takes effect", altered_retention)
    if suite.run(f"write {MILLION:,} records", million_write):
        suite.run(f"read {MILLION:,} records", million_read)
        if suite.run("stop cleanly and start again", restart):
            suite.run(f"read {MILLION:,} records after the restart", million_read)
            suite.run("altered settings and trims survive the restart", settings_survive)
    suite.run("the server is alive and stops cleanly", ends_well)
    server.close(keep=suite.failed > 0)
    return suite.finish()


if __name__ == "__main__":
    sys.exit(main())
