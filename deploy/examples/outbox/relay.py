#!/usr/bin/python3
"""Publishes the events of a PostgreSQL outbox: each once, those of an aggregate in the order in which they were committed.

    relay.py DSN HOST:PORT TOPIC [--name NAME]

**Once** is a Kafka transaction that holds a batch of events and the relay's new position (a record of topic NAME-position). Both are
there or neither is, so a relay that is killed at any moment begins where the last commit stands; the transactional id NAME fences one
that was only slow. Readers of TOPIC say isolation.level=read_committed.

**Which events are new** is asked with snapshots, because a sequence number is taken before its transaction commits: number 7 may be
seen before 6, and "all above 7" would lose 6. The position is a snapshot of PostgreSQL: an event is new when its transaction had not
ended in the snapshot that was published last (`done`) and has in the present one (`doing`). A transaction that takes long holds nobody
up and is not forgotten. A window of two snapshots is published by `seq` in batches; `after` is the last one published in it. For one
aggregate `seq` is the order of commits, because writers lock its row first.

**A crash of the database** forgets what was not yet flushed, even the numbers of transactions that were rolled back, and gives these
numbers again. A window is therefore published only after a flush (`flush_log`); so nothing is published that the database may forget.

There is one way to recover, and it is the way to start: whatever fails ends the session, and the next one reads the position."""

import argparse
import json
import signal
import sys
import time

import psycopg2
from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition

NOTHING = "1:1:"  # a snapshot before every transaction
BATCH = 500
SECONDS = 60
FENCED = 3  # exit status: another relay of this name is at work

NEW_EVENTS = """
    SELECT seq, aggregate, kind, payload::text
    FROM outbox
    WHERE xid >= pg_snapshot_xmin(%(done)s::pg_snapshot) AND xid < pg_snapshot_xmax(%(doing)s::pg_snapshot)
      AND NOT pg_visible_in_snapshot(xid, %(done)s::pg_snapshot) AND pg_visible_in_snapshot(xid, %(doing)s::pg_snapshot)
      AND seq > %(after)s
    ORDER BY seq LIMIT %(batch)s
"""


class Fenced(Exception):
    """The transactional id belongs to somebody else now."""


class Topic:
    """The Kafka side: batches of events, each with the position after it, in one transaction."""

    def __init__(self, brokers, topic, name):
        self.brokers = brokers
        self.topic = topic
        self.name = name
        self.position_topic = f"{name}-position"
        self.producer = Producer({
            "bootstrap.servers": brokers,
            "transactional.id": name,
            "transaction.timeout.ms": 30000,
            "linger.ms": 5,
            "reconnect.backoff.max.ms": 1000,
        })
        # Ends what a predecessor left open, one way or the other, and fences it. The position can be read only after this.
        self.attempt(lambda: self.producer.init_transactions(SECONDS))

    def position(self):
        """The last committed position; None at the very first start."""
        reader = Consumer({"bootstrap.servers": self.brokers, "group.id": self.name, "enable.auto.commit": False,
                           "isolation.level": "read_committed", "enable.partition.eof": True, "auto.offset.reset": "earliest"})
        try:
            reader.assign([TopicPartition(self.position_topic, 0, 0)])
            found = None
            end = time.monotonic() + SECONDS
            while time.monotonic() < end:
                message = reader.poll(0.5)
                if message is None:
                    continue
                if message.error() is None:
                    found = json.loads(message.value())
                elif message.error().code() == KafkaError._PARTITION_EOF:
                    return found
                else:
                    raise KafkaException(message.error())
            raise TimeoutError(f"{self.position_topic} could not be read to its end")
        finally:
            reader.close()

    def publish(self, events, position):
        self.producer.begin_transaction()
        for seq, aggregate, kind, payload in events:
            self.producer.produce(self.topic, key=aggregate, value=payload, headers={"event": str(seq), "kind": kind})
        self.producer.produce(self.position_topic, key=self.name, value=json.dumps(position))
        self.attempt(lambda: self.producer.commit_transaction(SECONDS))

    def attempt(self, call):
        """Calls again as long as the client says that this may help. A commit that is called again is still one commit."""
        end = time.monotonic() + SECONDS
        while True:
            try:
                return call()
            except KafkaException as failure:
                error = failure.args[0]
                if error.code() in (KafkaError._FENCED, KafkaError.PRODUCER_FENCED, KafkaError.INVALID_PRODUCER_EPOCH):
                    raise Fenced(str(error)) from None
                if not error.retriable() or time.monotonic() > end:
                    raise


