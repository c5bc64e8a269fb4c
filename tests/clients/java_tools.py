"""Kafka's own command-line tools, of two versions, against one server process.

Goal: who administers Kafka with its tools goes on doing so, and reads the same answers. Method: every tool runs with every form that
its users know; what it prints is compared with what it must say about topics, records and groups that this file made. Tools run in
turn inside one Java process per version (java/Tools.java); those that live on have a process of their own."""

import json
import os
import re
import subprocess
import sys
import tempfile
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
sys.path.insert(0, os.path.join(HERE, "..", "system"))
from jvm import MAINS, TOOL_SECONDS, VERSIONS, JAVA, Jvm, Unavailable, jars, java  # noqa: E402
from server import Server, Suite  # noqa: E402

from confluent_kafka import Consumer, TopicPartition  # noqa: E402

SECONDS = 40
# Java's partitioner spreads the keys k0 to k29 over three partitions so.
SPREAD = {0: 8, 1: 12, 2: 10}

server = Server("--group.initial.rebalance.delay.ms", "100ms")
suite = Suite("java tools")


def check(condition, text):
    if not condition:
        raise AssertionError(text)


def table(text, columns):
    """Rows of the words of a table, without its heading; some versions break lines between rows, some do not."""
    words = " ".join(line for line in text.split("\n") if not line.startswith("Warn")).split()
    check(len(words) % columns == 0, f"not {columns} columns: {text}")
    rows = [tuple(words[i:i + columns]) for i in range(0, len(words), columns)]
    return sorted(rows[1:])


class Tools:
    """The tools of one version; names of topics and groups carry the version."""

    def __init__(self, version):
        self.version = version
        self.jvm = Jvm(version)
        self.topic = "tools-" + version.replace(".", "-")  # tools warn of dots in the names of topics
        self.group = "readers-" + version
        self.directory = tempfile.TemporaryDirectory(prefix="eagre-tools-")

    def raw(self, name, *words, stdin="", status=0):
        """What the tool printed, on either stream."""
        got, out, err = self.jvm.run(name, *words, stdin=stdin)
        check(got == status, f"{name} {' '.join(words)} gave {got}, not {status}: {(out + err)[-600:]}")
        return out + err if status else out

    def run(self, name, *words, stdin="", status=0):
        return self.raw(name, "--bootstrap-server", server.address, *words, stdin=stdin, status=status)

    def file(self, name, content):
        path = os.path.join(self.directory.name, name)
        with open(path, "w", encoding="ascii") as out:
            json.dump(content, out)
        return path

    def apis(self):
        """{name: newest usable version} of what the broker tells this version of the tools."""
        found = re.findall(r"(\w+)\(\d+\): .*?\[usable: (\d+)\]", self.run("broker-api-versions"))
        return {name: int(version) for name, version in found}

    def needs(self, api):
        """None, or why a test is skipped."""
        return None if api in self.apis() else f"skip: the server does not offer {api}"

    def newer(self):
        return self.version.startswith("4")

    def close(self):
        self.jvm.close()
        self.directory.cleanup()


# ---- topics and their settings ----


def topics(tools):
    name = tools.topic
    check(tools.run("topics", "--create", "--topic", name, "--partitions", "3", "--replication-factor", "1", "--config",
                    "retention.ms=3600000") == f"Created topic {name}.\n", "create")
    check(name in tools.run("topics", "--list").split(), "list")
    lines = tools.run("topics", "--describe", "--topic", name).strip().split("\n")
    heading = re.fullmatch(rf"Topic: {name}\tTopicId: [\w-]{{22}}\tPartitionCount: 3\tReplicationFactor: 1\tConfigs: (.*)", lines[0])
    check(heading and heading.group(1) == "retention.ms=3600000", lines[0])
    for partition, line in enumerate(lines[1:]):
        check(line.startswith(f"\tTopic: {name}\tPartition: {partition}\tLeader: 1\tReplicas: 1\tIsr: 1"), line)
    check(len(lines) == 4, f"{lines}")
    by_id = tools.run("topics", "--describe", "--topic-id", re.search(r"TopicId: (\S+)", lines[0]).group(1))
    check(f"Topic: {name}\t" in by_id, by_id)
    check(tools.run("topics", "--alter", "--topic", name, "--partitions", "5") == "", "alter")
    check("PartitionCount: 5" in tools.run("topics", "--describe", "--topic", name), "partitions were added")
    overridden = tools.run("topics", "--describe", "--topics-with-overrides")
    check(f"Topic: {name}\t" in overridden, overridden)
    for state in ("--under-replicated-partitions", "--unavailable-partitions", "--under-min-isr-partitions"):
        check(tools.run("topics", "--describe", state) == "", state)
    check(tools.run("topics", "--describe", "--at-min-isr-partitions", "--topic", name).count("Partition: ") == 5, "at the minimum")


