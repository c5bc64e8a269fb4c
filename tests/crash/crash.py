"""kill -9 at random moments under load; nothing acknowledged may be missing, moved or doubled.

Three kinds of producers write to topics of their own while the server is killed again and again on the same data directory:

- idempotent: librdkafka with enable.idempotence; it lives through the kill and the restart and sends again what was not
  acknowledged, so every record must be there exactly once and in order;
- kcat: acks=all, one short run per chunk; a run that exits 0 was wholly acknowledged (retries may double a record);
- raw: pipelined Produce requests on one connection, some of 64 KiB and more, which bypass the journal; each acknowledged batch must be at
  the offset of its acknowledgement.

After each restart every partition is read from where the last round's reading ended: offsets without a gap, acknowledged records at their
offsets, order kept. At the end everything is read once more from offset 0. Odd rounds run on split threads, even ones merged; the
journal has small files, so that reclaim happens all the time; one topic in the run uses durability "memory" only as load."""

import argparse
import os
import random
import socket
import struct
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "system"))
from server import Server  # noqa: E402

from confluent_kafka import Consumer, Producer, TopicPartition  # noqa: E402
from confluent_kafka.admin import AdminClient, NewTopic  # noqa: E402
from kafka.record.default_records import DefaultRecordBatchBuilder  # noqa: E402

PARTITIONS = 3
SECONDS = 60


class Idempotent(threading.Thread):
    """Sends numbered records until told to stop; one producer for the whole run, over all crashes."""

    topic = "crash-idempotent"

    def __init__(self, address):
        super().__init__(daemon=True)
        self.producer = Producer({"bootstrap.servers": address, "enable.idempotence": True, "linger.ms": 2,
                                  "message.timeout.ms": 120000, "reconnect.backoff.max.ms": 200, "batch.num.messages": 200, "log_level": 0,
                                  "queue.buffering.max.messages": 5000})
        self.sent = [0] * PARTITIONS
        self.acked = {}  # (partition, offset) -> number
        self.errors = []
        self.ending = threading.Event()

    def delivered(self, error, message):
        if error is not None:
            self.errors.append(str(error))
        else:
            self.acked[(message.partition(), message.offset())] = int(message.value().split(b":")[0])

    def run(self):
        pad = b"p" * 80
        while not self.ending.is_set():
            for partition in range(PARTITIONS):
                try:
                    self.producer.produce(self.topic, b"%d:" % self.sent[partition] + pad, partition=partition,
                                          on_delivery=self.delivered)
                    self.sent[partition] += 1
                except BufferError:
                    self.producer.poll(0.02)
            self.producer.poll(0.001)
        self.left = self.producer.flush(SECONDS)


class Kcat(threading.Thread):
    """Chunks of lines, each by a kcat run of its own."""

    topic = "crash-kcat"

    def __init__(self, address, round_number):
        super().__init__(daemon=True)
        self.address = address
        self.round_number = round_number
        self.acked = []
        self.ending = threading.Event()

    def run(self):
        chunk = 0
        while not self.ending.is_set():
            lines = [f"{self.round_number}.{chunk}.{i}" for i in range(200)]
            try:
                done = subprocess.run(["kcat", "-P", "-b", self.address, "-t", self.topic, "-p", str(chunk % PARTITIONS), "-X", "acks=all",
                                       "-X", "message.timeout.ms=3000"], input="\n".join(lines).encode(),
                                      stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=20)
            except subprocess.TimeoutExpired:
                return
            if done.returncode == 0:
                self.acked.append((chunk % PARTITIONS, lines))
            chunk += 1


class Raw(threading.Thread):
    """Pipelined Produce v7 requests, several batches under way, acknowledgements in order."""

    topic = "crash-raw"
    in_flight = 8

    def __init__(self, port, round_number, partition):
        super().__init__(daemon=True)
        self.port = port
        self.round_number = round_number
        self.partition = partition
        self.acked = []  # (base offset, [values])
        self.failure = None

    def request(self, number):
        builder = DefaultRecordBatchBuilder(magic=2, compression_type=0, is_transactional=0, producer_id=-1, producer_epoch=-1,
                                            base_sequence=-1, batch_size=1 << 20)
        pad = b"r" * (number % 500 if number % 4 else 7000)  # each fourth may be long enough to bypass the journal
        values = [b"%d.%d.%d.%d " % (self.round_number, self.partition, number, i) + pad for i in range(1 + number % 20)]
        for i, value in enumerate(values):
            builder.append(i, 1700000000000, None, value, [])
        batch = bytes(builder.build())
        topic = self.topic.encode()
        body = struct.pack(">hhih", 0, 7, number, 3) + b"raw" + struct.pack(">hhi", -1, -1, 30000)
        body += struct.pack(">ih", 1, len(topic)) + topic + struct.pack(">iii", 1, self.partition, len(batch)) + batch
        return struct.pack(">i", len(body)) + body, values

    def answer(self, stream, number, values):
        head = stream.read(4)
        if len(head) < 4:
            return False
        body = stream.read(struct.unpack(">i", head)[0])
        name = len(self.topic)
        at = 4 + 4 + 2 + name + 4
        if len(body) < at + 4 + 2 + 8:
            return False
        if struct.unpack(">i", body[:4])[0] != number:
            self.failure = f"answer {struct.unpack('>i', body[:4])[0]} where {number} was due"
            return False
        _, error, offset = struct.unpack(">ihq", body[at:at + 14])
        if error == 0:
            self.acked.append((offset, values))
        elif error not in (3, 6, 56):
            self.failure = f"error {error}"
        return True

    def run(self):
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=10) as connection:
                stream = connection.makefile("rb")
                waiting = []
                for number in range(1000000):
                    data, values = self.request(number)
                    connection.sendall(data)
                    waiting.append((number, values))
                    if len(waiting) >= self.in_flight and not self.answer(stream, *waiting.pop(0)):
                        return
        except OSError:
            return  # the server was killed


