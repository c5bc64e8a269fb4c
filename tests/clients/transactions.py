"""Transactional producers of librdkafka (confluent-kafka) against one server process that is killed in every phase.

Goal: what was committed is read, once and whole; what was aborted, fenced, timed out or left open is never read by readers of committed
records; offsets go with the records. Method: numbered records, readers of both isolation levels, kill -9 of the server while a
transaction is open, while it is being ended, and right after its end was told."""

import json
import os
import random
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "system"))
from server import Server, Suite, binary  # noqa: E402

from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition  # noqa: E402
from confluent_kafka.admin import AdminClient, NewTopic  # noqa: E402

SECONDS = 40
ROUNDS = 6 if "CLIENTS_CI" in os.environ else 12

server = Server("--group.initial.rebalance.delay.ms", "0ms")
suite = Suite("transactions")


def check(condition, text):
    if not condition:
        raise AssertionError(text)


def create(topic, partitions=1):
    client = AdminClient({"bootstrap.servers": server.address})
    client.create_topics([NewTopic(topic, partitions, 1)], request_timeout=SECONDS)[topic].result()


def producer(name, **extra):
    made = Producer({"bootstrap.servers": server.address, "transactional.id": name, "transaction.timeout.ms": 30000, "linger.ms": 0,
                     "reconnect.backoff.ms": 20, "reconnect.backoff.max.ms": 100, "retry.backoff.ms": 20, **extra})
    made.init_transactions(SECONDS)
    return made


def write(made, topic, values, partitions=1):
    for value in values:
        made.produce(topic, str(value), partition=value % partitions)
        made.poll(0)


def read(topic, partitions=1, level="read_committed", seconds=SECONDS):
    """All that a reader of this level sees, up to the end of each partition."""
    reader = Consumer({"bootstrap.servers": server.address, "group.id": "nobody", "isolation.level": level, "enable.auto.commit": False,
                       "auto.offset.reset": "earliest", "enable.partition.eof": True})
    reader.assign([TopicPartition(topic, p, 0) for p in range(partitions)])
    found = []
    ended = set()
    end = time.monotonic() + seconds
    while len(ended) < partitions and time.monotonic() < end:
        message = reader.poll(0.5)
        if message is None:
            continue
        if message.error():
            check(message.error().code() == KafkaError._PARTITION_EOF, str(message.error()))
            ended.add(message.partition())
            continue
        found.append(int(message.value()))
    reader.close()
    check(len(ended) == partitions, f"the end of {partitions - len(ended)} partitions was not reached")
    return sorted(found)


def counter(name):
    return sum(value for key, value in server.metrics().items() if key.startswith(name))


def aborts(reason):
    return sum(value for key, value in server.metrics().items() if key.startswith("eagre_transaction_aborts_total") and reason in key)


def until(condition, text, seconds=SECONDS):
    end = time.monotonic() + seconds
    while not condition():
        check(time.monotonic() < end, text)
        time.sleep(0.05)


def committed_and_aborted():
    create("both", 3)
    made = producer("both")
    made.begin_transaction()
    write(made, "both", range(100), 3)
    made.commit_transaction(SECONDS)
    made.begin_transaction()
    write(made, "both", range(100, 150), 3)
    made.flush(SECONDS)
    made.abort_transaction(SECONDS)
    made.begin_transaction()
    write(made, "both", range(150, 200), 3)
    made.commit_transaction(SECONDS)
    wanted = list(range(100)) + list(range(150, 200))
    until(lambda: read("both", 3) == wanted, "committed records")
    check(read("both", 3, "read_uncommitted") == list(range(200)), "all records")


def readers_wait_for_the_end():
    create("wait")
    made = producer("wait")
    made.begin_transaction()
    write(made, "wait", range(10))
    check(made.flush(SECONDS) == 0, "flush")
    check(read("wait") == [], "records of an open transaction were read")
    check(read("wait", level="read_uncommitted") == list(range(10)), "uncommitted records")
    made.commit_transaction(SECONDS)
    until(lambda: read("wait") == list(range(10)), "committed records")