def topics_refused(tools):
    name = tools.topic
    for words, expected in ((["--create", "--topic", name], "exists"),
                            (["--describe", "--topic", "no-such-topic"], "does not exist as expected"),
                            (["--alter", "--topic", name, "--partitions", "2"], "greater"),
                            (["--alter", "--topic", "no-such-topic", "--partitions", "2"], "does not exist as expected"),
                            (["--delete", "--topic", "no-such-topic"], "does not exist as expected"),
                            (["--create", "--topic", "bad", "--partitions", "0"], "artitions"),
                            (["--create", "--topic", "bad", "--replication-factor", "0"], "eplication factor"),
                            (["--create", "--topic", "bad", "--config", "no.such.key=1"], "no.such.key"),
                            (["--create", "--topic", "bad", "--config", "retention.ms=soon"], "retention.ms"),
                            (["--create", "--topic", "bad", "--replica-assignment", "1,7"], "broker")):
        out = tools.run("topics", *words, status=1)
        check(expected in out, f"{words}: {out}")
    check("bad" not in tools.run("topics", "--list").split(), "a refused topic is there")
    check(tools.run("topics", "--create", "--if-not-exists", "--topic", name) == "", "if not exists")
    check(tools.run("topics", "--delete", "--if-exists", "--topic", "no-such-topic") == "", "if exists")
    assigned = name + "-assigned"
    tools.run("topics", "--create", "--topic", assigned, "--replica-assignment", "1,1")
    check("PartitionCount: 2" in tools.run("topics", "--describe", "--topic", assigned), "by assignment")
    tools.run("topics", "--delete", "--topic", assigned)
    check(assigned not in tools.run("topics", "--list").split(), "still listed after delete")


def topic_settings(tools):
    where = ("--entity-type", "topics", "--entity-name", tools.topic)

    def settings(*words):
        lines = tools.run("configs", "--describe", *where, *words).strip().split("\n")
        return lines[0], dict(line.strip().split(" sensitive=")[0].split("=", 1) for line in lines[1:])

    heading, found = settings()
    check(heading == f"Dynamic configs for topic {tools.topic} are:" and found == {"retention.ms": "3600000"}, f"{heading} {found}")
    heading, found = settings("--all")
    check(heading == f"All configs for topic {tools.topic} are:", heading)
    for key, value in (("cleanup.policy", "delete"), ("max.message.bytes", "1048588"), ("retention.ms", "3600000"),
                       ("segment.bytes", "1073741824"), ("min.insync.replicas", "1"), ("eagre.durability", "device")):
        check(found.get(key) == value, f"{key} is {found.get(key)}")
    line = [line for line in tools.run("configs", "--describe", "--all", *where).split("\n") if "retention.ms=3600000" in line][0]
    check("synonyms={DYNAMIC_TOPIC_CONFIG:retention.ms=3600000, DEFAULT_CONFIG:log.retention.ms=604800000}" in line, line)
    done = f"Completed updating config for topic {tools.topic}.\n"
    check(tools.run("configs", "--alter", "--add-config", "retention.ms=7200000,max.message.bytes=2000", *where) == done, "alter")
    check(settings()[1] == {"retention.ms": "7200000", "max.message.bytes": "2000"}, f"{settings()}")
    check(tools.run("configs", "--alter", "--delete-config", "max.message.bytes", *where) == done, "delete")
    check(settings()[1] == {"retention.ms": "7200000"}, f"{settings()}")
    path = os.path.join(tools.directory.name, "settings.properties")
    with open(path, "w", encoding="ascii") as out:
        out.write("segment.ms=60000\n")
    tools.run("configs", "--alter", "--add-config-file", path, *where)
    check(settings()[1] == {"retention.ms": "7200000", "segment.ms": "60000"}, f"{settings()}")
    for wrong in ("no.such.key=1", "retention.ms=soon", "cleanup.policy=perhaps"):
        out = tools.run("configs", "--alter", "--add-config", wrong, *where, status=1)
        check(wrong.split("=", maxsplit=1)[0] in out and "InvalidConfiguration" in out, out)
    out = tools.run("configs", "--alter", "--add-config", "retention.ms=1", "--entity-type", "topics", "--entity-name", "no-such-topic", status=1)
    check("no-such-topic" in out or "UnknownTopicOrPartition" in out, out)
    everything = tools.run("configs", "--describe", "--entity-type", "topics")
    check(f"Dynamic configs for topic {tools.topic} are:" in everything, everything)


