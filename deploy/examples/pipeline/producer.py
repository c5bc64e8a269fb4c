#!/usr/bin/python3
"""Sends "key<TAB>value" lines of standard input to a topic: the producer of a pipeline.

    producer.py HOST:PORT TOPIC [--rate RECORDS_PER_SECOND]

Every line is acknowledged by the delivery callback before the program ends with 0. Lines of one key keep their order."""

import argparse
import sys
import time

from confluent_kafka import Producer


class Deliveries:
    """What became of the records: on_delivery runs in poll() and flush(), once per record, in this thread."""

    def __init__(self):
        self.stored = 0
        self.failed = 0

    def __call__(self, error, message):
        if error is None:
            self.stored += 1
            return
        self.failed += 1
        if self.failed <= 10:
            print(f"not stored: key {message.key()}: {error}", file=sys.stderr, flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("brokers")
    parser.add_argument("topic")
    parser.add_argument("--rate", type=float, default=0, help="records per second; 0: as fast as it goes")
    parser.add_argument("--queue", type=int, default=10000, help="most records that wait in this process")
    arguments = parser.parse_args()

    producer = Producer({
        "bootstrap.servers": arguments.brokers,
        "enable.idempotence": True,  # a batch that is sent again is stored once, and order survives retries
        "acks": "all",  # with Eagre: the record is on the device
        "linger.ms": 5,
        "compression.type": "lz4",
        "queue.buffering.max.messages": arguments.queue,
        "delivery.timeout.ms": 120000,  # a server that restarts in this time is not noticed
        "reconnect.backoff.max.ms": 1000,
    })
    deliveries = Deliveries()
    waits = 0
    sent = 0
    begin = time.monotonic()
    for line in sys.stdin.buffer:
        key, value = line.rstrip(b"\n").split(b"\t", 1)
        while True:
            try:
                producer.produce(arguments.topic, key=key, value=value, on_delivery=deliveries)
                break
            except BufferError:  # the queue is full: the server is slower than we are. Wait for acknowledgements; drop nothing.
                waits += 1
                producer.poll(0.1)
        sent += 1
        producer.poll(0)  # runs callbacks that are due; never call it only at the end
        if arguments.rate > 0:
            ahead = sent / arguments.rate - (time.monotonic() - begin)
            if ahead > 0.01:
                producer.poll(ahead)
    left = producer.flush(150)  # longer than delivery.timeout.ms, so that each record has its answer
    print(f"sent {sent}, stored {deliveries.stored}, failed {deliveries.failed}, unanswered {left}, waits for room {waits}", flush=True)
    return 0 if deliveries.stored == sent else 1


if __name__ == "__main__":
    sys.exit(main())