class Reader:
    """Reads partitions on from where it stopped, checking that offsets have no gap."""

    def __init__(self, address):
        self.address = address
        self.next = {}  # (topic, partition) -> offset

    def read(self, wanted):
        """Reads each (topic, partition) to what is its end at the beginning (producers go on); returns {key: [value]}."""
        consumer = Consumer({"bootstrap.servers": self.address, "group.id": "crash", "enable.auto.commit": False,
                             "auto.offset.reset": "error", "fetch.wait.max.ms": 10, "reconnect.backoff.max.ms": 100})
        found = {key: [] for key in wanted}
        stop = {}
        for key in wanted:
            _, stop[key] = consumer.get_watermark_offsets(TopicPartition(*key), timeout=SECONDS)
            if stop[key] < self.next.get(key, 0):
                raise AssertionError(f"{key[0]}/{key[1]}: ends at {stop[key]}, {self.next[key]} records were read before")
        consumer.assign([TopicPartition(*key, self.next.get(key, 0)) for key in wanted])
        self.consume(consumer, found, stop)
        consumer.close()
        self.next.update(stop)
        return found

    def consume(self, consumer, found, stop):
        end = time.monotonic() + SECONDS
        left = sum(stop[key] - self.next.get(key, 0) for key in stop)
        while left > 0:
            if time.monotonic() > end:
                raise AssertionError(f"no end after {SECONDS} s: {left} records are missing")
            for message in consumer.consume(min(left, 5000), 0.5):
                if message.error():
                    raise AssertionError(f"{message.topic()}/{message.partition()}: {message.error()}")
                key = (message.topic(), message.partition())
                due = self.next.get(key, 0) + len(found[key])
                if due == stop[key]:
                    consumer.pause([TopicPartition(*key)])  # written since; the next reading takes it
                    continue
                if message.offset() != due:
                    raise AssertionError(f"{key[0]}/{key[1]}: offset {message.offset()} where {due} was due")
                found[key].append(message.value())
                left -= 1