def broker_settings(tools):
    out = tools.run("configs", "--describe", "--entity-type", "brokers", "--entity-name", "1")
    check(out.startswith("Dynamic configs for broker 1 are:"), out)
    out = tools.run("configs", "--describe", "--all", "--entity-type", "brokers", "--entity-name", "1")
    for line in (f"advertised.listeners=PLAINTEXT://{server.address} sensitive=false", "num.partitions=1 sensitive=false",
                 "log.retention.ms=604800000 sensitive=false", "message.max.bytes=1048588 sensitive=false"):
        check(f"\n  {line}" in out, f"no {line} in {out}")
    out = tools.run("configs", "--describe", "--entity-type", "brokers", "--entity-default")
    check(out.startswith("Default configs for brokers in the cluster are:"), out)
    this = ("--entity-type", "brokers", "--entity-name", "1")
    everyone = ("--entity-type", "brokers", "--entity-default")
    for wrong in ("no.such.key=1", "num.io.threads=9", "broker.id=2", "log.retention.ms=soon"):
        out = tools.run("configs", "--alter", "--add-config", wrong, *this, status=1)
        check(wrong.split("=", maxsplit=1)[0] in out, out)
    out = tools.run("configs", "--alter", "--add-config", "log.roll.ms=7000000,message.max.bytes=900000", *everyone)
    check("Completed updating default config for brokers in the cluster." in out, out)
    out = tools.run("configs", "--alter", "--add-config", "log.roll.ms=8000000", *this)
    check("Completed updating config for broker 1." in out, out)
    out = tools.run("configs", "--describe", *everyone)
    check("log.roll.ms=7000000 sensitive=false synonyms={DYNAMIC_DEFAULT_BROKER_CONFIG:log.roll.ms=7000000" in out, out)
    check("message.max.bytes=900000" in out, out)
    layers = "DYNAMIC_BROKER_CONFIG:log.roll.ms=8000000, DYNAMIC_DEFAULT_BROKER_CONFIG:log.roll.ms=7000000, DEFAULT_CONFIG:log.roll.ms=604800000"
    out = tools.run("configs", "--describe", *this)
    check("log.roll.ms=8000000 sensitive=false synonyms={" + layers + "}" in out and "message.max.bytes" not in out, out)
    out = tools.run("configs", "--describe", "--all", "--entity-type", "topics", "--entity-name", tools.topic)
    check("segment.ms=60000 sensitive=false synonyms={DYNAMIC_TOPIC_CONFIG:segment.ms=60000, " + layers + "}" in out, out)
    tools.run("configs", "--alter", "--delete-config", "log.roll.ms", *this)
    tools.run("configs", "--alter", "--delete-config", "log.roll.ms,message.max.bytes", *everyone)
    out = tools.run("configs", "--describe", *everyone)
    check("log.roll.ms" not in out and "message.max.bytes" not in out, out)


# ---- records ----


def console(tools):
    """Thirty records with keys in, the same thirty out, each in the partition that Java's partitioner gives it."""
    name = tools.topic + "-console"
    tools.run("topics", "--create", "--topic", name, "--partitions", "3")
    lines = [f"k{i}:value {i}" for i in range(30)]
    tools.run("console-producer", "--topic", name, "--property", "parse.key=true", "--property", "key.separator=:",
              stdin="\n".join(lines) + "\n")
    out = tools.run("console-consumer", "--topic", name, "--from-beginning", "--max-messages", "30", "--timeout-ms", "20000", "--group",
                    tools.group, "--property", "print.key=true", "--property", "key.separator=:", "--property", "print.partition=true",
                    "--property", "print.offset=true")
    found = [re.fullmatch(r"Partition:(\d):Offset:(\d+):(k\d+:value \d+)", line) for line in out.split("\n") if line.startswith("Partition")]
    check(all(found) and sorted(m.group(3) for m in found) == sorted(lines), out)
    for partition, count in SPREAD.items():
        offsets = [int(m.group(2)) for m in found if int(m.group(1)) == partition]
        check(offsets == list(range(count)), f"partition {partition}: {offsets}")
    again = tools.run("console-consumer", "--topic", name, "--from-beginning", "--group", tools.group, "--timeout-ms", "2000")
    check("value" not in again, f"the group read again: {again}")
    out = tools.run("console-consumer", "--topic", name, "--partition", "0", "--offset", "6", "--max-messages", "2", "--timeout-ms", "20000",
                    "--isolation-level", "read_committed")
    check(re.findall(r"^value \d+$", out, re.M) == [m.group(3).split(":")[1] for m in found if m.group(1) == "0"][6:], out)