class Outbox:
    """The PostgreSQL side: what is new between two snapshots."""

    def __init__(self, dsn):
        self.connection = psycopg2.connect(dsn, options="-c synchronous_commit=on")

    def ask(self, statement, values=None):
        with self.connection, self.connection.cursor() as cursor:  # one transaction
            cursor.execute(statement, values)
            return cursor.fetchall()

    def snapshot(self):
        return self.ask("SELECT pg_current_snapshot()::text")[0][0]

    def events(self, position):
        return self.ask(NEW_EVENTS, {**position, "batch": BATCH})

    def flush_log(self):
        """Commits a message in the database's log, synchronously: all that stands before it in the log is then on the disk as well."""
        self.ask("SELECT pg_logical_emit_message(true, 'outbox-relay', '')")

    def prune(self, position, keep):
        """Drops events that were published and are older than keep."""
        self.ask("WITH gone AS (DELETE FROM outbox WHERE created < now() - %s::interval "
                 "AND pg_visible_in_snapshot(xid, %s::pg_snapshot) RETURNING 1) SELECT count(*) FROM gone", (keep, position["done"]))


class Relay:
    def __init__(self, arguments):
        self.arguments = arguments
        self.running = True
        self.published = 0

    def stop(self, *_):
        self.running = False

    def session(self):
        topic = Topic(self.arguments.brokers, self.arguments.topic, self.arguments.name)
        outbox = Outbox(self.arguments.dsn)
        position = topic.position() or {"done": NOTHING, "doing": None, "after": 0}
        print(f"at work from {position}", flush=True)
        prune_due = 0.0
        while self.running:
            position, moved = self.step(topic, outbox, position)
            if not moved:
                time.sleep(self.arguments.poll)
            if self.arguments.keep and time.monotonic() >= prune_due:
                outbox.prune(position, self.arguments.keep)
                prune_due = time.monotonic() + 60

    def step(self, topic, outbox, position):
        """Publishes one batch, if there is one; returns the position after it and whether there was."""
        opening = position["doing"] is None
        window = {**position, "doing": outbox.snapshot()} if opening else position
        events = outbox.events(window)
        ended = {"done": window["doing"], "doing": None, "after": 0}
        if not events:
            # Nothing new: keep the old snapshot, for this one was not flushed. A window that had been opened was.
            return (position, False) if opening else (ended, True)
        if opening:
            outbox.flush_log()
        following = ended if len(events) < BATCH else {**window, "after": events[-1][0]}
        topic.publish(events, following)
        self.published += len(events)
        return following, True

    def run(self):
        while self.running:
            try:
                self.session()
            except Fenced as reason:
                print(f"another relay named {self.arguments.name} has taken over: {reason}", flush=True)
                return FENCED
            except (psycopg2.Error, KafkaException, TimeoutError) as reason:
                print(f"begins again after: {str(reason).strip()}", flush=True)
                time.sleep(0.5)
        print(f"published {self.published}", flush=True)
        return 0


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dsn", help='as "host=/run/postgresql dbname=shop"')
    parser.add_argument("brokers")
    parser.add_argument("topic")
    parser.add_argument("--name", default="outbox", help="transactional id, and first part of the position topic's name")
    parser.add_argument("--poll", type=float, default=0.1, help="seconds between two looks at an outbox without news")
    parser.add_argument("--keep", default="", help='drop published events older than this, as "1 day"; empty: keep all')
    relay = Relay(parser.parse_args())
    signal.signal(signal.SIGTERM, relay.stop)
    signal.signal(signal.SIGINT, relay.stop)
    return relay.run()


if __name__ == "__main__":
    sys.exit(main())
