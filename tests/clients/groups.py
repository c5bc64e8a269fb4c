"""Consumer groups of confluent-kafka, kafka-python and kcat against one server process that is killed in between.

Goal: members share the partitions, go on where they committed, and nobody's records are lost or read twice when members come, go and
die, or the server does. Method: real consumers in this process and in processes of their own; every record is numbered and counted."""

import json
import os
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "system"))
from server import Server, Suite, binary  # noqa: E402

from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition  # noqa: E402
from confluent_kafka.admin import AdminClient, NewTopic  # noqa: E402
import kafka  # noqa: E402
from kafka.admin import KafkaAdminClient  # noqa: E402
from kafka.errors import GroupIdNotFoundError, NonEmptyGroupError  # noqa: E402

SECONDS = 40

server = Server("--group.initial.rebalance.delay.ms", "100ms")
suite = Suite("groups")


def check(condition, text):
    if not condition:
        raise AssertionError(text)


def create(topic, partitions):
    client = AdminClient({"bootstrap.servers": server.address})
    client.create_topics([NewTopic(topic, partitions, 1)], request_timeout=SECONDS)[topic].result()


def write(topic, partitions, count):
    producer = Producer({"bootstrap.servers": server.address, "enable.idempotence": True, "linger.ms": 5})
    for i in range(count):
        producer.produce(topic, str(i), partition=i % partitions)
        producer.poll(0)
    check(producer.flush(SECONDS) == 0, "flush left messages")


def member(group, **extra):
    return Consumer({"bootstrap.servers": server.address, "group.id": group, "enable.auto.commit": False, "auto.offset.reset": "earliest",
                     "session.timeout.ms": 6000, "heartbeat.interval.ms": 500, **extra})


def read(reader, wanted, seconds=SECONDS):
    found = []
    end = time.monotonic() + seconds
    while len(found) < wanted and time.monotonic() < end:
        message = reader.poll(0.5)
        if message is None:
            continue
        check(not message.error(), str(message.error()))
        found.append(int(message.value()))
    return found


def commit_and_resume():
    create("resume", 3)
    write("resume", 3, 3000)
    first = member("resume")
    first.subscribe(["resume"])
    seen = read(first, 1000)
    # What the client has fetched and not yet handed out does not count: commit what was handed out.
    first.commit(asynchronous=False)
    first.close()
    second = member("resume")
    second.subscribe(["resume"])
    seen += read(second, 2000)
    second.commit(asynchronous=False)
    check(sorted(seen) == list(range(3000)), f"{len(seen)} records, {len(set(seen))} different ones")
    rest = read(second, 1, 2)
    check(rest == [], f"records after the end: {rest[:3]}")
    committed = second.committed([TopicPartition("resume", p) for p in range(3)], timeout=SECONDS)
    check([p.offset for p in committed] == [1000] * 3, str(committed))
    second.close()


def commits_by_hand():
    reader = member("by-hand")
    reader.commit(offsets=[TopicPartition("resume", 1, 7)], asynchronous=False)
    found = reader.committed([TopicPartition("resume", 1), TopicPartition("resume", 2)], timeout=SECONDS)
    check([p.offset for p in found] == [7, -1001], str(found))
    try:
        result = reader.commit(offsets=[TopicPartition("no-such-topic", 0, 7)], asynchronous=False)
        check(result[0].error is not None, f"a commit to an unknown topic passed: {result}")
    except KafkaException:
        pass
    reader.close()
    noted = kafka.KafkaConsumer(bootstrap_servers=server.address, group_id="noted", enable_auto_commit=False)
    place = kafka.TopicPartition("resume", 1)
    noted.commit({place: kafka.OffsetAndMetadata(9, "a note")})
    check(noted.committed(place, metadata=True) == kafka.OffsetAndMetadata(9, "a note"), "the note of a commit")
    noted.close()