def console_headers(tools):
    name = tools.topic + "-headers"
    tools.run("console-producer", "--topic", name, "--property", "parse.headers=true", "--property", "parse.key=true", "--compression-codec",
              "zstd", "--request-required-acks", "all", stdin="a:1,b:2\tthe key\tthe value\nempty:\tk\tv\n")
    out = tools.run("console-consumer", "--topic", name, "--from-beginning", "--max-messages", "2", "--timeout-ms", "20000", "--property",
                    "print.headers=true", "--property", "print.key=true", "--property", "print.timestamp=true")
    found = [line.split("\t", 1)[1] for line in out.split("\n") if line.startswith("CreateTime:")]
    check(found == ["a:1,b:2\tthe key\tthe value", "empty:\tk\tv"], out)


def get_offsets(tools):
    name = tools.topic + "-console"

    def offsets(*words):
        return dict(map(int, line.split(":")[1:]) for line in tools.run("get-offsets", *words).split())

    for time_word in ("-1", "latest"):
        check(offsets("--topic", name, "--time", time_word) == SPREAD, time_word)
    for time_word in ("-2", "earliest", "1000", "-4", "earliest-local"):
        check(offsets("--topic", name, "--time", time_word) == {0: 0, 1: 0, 2: 0}, time_word)
    for time_word in ("-3", "max-timestamp"):
        found = offsets("--topic", name, "--time", time_word)
        check(all(0 <= found[p] < SPREAD[p] for p in SPREAD), f"{time_word}: {found}")
    # Nothing is tiered, nothing is that late: no offset, so no line.
    for time_word in ("-5", "latest-tiered", str(int(time.time() * 1000) + 3600000)):
        out = tools.run("get-offsets", "--topic", name, "--time", time_word)
        check(out.split() in ([], [f"{name}:{p}:" for p in SPREAD], [f"{name}:{p}:-1" for p in SPREAD]), f"{time_word}: {out}")
        check("UnsupportedVersion" not in tools.jvm.run("get-offsets", "--bootstrap-server", server.address, "--topic", name, "--time",
                                                        time_word)[2], time_word)
    check(offsets("--topic-partitions", f"{name}:1-3", "--time", "latest") == {1: 12, 2: 10}, "partitions 1 to 2")
    check(offsets("--topic", name, "--partitions", "0,2") == {0: 8, 2: 10}, "partitions 0 and 2")
    out = tools.run("get-offsets", "--exclude-internal-topics")
    check("__consumer_offsets" not in out and f"{name}:1:12\n" in out, out)
    out = tools.run("get-offsets", "--topic", "no-such-topic", status=1)
    check("Could not match any topic-partitions" in out, out)


def delete_records(tools):
    name = tools.topic + "-console"
    path = tools.file("delete.json", {"version": 1, "partitions": [
        {"topic": name, "partition": 0, "offset": 3}, {"topic": name, "partition": 1, "offset": -1},
        {"topic": name, "partition": 2, "offset": 999}, {"topic": "no-such-topic", "partition": 0, "offset": 1}][:3]})
    lines = tools.run("delete-records", "--offset-json-file", path).split("\n")
    check(f"partition: {name}-0\tlow_watermark: 3" in lines and f"partition: {name}-1\tlow_watermark: 12" in lines, f"{lines}")
    check([line for line in lines if f"{name}-2\terror" in line and "OffsetOutOfRange" in line], f"{lines}")
    out = tools.run("get-offsets", "--topic", name, "--time", "earliest").split()
    check(out == [f"{name}:0:3", f"{name}:1:12", f"{name}:2:0"], f"{out}")
    out = tools.run("console-consumer", "--topic", name, "--partition", "0", "--offset", "earliest", "--max-messages", "5", "--timeout-ms", "20000")
    check(len(re.findall(r"^value \d+$", out, re.M)) == 5, out)


def performance(tools):
    name = tools.topic + "-perf"
    out = tools.raw("producer-perf-test", "--topic", name, "--num-records", "20000", "--record-size", "100", "--throughput", "-1",
                    "--producer-props", f"bootstrap.servers={server.address}", "acks=all", "enable.idempotence=true")
    check(re.search(r"^20000 records sent, .* records/sec", out, re.M), out)
    out = tools.run("consumer-perf-test", "--topic", name, "--messages", "20000", "--timeout", "20000")
    check(out.strip().split("\n")[-1].split(", ")[4] == "20000", out)


