"""A consume-transform-produce job of several workers, its input, and the judgement of its output.

The workers are deploy/examples/transform, the input is order events sent by deploy/examples/pipeline. Whatever is killed meanwhile: a
reader of committed records must find one line per input record, made of that record, and the lines of a key in the order of their
records."""

import collections
import itertools
import json
import os
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "examples"))
from example import EXAMPLES, SECONDS, Tail, check, create, until  # noqa: E402

INPUT = "orders"
OUTPUT = "invoices"
START_AGAIN = 3  # what a worker says that cannot go on
PARTITIONS = 12


class Job:
    def __init__(self, place, server, events, give_up=0.0):
        self.place = place
        self.server = server
        self.events = events
        self.give_up = give_up
        self.workers = {}
        self.ended = collections.Counter()  # of workers that ended by themselves, by reason
        self.feeder = None
        self.missing = set()
        self.lines = Tail(server.address, OUTPUT)
        self.records = Tail(server.address, INPUT)

    def prepare(self):
        create(self.server, INPUT, PARTITIONS)
        create(self.server, OUTPUT, PARTITIONS)
        path = self.place.path("events.tsv")
        subprocess.run([sys.executable, os.path.join(EXAMPLES, "orders", "orders.py"), "make", path, str(self.events)], check=True)

    def feed(self, rate):
        with open(self.place.path("events.tsv"), "rb") as lines:
            self.feeder = self.place.start("feeder", [sys.executable, os.path.join(EXAMPLES, "pipeline", "producer.py"), self.server.address,
                                                      INPUT, "--rate", str(rate)], stdin=lines)

    def start(self, name, log=None):
        self.workers[name] = self.place.start(log or f"worker-{name}", [
            sys.executable, os.path.join(EXAMPLES, "transform", "transform.py"), self.server.address, "billing", INPUT, OUTPUT,
            "--id", name, "--give-up", str(self.give_up)])
        return self.workers[name]

    def watch(self):
        """The supervisor: a worker that ended by itself is started again; it must have said why."""
        for name, worker in self.workers.items():
            if not worker.alive():
                status = worker.process.returncode
                check(status == START_AGAIN, lambda: f"worker {name} ended with {status}: {worker.tail()}")
                self.ended[worker.text().split("cannot go on: ")[1].split(":")[0]] += 1
                self.start(name)

    def drain(self, seconds=2 * SECONDS):
        """Waits until the input is all sent and the output has a line for each record, or stays short of it."""
        check(self.feeder.wait(seconds) == 0, self.feeder.tail())

        def done():
            self.watch()
            return self.lines.count() >= self.events
        until(done, lambda: f"{self.lines.count()} of {self.events} lines: " + "".join(w.tail(3) for w in self.workers.values()), seconds)

    def stop(self):
        for name, worker in self.workers.items():
            check(worker.stop() in (0, START_AGAIN), lambda: f"worker {name}: {worker.tail()}")

    def judge(self):
        """No record has two lines, and no line is of something else. Returns how many lines there are."""
        found = self.lines.read()  # before the input, which goes on growing
        sources = {f"{partition}@{message.offset()}": message
                   for partition, messages in self.records.read().items() for message in messages}
        seen = set()
        last = {}
        for message in itertools.chain.from_iterable(found.values()):
            line = json.loads(message.value())
            check(line["source"] not in seen, f"{line['source']} has two lines")
            seen.add(line["source"])
            check(line["source"] in sources, f"a line of {line['source']}, which is not in the input")
            judge_line(message, line, sources[line["source"]], last)
        self.missing = sources.keys() - seen
        return len(seen)

    def judge_all(self):
        """At the end, read anew: each record of the input has its line. Returns the number of lines of aborted transactions."""
        self.lines = Tail(self.server.address, OUTPUT)
        self.records = Tail(self.server.address, INPUT)
        count = self.judge()
        check(self.records.count() == self.events, lambda: f"{self.records.count()} of {self.events} records in the input")
        check(not self.missing, lambda: f"{len(self.missing)} of {self.events} records have no line, as {sorted(self.missing)[:3]}")
        return Tail(self.server.address, OUTPUT, "read_uncommitted").count() - count


def judge_line(message, line, source, last):
    event = json.loads(source.value())
    check(message.key() == source.key() and line["order"] == event["order"] and line["status"] == event["status"]
          and line["cents"] == event.get("total_cents", 0), f"the line of {line['source']} is not of its record: {line}")
    due = last.get(message.key(), -1)
    check(source.offset() > due, f"{message.key()}: the line of offset {source.offset()} comes after that of {due}")
    last[message.key()] = source.offset()
