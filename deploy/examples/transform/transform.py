#!/usr/bin/python3
"""Reads order events, turns each into an invoice line, writes that: one worker of a consume-transform-produce job, exactly once.

    transform.py HOST:PORT GROUP INPUT OUTPUT --id ID

A transaction holds the lines of a batch *and* the offsets up to which the batch was read. Both are there or neither is: a worker that
is killed leaves nothing half done, and whoever reads its partitions next begins after the last committed batch.

Two guards keep a worker that was only slow from writing what its heir has written: the transactional id (a restarted worker of the same
ID fences the older one), and the group (offsets of a member that was replaced are refused, and with them the whole transaction).

SIGTERM ends it after the batch at hand. Status 3: it cannot go on (fenced, or the client has lost track of its transaction); a
supervisor starts it again, and beginning is all the recovery there is."""

import argparse
import json
import random
import signal
import sys
import time

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, Producer, TopicPartition

BATCH = 200
BATCH_SECONDS = 0.1  # a batch that is not full is ended after this
SECONDS = 60
START_AGAIN = 3
FENCED_CODES = (KafkaError._FENCED, KafkaError.PRODUCER_FENCED, KafkaError.INVALID_PRODUCER_EPOCH)


def invoice_line(message):
    """The work itself: a pure function of the record."""
    event = json.loads(message.value())
    line = {"order": event["order"], "status": event["status"], "cents": event.get("total_cents", 0),
            "source": f"{message.partition()}@{message.offset()}"}
    return json.dumps(line, separators=(",", ":"))


class CannotGoOn(Exception):
    """A newer worker has our transactional id, our transaction took longer than it may, or the client is at its wits' end."""


class Worker:
    def __init__(self, arguments):
        self.output = arguments.output
        self.give_up = arguments.give_up
        self.chance = random.Random()
        self.running = True
        self.batch = []
        self.committed = 0
        self.producer = Producer({
            "bootstrap.servers": arguments.brokers,
            "transactional.id": f"{arguments.group}-{arguments.id}",
            # If we are killed and not started again, readers of committed records wait so long for our open transaction.
            "transaction.timeout.ms": 10000,
            "linger.ms": 5,
            "reconnect.backoff.max.ms": 500,
        })
        # First of all: ends the transaction that a predecessor left, so that the offsets below are final.
        self.attempt(lambda: self.producer.init_transactions(SECONDS))
        self.consumer = Consumer({
            "bootstrap.servers": arguments.brokers,
            "group.id": arguments.group,
            "enable.auto.commit": False,  # offsets are committed by the producer, in its transaction
            "isolation.level": "read_committed",
            "auto.offset.reset": "earliest",
            "partition.assignment.strategy": "cooperative-sticky",
            "session.timeout.ms": 6000,
            "heartbeat.interval.ms": 500,
            "reconnect.backoff.max.ms": 500,
        })
        self.consumer.subscribe([arguments.input], on_assign=self.on_assign, on_revoke=self.on_revoke, on_lost=self.on_lost)

    # Callbacks run inside poll(): never inside a transaction.

    def on_assign(self, _, partitions):
        self.say("assigned", partitions)

    def on_revoke(self, _, partitions):
        self.publish()  # still ours: the heir begins after it
        self.say("revoked", partitions)

    def on_lost(self, _, partitions):
        self.batch = []  # not ours any more: the heir reads these records again
        self.say("lost", partitions)

    def say(self, what, partitions):
        print(f"{what} {' '.join(str(p) for p in sorted(p.partition for p in partitions))}", flush=True)

    def collect(self):
        """Fills the batch for a moment, or until it is full."""
        end = time.monotonic() + BATCH_SECONDS
        while len(self.batch) < BATCH and time.monotonic() < end:
            message = self.consumer.poll(BATCH_SECONDS)
            if message is None:
                continue
            if message.error() is None:
                self.batch.append(message)
            elif message.error().fatal():
                raise KafkaException(message.error())
            else:
                print(f"goes on after: {message.error()}", flush=True)

    def publish(self):
        """The batch and its offsets in one transaction; where that fails, all of it is undone and read again."""
        if not self.batch:
            return
        batch, self.batch = self.batch, []
        self.producer.begin_transaction()
        try:
            for message in batch:
                self.producer.produce(self.output, key=message.key(), value=invoice_line(message))
            self.attempt(lambda: self.producer.send_offsets_to_transaction(after(batch), self.consumer.consumer_group_metadata(), SECONDS))
            if self.chance.random() < self.give_up:
                raise RuntimeError("given up on purpose")
            self.attempt(lambda: self.producer.commit_transaction(SECONDS))
            self.committed += len(batch)
        except (KafkaException, RuntimeError) as failure:
            print(f"aborted: {failure}", flush=True)
            self.attempt(lambda: self.producer.abort_transaction(SECONDS))
            self.rewind()

    def rewind(self):
        """Back to what is committed: the records of an aborted batch are read again."""
        assigned = self.consumer.assignment()
        if not assigned:
            return
        for place in self.consumer.committed(assigned, timeout=SECONDS):
            offset = place.offset if place.offset >= 0 else OFFSET_BEGINNING
            self.consumer.seek(TopicPartition(place.topic, place.partition, offset))

    def attempt(self, call):
        """Calls again as long as the client says that this may help."""
        end = time.monotonic() + SECONDS
        while True:
            try:
                return call()
            except KafkaException as failure:
                error = failure.args[0]
                if error.fatal() or error.code() in FENCED_CODES:
                    raise CannotGoOn(f"{error.name()}: {error}") from None
                if not error.retriable() or time.monotonic() > end:
                    raise

    def run(self):
        while self.running:
            self.collect()
            self.publish()
        self.consumer.close()  # what was collected since and not published is the heir's
        print(f"committed {self.committed}", flush=True)

    def stop(self, *_):
        self.running = False


def after(batch):
    """Per partition the offset after its last record of the batch."""
    ends = {(m.topic(), m.partition()): m.offset() + 1 for m in batch}
    return [TopicPartition(topic, partition, offset) for (topic, partition), offset in ends.items()]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("brokers")
    parser.add_argument("group")
    parser.add_argument("input")
    parser.add_argument("output")
    parser.add_argument("--id", required=True, help="names this worker; the same after a restart, another for each worker")
    parser.add_argument("--give-up", type=float, default=0, help="share of the transactions to abort, to see that no reader notices")
    try:
        worker = Worker(parser.parse_args())
        signal.signal(signal.SIGTERM, worker.stop)
        signal.signal(signal.SIGINT, worker.stop)
        worker.run()
    except CannotGoOn as reason:
        print(f"cannot go on: {reason}", flush=True)
        return START_AGAIN
    return 0


if __name__ == "__main__":
    sys.exit(main())