def verifiable(tools):
    """The two tools that Kafka's own system tests count with; they end only when told, so each has a process."""
    name = tools.topic + "-verifiable"
    tools.run("topics", "--create", "--topic", name, "--partitions", "2")

    def events(tool, *words, until):
        command = [*JAVA, "-cp", os.path.join(jars(tools.version), "*"), MAINS[tool][0], "--bootstrap-server", server.address, "--topic", name,
                   *words]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
            killer = threading.Timer(TOOL_SECONDS, process.kill)
            killer.start()
            found = []
            for line in process.stdout:
                if line.startswith(b"{"):
                    found.append(json.loads(line))
                    if until(found[-1]):
                        process.terminate()
            killer.cancel()
        return found

    sent = events("verifiable-producer", "--max-messages", "1000", "--acks", "-1", until=lambda _: False)
    check(sum(event["name"] == "producer_send_success" for event in sent) == 1000, f"{sent[-1]}")
    summary = [event for event in sent if event["name"] == "tool_data"]
    check([(event["sent"], event["acked"]) for event in summary] == [(1000, 1000)], f"{summary}")
    read = events("verifiable-consumer", "--group-id", name, "--max-messages", "1000", "--reset-policy", "earliest",
                  until=lambda _: False)
    check(sum(event["count"] for event in read if event["name"] == "records_consumed") == 1000, "consumed")
    commits = {(p["partition"], p["offset"]) for event in read if event["name"] == "offsets_committed" and event["success"]
               for p in event["offsets"]}
    ends = dict(map(int, line.split(":")[1:]) for line in tools.run("get-offsets", "--topic", name).split())
    check(all((p, end) in commits for p, end in ends.items() if end), f"{commits} {ends}")
    check("shutdown_complete" in [event["name"] for event in read], f"{read[-1]}")


# ---- groups ----


def groups_listed(tools):
    group = tools.group
    check(group in tools.run("consumer-groups", "--list").split(), "list")
    check((group, "Empty") in table(tools.run("consumer-groups", "--list", "--state"), 2), "states")
    check((group, "Empty") in table(tools.run("consumer-groups", "--list", "--state", "empty,dead"), 2), "in a state")
    check(group not in tools.run("consumer-groups", "--list", "--state", "stable"), "not in another state")
    check((group, "Classic") in table(tools.run("consumer-groups", "--list", "--type"), 2), "types")
    check((group, "Classic") in table(tools.run("consumer-groups", "--list", "--type", "classic"), 2), "of a type")
    check(group not in tools.run("consumer-groups", "--list", "--type", "consumer"), "not of another type")
    if tools.newer():
        check((group, "Classic", "consumer") in table(tools.run("groups", "--list"), 3), "groups")
        check((group, "Classic", "consumer") in table(tools.run("groups", "--list", "--consumer"), 3), "consumer groups")


def offsets_of(tools):
    """{partition: (committed, end, lag)} as the tool says."""
    out = tools.run("consumer-groups", "--describe", "--group", tools.group, "--offsets")
    rows = table(out, 9) if out.strip() else []
    check(all(row[0] == tools.group and row[1] == tools.topic + "-console" for row in rows), out)
    return {int(row[2]): (row[3], row[4], row[5]) for row in rows}


def groups_described(tools):
    check(offsets_of(tools) == {p: (str(n), str(n), "0") for p, n in SPREAD.items()}, f"{offsets_of(tools)}")
    out = tools.run("consumer-groups", "--describe", "--group", tools.group, "--state")
    check(re.search(rf"^{tools.group}\s+{server.address}\s+\(1\)\s+(-\s+)?Empty\s+0$", out, re.M), out)
    out = tools.run("consumer-groups", "--describe", "--all-groups", "--state")
    check(re.search(rf"^{tools.group}\s.*\sEmpty\s+0$", out, re.M), out)
    status, out, err = tools.jvm.run("consumer-groups", "--bootstrap-server", server.address, "--describe", "--group", "no-such-group")
    check("Consumer group 'no-such-group' does not exist." in out + err, f"{status} {out} {err}")