class Worker(threading.Thread):
    """A member that reads and commits until it is told to stop; dies without a word when told to."""

    def __init__(self, group, topic, **extra):
        super().__init__(daemon=True)
        self.reader = member(group, **extra)
        self.assigned = []
        self.assignments = 0
        self.found = []
        self.stop_asked = False
        self.reader.subscribe([topic], on_assign=self.on_assign, on_revoke=self.on_revoke)

    def on_assign(self, _, partitions):
        self.assignments += 1
        self.assigned = sorted(set(self.assigned) | {p.partition for p in partitions})

    def on_revoke(self, _, partitions):
        self.assigned = sorted(set(self.assigned) - {p.partition for p in partitions})

    def run(self):
        while not self.stop_asked:
            message = self.reader.poll(0.2)
            if message is None or message.error():
                continue
            self.found.append(int(message.value()))
            try:
                self.reader.commit(message=message, asynchronous=False)
            except KafkaException:
                pass  # a rebalance or the restart of the server is under way
        self.reader.close()

    def end(self):
        self.stop_asked = True
        self.join(SECONDS)


def until(condition, text, seconds=SECONDS):
    end = time.monotonic() + seconds
    while not condition():
        check(time.monotonic() < end, text() if callable(text) else text)
        time.sleep(0.1)


def shares(workers):
    return sorted(p for worker in workers for p in worker.assigned)


