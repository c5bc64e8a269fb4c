"""Limits of client ids as real clients meet them, against one server process that is restarted in between.

Goal: a producer, a consumer and a client of any requests are held to their limit within 10 % over several seconds, told so by
throttle_time_ms, and nobody else is slowed down. Method: confluent-kafka writes and reads as fast as it can; limits are set by raw
AlterClientQuotas requests, as not every version of a client library has them; bytes are counted by the server's own metrics."""

import os
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "system"))
from server import Server, Suite  # noqa: E402
from wire import Connection  # noqa: E402

from confluent_kafka import Consumer, Producer  # noqa: E402
from confluent_kafka.admin import AdminClient, NewTopic  # noqa: E402

SECONDS = 40
WARM_SECONDS = 2.5  # the first window's burst is over
MEASURE_SECONDS = 6

server = Server()
suite = Suite("quotas")


def check(condition, text):
    if not condition:
        raise AssertionError(text)


def alter(client_id, **limits):
    """Sets limits of a client id (None: the default); a limit of None is removed."""
    connection = Connection(server)
    ops = [{"key": key, "value": float(value or 0), "remove": value is None} for key, value in limits.items()]
    answer = connection.call("ALTER_CLIENT_QUOTAS", 1, entries=[
        {"entity": [{"entity_type": "client-id", "entity_name": client_id}], "ops": ops}])
    connection.close()
    check(answer["entries"][0]["error"] == 0, str(answer))


def describe():
    connection = Connection(server)
    answer = connection.call("DESCRIBE_CLIENT_QUOTAS", 1, components=[
        {"entity_type": "client-id", "match_type": 2, "match": None}], strict=True)
    connection.close()
    check(answer["error"] == 0, str(answer))
    return {entry["entity"][0]["entity_name"]: {value["key"]: value["value"] for value in entry["values"]}
            for entry in answer["entries"]}


def create(topic):
    client = AdminClient({"bootstrap.servers": server.address})
    client.create_topics([NewTopic(topic, 1, 1)], request_timeout=SECONDS)[topic].result()


def metric(name):
    return sum(value for sample, value in server.metrics().items() if sample.split("{")[0] == name)


class Writer(threading.Thread):
    """Writes records of 1,000 random bytes as fast as it is let."""

    def __init__(self, topic, client_id, seconds):
        super().__init__(daemon=True)
        self.client = Producer({"bootstrap.servers": server.address, "client.id": client_id, "linger.ms": 5,
                                "batch.size": 20000, "queue.buffering.max.kbytes": 1000, "compression.type": "none",
                                "max.in.flight.requests.per.connection": 2, "message.timeout.ms": 60000,
                                "throttle_cb": self.on_throttle})
        self.topic, self.seconds = topic, seconds
        self.told = []
        self.done = []
        self.failed = None

    def on_throttle(self, event):
        self.told.append(event.throttle_time)

    def on_delivery(self, error, message):
        if error:
            self.failed = error
        else:
            self.done.append((time.monotonic(), len(message.value())))

    def run(self):
        end = time.monotonic() + self.seconds
        value = os.urandom(1000)
        while time.monotonic() < end and not self.failed:
            try:
                self.client.produce(self.topic, value, on_delivery=self.on_delivery)
                self.client.poll(0)
            except BufferError:
                self.client.poll(0.05)
        self.client.flush(SECONDS)

    def rate(self, begin, end):
        return sum(size for when, size in self.done if begin <= when < end) / (end - begin)


def near(rate, limit, what):
    check(0.9 * limit <= rate <= 1.1 * limit, f"{what}: {rate:.0f} per second, the limit is {limit}")
    print(f"  {what}: {rate:.0f} of {limit} per second", flush=True)