def groups_with_a_member(tools):
    """What the tools say of a live member, and refuse while it is there."""
    group = tools.group
    reader = Consumer({"bootstrap.servers": server.address, "group.id": group, "client.id": "the-client", "enable.auto.commit": False,
                       "session.timeout.ms": 10000, "partition.assignment.strategy": "range"})
    reader.subscribe([tools.topic + "-console"])
    end = time.monotonic() + SECONDS
    while not reader.assignment() and time.monotonic() < end:
        reader.poll(0.2)
    stop = threading.Event()

    def poll():
        while not stop.is_set():
            reader.poll(0.2)

    polling = threading.Thread(target=poll, daemon=True)
    polling.start()
    try:
        out = tools.run("consumer-groups", "--describe", "--group", group)
        for partition, end_offset in SPREAD.items():
            check(re.search(rf"^{group}\s+{tools.topic}-console\s+{partition}\s+{end_offset}\s+{end_offset}\s+0\s+the-client-\S+\s+(/127.0.0.1\s+)?"
                            r"the-client\s*$", out, re.M), out)
        out = tools.run("consumer-groups", "--describe", "--group", group, "--members", "--verbose")
        row = [line.split() for line in out.split("\n") if line.startswith(group)]
        check(len(row) == 1 and "the-client" in row[0] and "3" in row[0], out)
        check(re.search(r"[:(]0,\s*1,\s*2", out), out)
        out = tools.run("consumer-groups", "--describe", "--group", group, "--state")
        check(re.search(rf"^{group}\s+{server.address}\s+\(1\)\s+range\s+Stable\s+1$", out, re.M), out)
        status, out, err = tools.jvm.run("consumer-groups", "--bootstrap-server", server.address, "--reset-offsets", "--group", group,
                                         "--all-topics", "--to-earliest", "--execute")
        check("inactive" in out + err, f"{status} {out} {err}")
        _, out, err = tools.jvm.run("consumer-groups", "--bootstrap-server", server.address, "--delete", "--group", group)
        check("GroupNotEmptyException" in out + err, out + err)
        _, out, err = tools.jvm.run("consumer-groups", "--bootstrap-server", server.address, "--delete-offsets", "--group", group, "--topic",
                                    tools.topic + "-console")
        check("GroupSubscribedToTopic" in out + err or "GroupNotEmpty" in out + err, out + err)
    finally:
        stop.set()
        polling.join(SECONDS)
        reader.close()
    check(offsets_of(tools)[0][0] == "8", "something of what was refused was done")


def offsets_reset(tools):
    """Every way to name a place, each first as a dry run, on partitions that begin at 3, 12 and 0 and end at 8, 12 and 10."""
    topic = tools.topic + "-console"

    def reset(*words):
        rows = table(tools.run("consumer-groups", "--reset-offsets", "--group", tools.group, *words), 4)
        check(all(row[:2] == (tools.group, topic) for row in rows), f"{rows}")
        return {int(row[2]): int(row[3]) for row in rows}

    before = offsets_of(tools)
    for words, expected in ((["--to-earliest"], {0: 3, 1: 12, 2: 0}), (["--to-latest"], SPREAD), (["--to-current"], SPREAD),
                            (["--shift-by", "-2"], {0: 6, 1: 12, 2: 8}), (["--shift-by", "5"], SPREAD), (["--to-offset", "4"], {0: 4, 1: 12, 2: 4}),
                            (["--to-datetime", "2020-01-01T00:00:00.000"], {0: 3, 1: 12, 2: 0}), (["--by-duration", "PT1H"], {0: 3, 1: 12, 2: 0}),
                            (["--to-datetime", "2099-01-01T00:00:00.000"], SPREAD)):
        found = reset("--topic", topic, *words, "--dry-run")
        check(found == expected, f"{words}: {found}, not {expected}")
    check(offsets_of(tools) == before, "a dry run changed something")
    check(reset("--topic", f"{topic}:0,2", "--to-earliest", "--execute") == {0: 3, 2: 0}, "two partitions")
    check(offsets_of(tools) == {0: ("3", "8", "5"), 1: ("12", "12", "0"), 2: ("0", "10", "10")}, f"{offsets_of(tools)}")
    path = os.path.join(tools.directory.name, "reset.csv")
    with open(path, "w", encoding="ascii") as out:
        out.write(f"{topic},0,7\n{topic},2,9\n")
    check(reset("--from-file", path, "--execute") == {0: 7, 2: 9}, "from a file")
    export = tools.run("consumer-groups", "--reset-offsets", "--group", tools.group, "--all-topics", "--to-current", "--dry-run", "--export")
    check(sorted(line.strip('"') for line in export.split()) == [f"{topic},0,7", f"{topic},1,12", f"{topic},2,9"], export)
    fresh = table(tools.run("consumer-groups", "--reset-offsets", "--group", tools.group + "-new", "--topic", topic, "--to-latest", "--execute"), 4)
    check(len(fresh) == 3, f"a group that was not there: {fresh}")
    out = tools.run("consumer-groups", "--describe", "--group", tools.group + "-new")
    check(sorted(row[5] for row in table(out, 9)) == ["0", "0", "0"], out)