class Run:
    def __init__(self, arguments):
        self.random = random.Random(arguments.seed)
        self.server = Server(small_journal=False)
        self.server.flags += ["--journal.file_bytes", "2MiB", "--journal.bulk_bytes", "64KiB", "--log.level", "warn"]
        self.bulk_batches = 0
        self.stored = {}  # (topic, partition) -> [value], as read so far
        self.reader = None
        self.raw_acked = []
        self.kcat_acked = []
        self.recovery_ms = []

    def cores(self, number):
        return ["--cores", "gate+log" if number % 2 == 0 else "gate/log"]

    def prepare(self):
        self.server.start(*self.cores(0))
        client = AdminClient({"bootstrap.servers": self.server.address})
        # The raw records say that they are of 2023: without the second setting they would be too old to keep.
        small = {"segment.bytes": "1048576", "retention.ms": "-1"}
        topics = [NewTopic(name, PARTITIONS, 1, config=small) for name in (Idempotent.topic, Kcat.topic, Raw.topic)]
        for future in client.create_topics(topics).values():
            future.result(SECONDS)
        self.reader = Reader(self.server.address)
        self.idempotent = Idempotent(self.server.address)
        self.idempotent.start()

    def round(self, number):
        kcat = Kcat(self.server.address, number)
        raw = [Raw(self.server.kafka_port, number, partition) for partition in range(PARTITIONS)]
        for thread in [kcat, *raw]:
            thread.start()
        time.sleep(self.random.uniform(0.05, 1.2))
        if number % 8 == 7:
            self.bulk_batches += sum(value for name, value in self.server.metrics().items() if name.startswith("eagre_bulk_batches_total"))
        self.server.kill()
        kcat.ending.set()
        for thread in raw:
            thread.join(SECONDS)
        begin = time.monotonic()
        self.server.start(*self.cores(number + 1))
        self.recovery_ms.append((time.monotonic() - begin) * 1000)
        kcat.join(SECONDS)
        for thread in raw:
            if thread.failure is not None:
                raise AssertionError(f"raw producer: {thread.failure}")
            self.raw_acked += [(thread.partition, offset, values) for offset, values in thread.acked]
        self.kcat_acked += kcat.acked
        self.read_on()
        self.check_raw()
        self.check_kcat()

    def read_on(self):
        topics = (Kcat.topic, Raw.topic, Idempotent.topic)
        for key, values in self.reader.read([(topic, p) for topic in topics for p in range(PARTITIONS)]).items():
            self.stored.setdefault(key, []).extend(values)

    def check_raw(self):
        for partition, offset, values in self.raw_acked:
            stored = self.stored[(Raw.topic, partition)][offset:offset + len(values)]
            if stored != values:
                raise AssertionError(f"{Raw.topic}/{partition}: batch acknowledged at {offset} is not there: {stored[:1]} != {values[:1]}")
        self.raw_checked = getattr(self, "raw_checked", 0) + len(self.raw_acked)
        self.raw_acked = []

    def check_kcat(self):
        for partition, lines in self.kcat_acked:
            present = self.kcat_positions(partition)
            positions = [present.get(line.encode()) for line in lines]
            if None in positions:
                raise AssertionError(f"{Kcat.topic}/{partition}: {lines[positions.index(None)]} was acknowledged and is missing")
        self.kcat_checked = getattr(self, "kcat_checked", 0) + len(self.kcat_acked)
        self.kcat_acked = []

    def kcat_positions(self, partition):
        return {value: i for i, value in enumerate(self.stored[(Kcat.topic, partition)])}

    def check_idempotent(self):
        """All of it, once, in order; acknowledged records at the acknowledged offsets."""
        self.idempotent.ending.set()
        self.idempotent.join(2 * SECONDS)
        if self.idempotent.is_alive() or self.idempotent.left != 0:
            raise AssertionError("the idempotent producer could not deliver everything after the last restart")
        if self.idempotent.errors:
            raise AssertionError(f"idempotent producer: {len(self.idempotent.errors)} errors, first: {self.idempotent.errors[0]}")
        self.read_on()
        for partition in range(PARTITIONS):
            numbers = [int(value.split(b":")[0]) for value in self.stored[(Idempotent.topic, partition)]]
            if numbers != list(range(self.idempotent.sent[partition])):
                first = next((i for i, n in enumerate(numbers) if n != i), len(numbers))
                raise AssertionError(f"{Idempotent.topic}/{partition}: {len(numbers)} stored, {self.idempotent.sent[partition]} sent, "
                                     f"first difference at offset {first}: {numbers[first:first + 3]}")
        for (partition, offset), number in self.idempotent.acked.items():
            if offset != number:
                raise AssertionError(f"{Idempotent.topic}/{partition}: number {number} acknowledged at offset {offset}")

    def check_again(self):
        """Everything once more from the beginning, after one more restart: what was read is what stays."""
        self.server.kill()
        self.server.start()
        again = Reader(self.server.address)
        for (topic, partition), found in again.read(list(self.stored)).items():
            values = self.stored[(topic, partition)]
            if found != values:
                raise AssertionError(f"{topic}/{partition}: a second reading differs ({len(found)} and {len(values)} records)")
        status = self.server.stop()
        if status != 0:
            raise AssertionError(f"exit status {status} at the end")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--ci", action="store_true")
    parser.add_argument("--rounds", type=int, default=int(os.environ.get("CRASH_ROUNDS", "50")))
    parser.add_argument("--seed", type=int, default=int(time.time()))
    arguments = parser.parse_args()
    print(f"{arguments.rounds} rounds, seed {arguments.seed} (repeat with: tests/crash/run --rounds {arguments.rounds} --seed {arguments.seed})")
    run = Run(arguments)
    passed = 0
    failed = 0
    try:
        run.prepare()
        for number in range(arguments.rounds):
            run.round(number)
            passed += 1
            if number % 10 == 9:
                print(f"  {number + 1} rounds, {sum(len(v) for v in run.stored.values())} records read", flush=True)
        run.check_idempotent()
        if arguments.rounds >= 8 and run.bulk_batches == 0:
            raise AssertionError("no batch bypassed the journal")
        passed += 1
        run.check_again()
        passed += 1
    except Exception as error:
        failed += 1
        print(f"FAIL after {passed} rounds: {type(error).__name__}: {error}\n{run.server.log_tail(20)}")
    slow = sorted(run.recovery_ms)
    if slow:
        print(f"restart to ready ms: median {slow[len(slow) // 2]:.0f}, worst {slow[-1]:.0f}; "
              f"raw batches checked {getattr(run, 'raw_checked', 0)}, kcat chunks {getattr(run, 'kcat_checked', 0)}, "
              f"idempotent records {len(run.idempotent.acked) if hasattr(run, 'idempotent') else 0}")
    run.server.close(keep=failed > 0)
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