def members_come_and_go(strategy):
    topic = f"share-{strategy}"
    create(topic, 6)
    workers = []
    for count in (1, 2, 3):
        workers.append(Worker(topic, topic, **{"partition.assignment.strategy": strategy}))
        workers[-1].start()
        until(lambda: shares(workers) == list(range(6)) and all(len(w.assigned) == 6 // count for w in workers),
              lambda: f"{count} members: {[w.assigned for w in workers]}")
    write(topic, 6, 600)
    until(lambda: len({n for w in workers for n in w.found}) == 600, lambda: f"{[len(w.found) for w in workers]}")
    workers.pop(0).end()
    until(lambda: shares(workers) == list(range(6)), lambda: f"after one left: {[w.assigned for w in workers]}")
    for worker in workers:
        worker.end()


def a_member_dies():
    create("dies", 4)
    write("dies", 4, 400)
    program = ("import sys\nfrom confluent_kafka import Consumer\n"
               "reader = Consumer({'bootstrap.servers': sys.argv[1], 'group.id': 'dies', 'enable.auto.commit': False,"
               " 'session.timeout.ms': 6000, 'auto.offset.reset': 'earliest'})\n"
               "reader.subscribe(['dies'])\n"
               "while True:\n    message = reader.poll(1)\n    if message:\n        print(message.value(), flush=True)\n")
    with subprocess.Popen([sys.executable, "-c", program, server.address], stdout=subprocess.PIPE) as dying:
        check(dying.stdout.readline() != b"", "the first member read nothing")
        worker = Worker("dies", "dies")
        worker.start()
        until(lambda: len(worker.assigned) == 2, lambda: f"{worker.assigned}")
        dying.kill()
    until(lambda: worker.assigned == [0, 1, 2, 3], lambda: f"nobody took over: {worker.assigned}", 20)
    until(lambda: len(set(worker.found)) == 400, lambda: f"{len(set(worker.found))} of 400 records")
    worker.end()


def a_static_member_restarts():
    create("static", 2)
    first = Worker("static", "static", **{"group.instance.id": "one", "session.timeout.ms": 20000})
    second = Worker("static", "static", **{"group.instance.id": "two", "session.timeout.ms": 20000})
    first.start()
    second.start()
    until(lambda: shares([first, second]) == [0, 1] and len(first.assigned) == 1, lambda: f"{first.assigned} {second.assigned}")
    mine, before = first.assigned, second.assignments
    first.end()
    again = Worker("static", "static", **{"group.instance.id": "one", "session.timeout.ms": 20000})
    again.start()
    until(lambda: again.assigned == mine, lambda: f"{again.assigned} is not {mine}")
    check(second.assignments == before, "the other member saw a rebalance")
    again.end()
    second.end()


def the_server_dies():
    """kill -9 in the middle: commits that were told are there, members go on, each record is read; a record may be seen twice only when
    its commit was not told."""
    create("killed", 4)
    worker = Worker("killed", "killed")
    worker.start()
    write("killed", 4, 1000)
    until(lambda: len(worker.found) > 300, "no progress")
    server.kill()
    server.start()
    write("killed", 4, 1000)
    until(lambda: len(worker.found) >= 2000, lambda: f"{len(worker.found)} records", 60)
    repeated = len(worker.found) - 2000
    check(sorted(set(worker.found)) == list(range(1000)), "records are missing")
    check(repeated <= 4, f"{repeated} records were read again")
    worker.end()
    reader = member("killed")
    committed = reader.committed([TopicPartition("killed", p) for p in range(4)], timeout=SECONDS)
    check([p.offset for p in committed] == [500] * 4, str(committed))
    reader.close()


def tools_of_kafka_python():
    client = KafkaAdminClient(bootstrap_servers=server.address)
    check(("resume", "consumer") in client.list_consumer_groups(), "not listed")
    described = client.describe_consumer_groups(["resume", "no-such-group"])
    check([g.state for g in described] == ["Empty", "Dead"], str(described))
    offsets = client.list_consumer_group_offsets("resume")
    check(offsets[kafka.TopicPartition("resume", 2)].offset == 1000, str(offsets))
    reader = kafka.KafkaConsumer("resume", bootstrap_servers=server.address, group_id="python", auto_offset_reset="earliest",
                                 consumer_timeout_ms=3000)
    check(sum(1 for _ in reader) == 3000, "records read")
    reader.commit()
    described = client.describe_consumer_groups(["python"])[0]
    check(described.state == "Stable", "state with a member")
    check([m.client_host for m in described.members] == ["/127.0.0.1"], f"hosts of members: {described.members}")
    check(dict(client.delete_consumer_groups(["python"]))["python"] is NonEmptyGroupError, "a group with members was deleted")
    reader.close()
    results = dict(client.delete_consumer_groups(["python", "no-such-group"]))
    check(results["python"].errno == 0, str(results))
    check(results["no-such-group"] is GroupIdNotFoundError, str(results))
    check("python" not in [name for name, _ in client.list_consumer_groups()], "still listed")
    client.close()


def cli(*words, status=0):
    done = subprocess.run([binary(), *words, "--server", server.address], stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=SECONDS)
    check(done.returncode == status, f"{' '.join(words)} gave {done.returncode}: {done.stderr.decode()[-400:]}")
    return done.stdout.decode()


def command_line():
    told = cli("group", "--help")
    check(all(f"eagre group {verb}" in told for verb in ("list", "describe", "reset-offsets", "delete")) and "eagre topic" not in told, told)
    cli("group", status=2)
    cli("group", "no-such-verb", status=2)
    check("resume" in cli("group", "list"), "not listed")
    described = json.loads(cli("group", "describe", "resume", "--json"))
    check([row["lag_records"] for row in described["offsets"]] == [0, 0, 0], str(described))
    cli("group", "reset-offsets", "resume", "--shift", "-10", "--dry-run")
    check(json.loads(cli("group", "describe", "resume", "--json")) == described, "a dry run changed something")
    cli("group", "reset-offsets", "resume", "--shift", "-10")
    rows = json.loads(cli("group", "describe", "resume", "--json"))["offsets"]
    check([row["lag_records"] for row in rows] == [10] * 3 and all(row["lag_seconds"] > 0 for row in rows), str(rows))
    cli("group", "reset-offsets", "resume", "--topic", "resume", "--to", "latest")
    reader = member("resume")
    reader.subscribe(["resume"])
    check(read(reader, 1, 3) == [], "records after the end")
    cli("group", "reset-offsets", "resume", "--to", "earliest", status=1)  # it has a member
    cli("group", "delete", "resume", status=1)
    reader.close()
    cli("group", "reset-offsets", "resume", "--to", "nowhere", status=2)
    cli("group", "reset-offsets", "resume", status=2)
    cli("group", "describe", "no-such-group", status=4)
    cli("group", "delete", "resume")
    cli("group", "describe", "resume", status=4)
    cli("group", "delete", "resume", status=4)
    fresh = cli("group", "reset-offsets", "resume", "--topic", "resume", "--to", "earliest", "--dry-run")
    check("resume/0  none -> 0" in fresh, fresh)


def command_line_reads_in_a_group():
    first = cli("consume", "resume", "--group", "lines", "--count", "700").splitlines()
    rest = cli("consume", "resume", "--group", "lines").splitlines()
    check(len(first) == 700 and len(rest) == 2300, f"{len(first)} and {len(rest)} lines")
    check(len(set(first) | set(rest)) == len(set(cli("consume", "resume").splitlines())), "a record was left out or read twice")
    check(cli("consume", "resume", "--group", "lines") == "", "records after the end")
    rows = json.loads(cli("group", "describe", "lines", "--json"))["offsets"]
    check([row["lag_records"] for row in rows] == [0, 0, 0], str(rows))
    cli("consume", "resume", "--group", "lines", "--partition", "1", status=2)
    cli("consume", "resume", "--group", "lines", "--from", "7", status=2)
    cli("consume", "no-such-topic", "--group", "lines", status=4)
    check(cli("consume", "resume", "--group", "late", "--from", "end") == "", "--from end")
    cli("group", "delete", "lines")


def nobody_writes_their_log():
    producer = Producer({"bootstrap.servers": server.address, "message.timeout.ms": 5000})
    errors = []
    producer.produce("__consumer_offsets", b"junk", on_delivery=lambda error, _: errors.append(error))
    producer.flush(SECONDS)
    check(len(errors) == 1 and errors[0] is not None, f"{errors}")


def metrics_tell_of_groups():
    found = server.metrics()
    check(found['eagre_groups{tile="control",state="empty"}'] >= 1, "no empty group")
    check(found['eagre_group_commits_total{tile="control"}'] > 100, "commits")
    for cause in ("join", "leave"):
        check(found[f'eagre_group_rebalances_total{{tile="control",cause="{cause}"}}'] > 0, cause)
    check(found['eagre_group_limits_reached_total{tile="control"}'] == 0, "a limit was reached")


def ends_well():
    waiting = Worker("last", "killed")
    waiting.start()
    until(lambda: waiting.assigned, "no assignment")
    began = time.monotonic()
    status = server.stop()
    check(status == 0, f"exit status {status}: {server.log_tail(5)}")
    check(time.monotonic() - began < 20, "the stop took too long")
    waiting.stop_asked = True


def main():
    server.start()
    suite.run("commit and resume", commit_and_resume)
    suite.run("commits by hand, with a note, and to nowhere", commits_by_hand)
    for strategy in ("range", "roundrobin", "cooperative-sticky"):
        suite.run(f"members come and go, {strategy}", members_come_and_go, strategy)
    suite.run("a member dies", a_member_dies)
    suite.run("a static member restarts", a_static_member_restarts)
    suite.run("the server is killed", the_server_dies)
    suite.run("tools of kafka-python", tools_of_kafka_python)
    suite.run("eagre group", command_line)
    suite.run("the command line reads as a member of a group", command_line_reads_in_a_group)
    suite.run("metrics tell of groups", metrics_tell_of_groups)
    suite.run("producers are kept out of the group log", nobody_writes_their_log)
    suite.run("the server stops beside a member", ends_well)
    server.close(keep=suite.failed > 0)
    return suite.finish()


if __name__ == "__main__":
    sys.exit(main())