def a_producer_is_held_to_its_limit():
    create("written")
    limit = 400000
    alter("slow-writer", producer_byte_rate=limit)
    throttles = metric("eagre_quota_throttles_total")
    slow = Writer("written", "slow-writer", WARM_SECONDS + MEASURE_SECONDS)
    free = Writer("written", "free-writer", 2)
    slow.start()
    time.sleep(WARM_SECONDS)
    begin = time.monotonic()
    free.start()
    time.sleep(MEASURE_SECONDS)
    end = time.monotonic()
    slow.join(SECONDS)
    free.join(SECONDS)
    check(slow.failed is None and free.failed is None, f"{slow.failed} {free.failed}")
    # Batches carry about 1 % beside the values.
    near(slow.rate(begin, end) * 1.01, limit, "bytes written")
    check(max(slow.told, default=0) > 0, "the client was not told")
    check(max(free.told, default=0) == 0, f"another client was told to pause: {free.told[:3]}")
    check(free.rate(begin, begin + 2) > 2 * limit, f"another client was held back: {free.rate(begin, begin + 2):.0f}")
    check(metric("eagre_quota_throttles_total") > throttles, "no metric says so")


def several_connections_share_one_limit():
    limit = 300000
    alter(None, producer_byte_rate=limit)
    writers = [Writer("written", "crowd", WARM_SECONDS + MEASURE_SECONDS) for _ in range(3)]
    for writer in writers:
        writer.start()
    time.sleep(WARM_SECONDS)
    begin = time.monotonic()
    time.sleep(MEASURE_SECONDS)
    end = time.monotonic()
    for writer in writers:
        writer.join(SECONDS)
    alter(None, producer_byte_rate=None)
    near(sum(writer.rate(begin, end) for writer in writers) * 1.01, limit, "bytes of three producers")


def a_consumer_is_held_to_its_limit():
    create("read")
    free = Writer("read", "free-writer", 3)
    free.start()
    free.join(SECONDS)
    limit = 500000
    alter("slow-reader", consumer_byte_rate=limit)
    told = []
    reader = Consumer({"bootstrap.servers": server.address, "client.id": "slow-reader", "group.id": "readers",
                       "auto.offset.reset": "earliest", "fetch.message.max.bytes": 100000, "queued.max.messages.kbytes": 2000,
                       "throttle_cb": lambda event: told.append(event.throttle_time)})
    reader.subscribe(["read"])
    count = 0
    begin = None
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        message = reader.poll(0.1)
        now = time.monotonic()
        if message is None or message.error():
            continue
        if begin is None:
            begin = now + WARM_SECONDS
            end = begin + MEASURE_SECONDS
        if begin <= now < end:
            count += len(message.value())
    reader.close()
    alter("slow-reader", consumer_byte_rate=None)
    check(max(told, default=0) > 0, "the client was not told")
    near(count * 1.01 / MEASURE_SECONDS, limit, "bytes read")


def any_request_counts_by_its_core_time():
    alter("busy", request_percentage=0.02)
    connection = Connection(server, timeout=SECONDS)
    connection.client = "busy"
    asked = paused = 0
    begin = time.monotonic()
    while time.monotonic() < begin + 4 and asked < 200000:
        answer = connection.call("METADATA", 9, topics=None)
        asked += 1
        paused += answer["throttle_ms"]
    connection.close()
    check(paused > 1000, f"{paused} ms of pauses in 4 s")
    check(asked < 50000, f"{asked} requests in 4 s")
    print(f"  {asked} requests, {paused} ms of pauses in 4 s", flush=True)
    alter("busy", request_percentage=None)


def limits_outlive_a_kill():
    alter("kept", producer_byte_rate=123456, request_percentage=12.5)
    before = describe()
    check(before["kept"] == {"producer_byte_rate": 123456.0, "request_percentage": 12.5}, str(before))
    server.kill()
    server.start()
    check(describe() == before, f"{describe()} instead of {before}")


def main():
    server.start()
    suite.run("a producer is held to its limit", a_producer_is_held_to_its_limit)
    suite.run("several connections share one limit", several_connections_share_one_limit)
    suite.run("a consumer is held to its limit", a_consumer_is_held_to_its_limit)
    suite.run("any request counts by its core time", any_request_counts_by_its_core_time)
    suite.run("limits outlive a kill", limits_outlive_a_kill)
    server.close(keep=suite.failed > 0)
    return suite.finish()


if __name__ == "__main__":
    sys.exit(main())