def groups_deleted(tools):
    topic = tools.topic + "-console"
    out = tools.run("consumer-groups", "--delete-offsets", "--group", tools.group, "--topic", topic + ":0")
    check("Request succe" in out and [row for row in table(out.split("\n", 1)[1], 3) if row == (topic, "0", "Successful")], out)
    check(sorted(offsets_of(tools)) == [1, 2], f"{offsets_of(tools)}")
    out = tools.run("consumer-groups", "--delete", "--group", tools.group, "--group", tools.group + "-new")
    check("Deletion of requested consumer groups" in out and "was successful" in out and tools.group in out, out)
    listed = tools.run("consumer-groups", "--list").split()
    check(tools.group not in listed and tools.group + "-new" not in listed, f"{listed}")
    _, out, err = tools.jvm.run("consumer-groups", "--bootstrap-server", server.address, "--delete", "--group", tools.group)
    check("GroupIdNotFoundException" in out + err, out + err)


# ---- the cluster ----


def cluster(tools):
    out = tools.raw("cluster", "cluster-id", "--bootstrap-server", server.address)
    check(re.fullmatch(r"Cluster ID: [\w-]{22}\n", out), out)
    if tools.newer():
        out = tools.raw("cluster", "list-endpoints", "--bootstrap-server", server.address)
        host, port = server.address.split(":")
        check(["1", host, port] == out.split("\n")[1].split()[:3], out)
        check("does not support" in tools.raw("cluster", "unregister", "--bootstrap-server", server.address, "--id", "7"), "unregister")
    offered = tools.apis()
    for api in ("Produce", "Fetch", "ListOffsets", "Metadata", "OffsetCommit", "OffsetFetch", "FindCoordinator", "JoinGroup", "SyncGroup",
                "DescribeGroups", "ListGroups", "CreateTopics", "DeleteTopics", "DeleteRecords", "InitProducerId", "DescribeConfigs",
                "IncrementalAlterConfigs", "DescribeLogDirs", "CreatePartitions", "DeleteGroups", "OffsetDelete", "DescribeCluster"):
        check(api in offered, f"{api} is not offered")
    # What does not exist here is not offered: clients would start to use it.
    for api in ("SaslHandshake", "SaslAuthenticate", "GetTelemetrySubscriptions", "PushTelemetry", "ShareGroupHeartbeat", "ShareFetch",
                "AddRaftVoter", "CreateDelegationToken", "ControlledShutdown"):
        check(api not in offered, f"{api} is offered")
    tools.run("features", "describe")


def log_dirs(tools):
    name = tools.topic + "-console"
    out = tools.run("log-dirs", "--describe", "--topic-list", name, "--broker-list", "1")
    found = json.loads(out.strip().split("\n")[-1])
    check([broker["broker"] for broker in found["brokers"]] == [1], out)
    directory = found["brokers"][0]["logDirs"][0]
    check(directory["logDir"] == server.data and directory["error"] is None, out)
    sizes = {row["partition"]: row["size"] for row in directory["partitions"]}
    check(set(sizes) == {f"{name}-{p}" for p in SPREAD} and sizes[f"{name}-2"] > 0, f"{sizes}")
    check("do not exist" in tools.run("log-dirs", "--describe", "--broker-list", "1,2", status=1), "a broker that is not there")


def elections(tools):
    name = tools.topic + "-console"
    out = tools.run("leader-election", "--election-type", "preferred", "--topic", name, "--partition", "0")
    check(f"Valid replica already elected for partitions {name}-0" in out, out)
    tools.run("leader-election", "--election-type", "preferred", "--all-topic-partitions")
    out = tools.run("leader-election", "--election-type", "unclean", "--topic", name, "--partition", "99", status=1)
    check("UnknownTopicOrPartition" in out, out)


def reassignments(tools):
    name = tools.topic + "-console"
    check("No partition reassignments found." in tools.run("reassign-partitions", "--list"), "list")
    path = tools.file("move.json", {"version": 1, "topics": [{"topic": name}]})
    out = tools.run("reassign-partitions", "--generate", "--topics-to-move-json-file", path, "--broker-list", "1")
    plan = json.loads(out.strip().split("\n")[-1])
    check(sorted((p["topic"], p["partition"], p["replicas"]) for p in plan["partitions"]) == [(name, p, [1]) for p in range(3)], out)


def reassignments_done(tools):
    why = tools.needs("AlterPartitionReassignments")
    if why:
        return why
    name = tools.topic + "-console"
    here = tools.file("here.json", {"version": 1, "partitions": [{"topic": name, "partition": 0, "replicas": [1]}]})
    out = tools.run("reassign-partitions", "--execute", "--reassignment-json-file", here)
    check(f"Successfully started partition reassignment for {name}-0" in out, out)
    out = tools.run("reassign-partitions", "--verify", "--reassignment-json-file", here)
    check(f"Reassignment of partition {name}-0 is completed." in out, out)
    away = tools.file("away.json", {"version": 1, "partitions": [{"topic": name, "partition": 0, "replicas": [7]}]})
    out = tools.run("reassign-partitions", "--execute", "--reassignment-json-file", away, status=1)
    check("7" in out, out)
    return None


