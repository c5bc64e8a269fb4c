#!/usr/bin/python3
"""One member of a consumer group that handles each record and then commits: the consumer of a pipeline.

    consumer.py HOST:PORT GROUP TOPIC OUTPUT [--commit-every N]

Handling a record is writing a line to OUTPUT. The order "handle, make it last, commit" is what at-least-once means: a member that is
killed has at most N records handled and not committed, and the member that takes over handles those again. SIGTERM and SIGINT end it
in good order: it commits, leaves the group at once, and nothing is handled twice."""

import argparse
import signal
import sys
import time

from confluent_kafka import Consumer, KafkaError, KafkaException

COMMIT_SECONDS = 1.0


class Worker:
    def __init__(self, arguments):
        self.commit_every = arguments.commit_every
        self.output = open(arguments.output, "a", encoding="utf-8")
        self.running = True
        self.handled = 0
        self.uncommitted = 0
        self.commit_due = 0.0
        self.held = False
        self.consumer = Consumer({
            "bootstrap.servers": arguments.brokers,
            "group.id": arguments.group,
            "auto.offset.reset": "earliest",  # only for a group that has committed nothing yet
            "enable.auto.commit": False,  # we say when
            "enable.auto.offset.store": False,  # and what: store_offsets() after a record was handled
            "partition.assignment.strategy": "cooperative-sticky",  # a newcomer takes a share; the rest is read on meanwhile
            "session.timeout.ms": 6000,  # a member that died is noticed after this
            "heartbeat.interval.ms": 500,
            "max.poll.interval.ms": 60000,  # handling one record never takes longer
            "reconnect.backoff.max.ms": 1000,
        })
        self.consumer.subscribe([arguments.topic], on_assign=self.on_assign, on_revoke=self.on_revoke, on_lost=self.on_lost)

    # Callbacks run inside poll(), so they never meet a record half handled.

    def on_assign(self, _, partitions):
        self.held = None  # what is assigned anew is not paused
        self.say("assigned", partitions)

    def on_revoke(self, _, partitions):
        self.commit()  # they are ours until we return: whoever is next begins where we ended
        self.say("revoked", partitions)

    def on_lost(self, _, partitions):
        # Somebody else may have them already: a commit would be refused, and what we did since the last one is done again.
        self.uncommitted = 0
        self.say("lost", partitions)

    def say(self, what, partitions):
        print(f"{what} {' '.join(str(p.partition) for p in sorted(partitions, key=lambda p: p.partition))}", flush=True)

    def handle(self, message):
        self.output.write(f"{message.partition()}\t{message.offset()}\t{message.key().decode()}\t{message.value().decode()}\n")
        self.handled += 1

    def commit(self):
        if self.uncommitted == 0:
            return
        self.output.flush()  # what was handled must last before the commit says so
        try:
            self.consumer.commit(asynchronous=False)  # what store_offsets() holds
            self.uncommitted = 0
        except KafkaException as error:
            code = error.args[0].code()
            if code == KafkaError._NO_OFFSET:
                self.uncommitted = 0
            else:  # the group changes or the server is away: the next commit covers it, or the next owner does it again
                print(f"not committed: {error.args[0]}", flush=True)
        self.commit_due = time.monotonic() + COMMIT_SECONDS

    def hold(self, wanted):
        """While commits fail nothing more is handled, so that what may be handled twice stays bounded. poll() goes on being called:
        that is what keeps us in the group."""
        if wanted != self.held:
            (self.consumer.pause if wanted else self.consumer.resume)(self.consumer.assignment())
            self.held = wanted

    def stop(self, *_):
        self.running = False

    def run(self):
        signal.signal(signal.SIGTERM, self.stop)
        signal.signal(signal.SIGINT, self.stop)
        try:
            while self.running:
                message = self.consumer.poll(0.2)  # short, so that a signal is noticed
                if message is not None:
                    self.take(message)
                if self.uncommitted >= self.commit_every or (self.uncommitted and time.monotonic() >= self.commit_due):
                    self.commit()
                self.hold(self.uncommitted >= self.commit_every)
            self.commit()
        finally:
            self.consumer.close()  # leaves the group: the others need not wait for the session to run out
        self.output.close()
        print(f"handled {self.handled}", flush=True)

    def take(self, message):
        if message.error():
            if message.error().fatal():
                raise KafkaException(message.error())
            print(f"goes on after: {message.error()}", flush=True)  # the client has retried and will
            return
        self.handle(message)
        self.consumer.store_offsets(message)
        self.uncommitted += 1


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("brokers")
    parser.add_argument("group")
    parser.add_argument("topic")
    parser.add_argument("output")
    parser.add_argument("--commit-every", type=int, default=200, help="records between commits, at most")
    Worker(parser.parse_args()).run()
    return 0


if __name__ == "__main__":
    sys.exit(main())