def a_second_producer_fences():
    create("fence")
    first = producer("fence")
    first.begin_transaction()
    write(first, "fence", range(5))
    first.flush(SECONDS)
    second = producer("fence")
    second.begin_transaction()
    write(second, "fence", range(5, 10))
    second.commit_transaction(SECONDS)
    try:
        write(first, "fence", [99])
        first.commit_transaction(SECONDS)
        check(False, "a fenced producer committed")
    except KafkaException as problem:
        check(problem.args[0].fatal(), f"not fatal: {problem}")
        check(problem.args[0].code() in (KafkaError._FENCED, KafkaError.INVALID_PRODUCER_EPOCH, KafkaError.PRODUCER_FENCED), str(problem))
    until(lambda: read("fence") == list(range(5, 10)), "the second's records alone")
    check(aborts("fenced") >= 1, "the counter of aborts")


def a_transaction_lasts_too_long():
    create("late")
    made = producer("late", **{"transaction.timeout.ms": 1500})
    made.begin_transaction()
    write(made, "late", range(5))
    made.flush(SECONDS)
    late = aborts("timeout")
    until(lambda: aborts("timeout") > late, "the timeout was not kept")
    try:
        made.commit_transaction(SECONDS)
        check(False, "a transaction beyond its timeout was committed")
    except KafkaException as problem:
        check(problem.args[0].fatal() or problem.args[0].txn_requires_abort(), str(problem))
    check(read("late") == [], "records of a transaction beyond its timeout")
    again = producer("late")
    again.begin_transaction()
    write(again, "late", [7])
    again.commit_transaction(SECONDS)
    until(lambda: read("late") == [7], "the id goes on")


def offsets_go_with_the_records():
    create("in", 2)
    create("out", 2)
    plain = Producer({"bootstrap.servers": server.address})
    for i in range(100):
        plain.produce("in", str(i), partition=i % 2)
    check(plain.flush(SECONDS) == 0, "flush")
    reader = Consumer({"bootstrap.servers": server.address, "group.id": "transform", "enable.auto.commit": False,
                       "auto.offset.reset": "earliest", "isolation.level": "read_committed"})
    reader.subscribe(["in"])
    made = producer("transform")
    done = 0
    turn = 0
    end = time.monotonic() + SECONDS
    while done < 100 and time.monotonic() < end:
        messages = reader.consume(10, 1.0)
        if not messages:
            continue
        made.begin_transaction()
        for message in messages:
            made.produce("out", message.value(), partition=message.partition())
        places = [TopicPartition("in", p, o) for p, o in reader_places(messages).items()]
        made.send_offsets_to_transaction(places, reader.consumer_group_metadata(), SECONDS)
        turn += 1
        if turn % 3 == 0:
            made.abort_transaction(SECONDS)
            back = reader.committed(reader.assignment(), timeout=SECONDS)
            for place in back:
                place.offset = max(place.offset, 0)
                reader.seek(place)
            continue
        made.commit_transaction(SECONDS)
        done += len(messages)
    check(done == 100, f"{done} of 100 went through")
    until(lambda: read("out", 2) == list(range(100)), "each record once")
    found = reader.committed([TopicPartition("in", p) for p in range(2)], timeout=SECONDS)
    check([p.offset for p in found] == [50, 50], str(found))
    reader.close()


def reader_places(messages):
    """The next offset of each partition."""
    places = {}
    for message in messages:
        places[message.partition()] = max(places.get(message.partition(), 0), message.offset() + 1)
    return places


def restart():
    server.kill()
    server.start()


def killed_while_open():
    """The producer lives on: it neither loses its transaction nor its epoch."""
    create("open", 3)
    made = producer("open")
    made.begin_transaction()
    write(made, "open", range(30), 3)
    check(made.flush(SECONDS) == 0, "flush")
    restart()
    write(made, "open", range(30, 60), 3)
    made.commit_transaction(SECONDS)
    until(lambda: read("open", 3) == list(range(60)), "records on both sides of the death")
    made.begin_transaction()
    write(made, "open", range(60, 90), 3)
    made.flush(SECONDS)
    restart()
    made.abort_transaction(SECONDS)
    until(lambda: read("open", 3) == list(range(60)), "an abort after the death")


def killed_with_its_producer():
    """Both die: the next producer of the id aborts what was left open."""
    create("orphan")
    made = producer("orphan")
    made.begin_transaction()
    write(made, "orphan", range(10))
    made.flush(SECONDS)
    del made  # never ends its transaction
    restart()
    check(read("orphan") == [], "records of an open transaction")
    again = producer("orphan")
    again.begin_transaction()
    write(again, "orphan", range(10, 20))
    again.commit_transaction(SECONDS)
    until(lambda: read("orphan") == list(range(10, 20)), "the second's records alone")