def access(tools):
    for words in (["--list"], ["--add", "--allow-principal", "User:a", "--operation", "Read", "--topic", "x"]):
        out = tools.run("acls", *words, status=1)
        check("SecurityDisabledException" in out or "does not support CREATE_ACLS" in out, f"{words}: {out}")


def transactions(tools):
    why = tools.needs("ListTransactions")
    if why:
        return why
    out = tools.run("transactions", "list")
    check(out.split()[:4] == ["TransactionalId", "Coordinator", "ProducerId", "TransactionState"], out)
    topic, name = tools.topic + "-txn", "txn-" + tools.version
    tools.run("topics", "--create", "--topic", topic)
    plan = [{"from": 0, "count": 10, "commit": True}, {"from": 10, "count": 10, "commit": False}]
    request = {"do": "transactions", "topics": [topic], "transactions": plan,
               "config": {"bootstrap.servers": server.address, "transactional.id": name}}
    done = subprocess.run(java(tools.version, "Members.java"), input=json.dumps(request).encode() + b"\n", stdout=subprocess.PIPE,
                          stderr=subprocess.DEVNULL, timeout=TOOL_SECONDS)
    check(b'"done":2' in done.stdout, f"{done.stdout}")
    rows = [row for row in table(tools.run("transactions", "list"), 4) if row[0] == name]
    check(len(rows) == 1 and rows[0][1] == "1" and rows[0][3] == "CompleteAbort", f"{rows}")
    producer = rows[0][2]
    lines = tools.run("transactions", "describe", "--transactional-id", name).split("\n")
    check(lines[1].split() == ["1", name, producer, "0", "CompleteAbort", "60000", "None", "None"], f"{lines}")
    lines = tools.run("transactions", "describe-producers", "--topic", topic, "--partition", "0").split("\n")
    row = lines[1].split()
    check(row[0] == producer and row[3] == "19" and row[5] == "None", f"{lines}")
    out = tools.run("transactions", "find-hanging", "--broker-id", "1")
    check(topic not in out, out)
    out = tools.run("transactions", "describe", "--transactional-id", "no-such-id", status=1)
    check("could not be found" in out, out)
    check(tools.run("get-offsets", "--topic", topic) == f"{topic}:0:22\n", "twenty records and two markers")
    out = tools.run("console-consumer", "--topic", topic, "--from-beginning", "--isolation-level", "read_committed", "--max-messages", "10",
                    "--timeout-ms", "20000")
    check(re.findall(r"^\d+$", out, re.M) == [str(i) for i in range(10)], out)
    return None


def quotas(tools):
    why = tools.needs("AlterClientQuotas")
    if why:
        return why
    where = ("--entity-type", "clients", "--entity-name", "slow-" + tools.version)
    out = tools.run("configs", "--alter", "--add-config", "producer_byte_rate=1024,consumer_byte_rate=2048", *where)
    check("Completed updating" in out, out)
    out = tools.run("configs", "--describe", *where)
    check("producer_byte_rate=1024.0" in out and "consumer_byte_rate=2048.0" in out, out)
    tools.run("configs", "--alter", "--delete-config", "producer_byte_rate", *where)
    out = tools.run("configs", "--describe", *where)
    check("producer_byte_rate" not in out and "consumer_byte_rate=2048.0" in out, out)
    out = tools.run("configs", "--alter", "--add-config", "no_such_quota=1", *where, status=1)
    check("no_such_quota" in out, out)
    return None


TESTS = (topics, topics_refused, topic_settings, broker_settings, console, console_headers, get_offsets, performance, verifiable, groups_listed,
         groups_described, log_dirs, elections, delete_records, groups_with_a_member, offsets_reset, groups_deleted, reassignments,
         reassignments_done, access, transactions, quotas, cluster)


def main():
    server.start()
    for version in VERSIONS:
        try:
            tools = Tools(version)
        except Unavailable as error:
            suite.run(f"tools of Kafka {version}", lambda why=error: f"skip: {why}")
            continue
        for test in TESTS:
            suite.run(f"{version}: {test.__name__.replace('_', ' ')}", test, tools)
        tools.close()
    suite.run("the server stops", lambda: check(server.stop() == 0, server.log_tail(5)))
    server.close(keep=suite.failed > 0)
    return suite.finish()


if __name__ == "__main__":
    sys.exit(main())