def killed_after_the_answer():
    """The decision was told: markers follow after the restart, if they have to."""
    create("told", 6)
    wanted = []
    for turn in range(ROUNDS):
        made = producer("told")
        values = list(range(turn * 12, turn * 12 + 12))
        made.begin_transaction()
        write(made, "told", values, 6)
        made.flush(SECONDS)
        if turn % 2 == 0:
            made.commit_transaction(SECONDS)
            wanted += values
        else:
            made.abort_transaction(SECONDS)
        restart()
        until(lambda: read("told", 6) == wanted, f"turn {turn}: what was told does not stand")


def killed_at_any_moment():
    """Deaths at random moments of add, produce, decision, markers and end: all or nothing of each transaction, all of those that were
    told to be committed."""
    seed = int(os.environ.get("SEED", time.time()))
    print(f"  seed {seed}")
    draw = random.Random(seed)
    create("any", 4)
    made = producer("any")
    told = set()
    unclear = set()
    deaths = 0
    for turn in range(ROUNDS * 4):
        values = list(range(turn * 8, turn * 8 + 8))
        commits = draw.random() < 0.7
        killer = None
        if turn % 4 == 3:
            delay = draw.random() * 0.03
            killer = threading.Thread(target=lambda: (time.sleep(delay), restart()))
            killer.start()
            deaths += 1
        try:
            made.begin_transaction()
            write(made, "any", values, 4)
            if commits:
                unclear.add(turn)
                made.commit_transaction(SECONDS)
                told.add(turn)
            else:
                made.abort_transaction(SECONDS)
        except KafkaException as problem:
            # Beyond a death a client may be told to abort, or to begin anew; never that it is fenced.
            if killer:
                killer.join()
                killer = None
            if problem.args[0].txn_requires_abort():
                made.abort_transaction(SECONDS)
            else:
                print(f"  turn {turn}: {problem}")
                made = producer("any")
        if killer:
            killer.join()
    last = producer("any")  # ends whatever is open
    last.begin_transaction()
    last.commit_transaction(SECONDS)

    def whole():
        found = read("any", 4)
        check(len(found) == len(set(found)), "a record was read twice")
        by_turn = {}
        for value in found:
            by_turn.setdefault(value // 8, []).append(value)
        check(all(len(values) == 8 for values in by_turn.values()), f"a part of a transaction: {by_turn}")
        check(set(by_turn) <= unclear, f"aborted transactions were read: {set(by_turn) - unclear}")
        return told <= set(by_turn)

    until(whole, "a transaction that was told to be committed is not there")
    print(f"  {deaths} deaths, {len(told)} committed")


def metrics_tell():
    found = server.metrics()
    names = {key.split("{")[0] for key in found}
    for name in ("eagre_transactions", "eagre_transaction_commits_total", "eagre_transaction_age_milliseconds"):
        check(name in names, f"{name} is missing")
    made = producer("metrics")
    create("metrics")
    made.begin_transaction()
    write(made, "metrics", range(3))
    made.flush(SECONDS)
    until(lambda: any(v == 1 for k, v in server.metrics().items() if k.startswith("eagre_transactions{") and "ongoing" in k),
          "an open transaction")
    until(lambda: counter("eagre_transaction_age_milliseconds") > 500, "its age")
    one = server.json("/api/v1/transactions?id=metrics")
    check((one["state"], one["partitions"]) == ("Ongoing", [{"topic": "metrics", "partition": 0}]), str(one))
    listed = {row["id"]: row for row in server.json("/api/v1/transactions")["transactions"]}
    check(listed["metrics"]["partition_count"] == 1 and listed["both"]["start_ms"] == -1, str(listed["metrics"]))
    made.commit_transaction(SECONDS)
    until(lambda: counter("eagre_transaction_commits_total") >= 1, "its commit")
    until(lambda: counter("eagre_transaction_age_milliseconds") == 0, "no open transaction has an age")


def command_line():
    """All of the input is one transaction; both isolation levels."""
    create("words")
    made = producer("words-open")
    subprocess.run([server.program, "produce", "words", "--server", server.address, "--transactional", "words", "--quiet"],
                   input=b"1\n2\n3\n", check=True, capture_output=True, timeout=SECONDS)
    made.begin_transaction()
    write(made, "words", [4])
    made.flush(SECONDS)

    def seen(level):
        found = subprocess.run([server.program, "consume", "words", "--server", server.address, "--isolation", level],
                               capture_output=True, timeout=SECONDS)
        check(found.returncode == 0, found.stderr.decode())
        return found.stdout.split()

    until(lambda: seen("committed") == [b"1", b"2", b"3"], "committed records on the command line")
    check(seen("uncommitted") == [b"1", b"2", b"3", b"4"], "all records on the command line")
    made.abort_transaction(SECONDS)
    refused = subprocess.run([server.program, "consume", "words", "--server", server.address, "--isolation", "none"],
                             capture_output=True, timeout=SECONDS)
    check(refused.returncode != 0 and b"--isolation" in refused.stderr, "a level that there is not")


def eagre(*words, status=0):
    done = subprocess.run([binary(), *words, "--server", server.address], stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=SECONDS)
    check(done.returncode == status, f"eagre {' '.join(words)}: exit {done.returncode}: {done.stderr.decode()}")
    return done.stdout.decode()


def listed(*words):
    return {row["transactional_id"]: row["state"] for row in json.loads(eagre("transaction", "list", "--json", *words))}


def an_operator_puts_an_end_to_one():
    create("operated", 2)
    eagre("transaction", "describe", "operated", status=4)
    eagre("transaction", "abort", "operated", status=4)
    check("operated" not in listed(), "a question made an id")
    made = producer("operated")
    eagre("transaction", "abort", "operated", status=1)
    made.begin_transaction()
    write(made, "operated", range(4), 2)
    made.flush(SECONDS)
    check(listed("--state", "Ongoing").get("operated") == "Ongoing", f"open ones: {listed()}")
    check("operated" not in listed("--state", "Empty"), "the filter by state")
    check("operated" not in listed("--longer-than", "600000"), "the filter by age")
    eagre("transaction", "list", "--state", "Nonsense", status=2)
    about = json.loads(eagre("transaction", "describe", "operated", "--json"))
    places = {(place["topic"], place["partition"]) for place in about["partitions"]}
    check(places == {("operated", 0), ("operated", 1)}, str(about))
    check(about["state"] == "Ongoing" and about["timeout_ms"] == 30000 and about["age_ms"] < SECONDS * 1000, str(about))
    check("operated/1" in eagre("transaction", "describe", "operated"), "partitions as text")
    check("fenced" in eagre("transaction", "abort", "operated"), "what was done")
    check(read("operated", 2) == [], "an aborted record was read")
    check(len(read("operated", 2, "read_uncommitted")) == 4, "all records are there")
    try:
        made.commit_transaction(SECONDS)
        raise AssertionError("a fenced producer has committed")
    except KafkaException:
        pass
    check(listed().get("operated") == "Empty", f"{listed()}")


def many_small_ones():
    create("small")
    made = producer("small")
    count = 300
    begin = time.monotonic()
    for i in range(count):
        made.begin_transaction()
        made.produce("small", str(i))
        made.commit_transaction(SECONDS)
    rate = count / (time.monotonic() - begin)
    print(f"  {rate:.0f} transactions/s of one record, one after the other")
    until(lambda: read("small") == list(range(count)), "each record once")


def ends_well():
    check(server.stop() == 0, "exit status")


def main():
    server.start()
    suite.run("committed and aborted", committed_and_aborted)
    suite.run("readers wait for the end", readers_wait_for_the_end)
    suite.run("a second producer fences the first", a_second_producer_fences)
    suite.run("a transaction beyond its timeout", a_transaction_lasts_too_long)
    suite.run("offsets go with the records", offsets_go_with_the_records)
    suite.run("the command line", command_line)
    suite.run("an operator puts an end to one", an_operator_puts_an_end_to_one)
    suite.run("many small ones", many_small_ones)
    suite.run("the server is killed while one is open", killed_while_open)
    suite.run("the server and the producer are killed", killed_with_its_producer)
    suite.run("the server is killed after the answer", killed_after_the_answer)
    suite.run("the server is killed at any moment", killed_at_any_moment)
    suite.run("metrics tell of transactions", metrics_tell)
    suite.run("the server stops", ends_well)
    server.close(keep=suite.failed > 0)
    return suite.finish()


if __name__ == "__main__":
    sys.exit(main())
