"""Kafka frames by hand: a codec, a batch builder and a raw connection for what client libraries never send.

The layouts come from net/kafka/messages.def, which tests/golden pins against independent bytes; the walker here is a second reader
of that table. Decoding is strict: every byte of a body must belong to a field."""

import os
import re
import socket
import struct
import time

from kafka.record._crc32c import crc as crc32c

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
EVER = 1 << 15
NEVER = 1 << 15
NUMBERS = {"BOOL": ">b", "I8": ">b", "I16": ">h", "I32": ">i", "I64": ">q", "F64": ">d"}
LISTS = {"I8_LIST": "I8", "I32_LIST": "I32", "I64_LIST": "I64", "STRING_LIST": "STRING"}


class Field:
    def __init__(self, kind, name, first=0, last=EVER, null_first=NEVER, default=0, tag=None, element=None):
        self.kind, self.name, self.first, self.last = kind, name, first, last
        self.null_first, self.default, self.tag, self.element = null_first, default, tag, element

    def value(self):
        """What a request carries where the test does not say."""
        if self.kind == "OPTION":
            return None
        if self.element or self.kind in LISTS:
            return []
        return {"STRING": "", "UUID": bytes(16), "RECORDS": b""}.get(self.kind, self.default)


def number(text):
    words = {"EVER": EVER, "NEVER": NEVER, "INT32_MAX": 2**31 - 1, "INT32_MIN": -2**31}
    return words[text] if text in words else int(text)


def load_table():
    """APIs by name: (key, message, first, served, last); structs by name; first flexible version by message."""
    apis, structs, flexible = {}, {}, {}
    text = ""
    for part in ("messages", "messages_group", "messages_transaction", "messages_admin"):
        with open(os.path.join(ROOT, "net", "kafka", part + ".def")) as table:
            text += re.sub(r"/\*.*?\*/", "", table.read(), flags=re.S)
    for word, inside in re.findall(r"^(\w+)\((.*)\)$", text, re.M):
        cell = [part.strip() for part in inside.split(",")]
        if word == "API":
            apis[cell[0]] = (int(cell[1]), cell[2], int(cell[3]), int(cell[4]), int(cell[5]))
        elif word == "MESSAGE":
            structs[cell[0]] = []
            flexible[cell[0]] = number(cell[1])
        elif word == "STRUCT":
            structs[cell[0]] = []
        elif word == "FIELD":
            structs[cell[0]].append(Field(cell[1], cell[2], *map(number, cell[3:7])))
        elif word == "ARRAY":
            structs[cell[0]].append(Field("ARRAY", cell[2], *map(number, cell[3:6]), element=cell[1]))
        elif word == "OPTION":
            structs[cell[0]].append(Field("OPTION", cell[2], *map(number, cell[3:6]), element=cell[1]))
        elif word == "TAGGED":
            structs[cell[0]].append(Field(cell[1], cell[2], int(cell[4]), default=number(cell[5]), tag=int(cell[3])))
    return apis, structs, flexible


APIS, STRUCTS, FLEXIBLE = load_table()


def uvarint(value):
    out = b""
    while value >= 0x80:
        out += bytes([value & 0x7f | 0x80])
        value >>= 7
    return out + bytes([value])


def varint(value):
    return uvarint((value << 1) ^ (value >> 63))


class Encoder:
    def __init__(self, version, flexible):
        self.version, self.flexible, self.out = version, flexible, bytearray()

    def count(self, value, narrow=">i"):
        self.out += uvarint(value + 1) if self.flexible else struct.pack(narrow, value)

    def one(self, kind, value):
        if kind in NUMBERS:
            self.out += struct.pack(NUMBERS[kind], value)
        elif kind == "UUID":
            self.out += value
        elif kind == "STRING":
            data = None if value is None else value.encode() if isinstance(value, str) else value
            self.count(-1 if data is None else len(data), ">h")
            self.out += data or b""
        elif kind == "RECORDS":
            self.count(-1 if value is None else len(value))
            self.out += value or b""
        else:
            self.count(-1 if value is None else len(value))
            for item in value or []:
                self.one(LISTS[kind], item)

    def fields(self, name, values):
        unknown = set(values) - {field.name for field in STRUCTS[name]}
        if unknown:
            raise KeyError(f"{name} has no {unknown}")
        for field in STRUCTS[name]:
            if field.tag is not None or not field.first <= self.version <= field.last:
                continue
            value = values.get(field.name, field.value())
            if not field.element:
                self.one(field.kind, value)
                continue
            if field.kind == "OPTION":
                self.one("I8", -1 if value is None else 1)
                value = None if value is None else [value]
            else:
                self.count(-1 if value is None else len(value))
            for item in value or []:
                self.fields(field.element, item)
        if self.flexible:
            self.out += b"\0"


class Decoder:
    def __init__(self, data, version, flexible):
        self.data, self.version, self.flexible, self.at = data, version, flexible, 0

    def take(self, count):
        if count < 0 or self.at + count > len(self.data):
            raise AssertionError(f"the answer ends at {len(self.data)}, {count} bytes are due at {self.at}")
        self.at += count
        return bytes(self.data[self.at - count:self.at])

    def unpack(self, form):
        return struct.unpack(form, self.take(struct.calcsize(form)))[0]

    def uvarint(self):
        value = shift = 0
        while True:
            byte = self.take(1)[0]
            value |= (byte & 0x7f) << shift
            shift += 7
            if byte < 0x80:
                return value

    def count(self, narrow=">i"):
        return self.uvarint() - 1 if self.flexible else self.unpack(narrow)

    def one(self, kind):
        if kind in NUMBERS:
            return self.unpack(NUMBERS[kind])
        if kind == "UUID":
            return self.take(16)
        if kind in ("STRING", "RECORDS"):
            count = self.count(">h" if kind == "STRING" else ">i")
            data = None if count < 0 else self.take(count)
            return data.decode() if data is not None and kind == "STRING" else data
        count = self.count()
        return None if count < 0 else [self.one(LISTS[kind]) for _ in range(count)]

    def tags(self):
        last = -1
        for _ in range(self.uvarint()):
            tag = self.uvarint()
            if tag <= last:
                raise AssertionError("tags must ascend")
            last = tag
            self.take(self.uvarint())

    def fields(self, name):
        found = {}
        for field in STRUCTS[name]:
            if field.tag is not None or not field.first <= self.version <= field.last:
                continue
            if not field.element:
                value = self.one(field.kind)
            elif field.kind == "OPTION":
                value = None if self.one("I8") < 0 else self.fields(field.element)
            else:
                count = self.count()
                value = None if count < 0 else [self.fields(field.element) for _ in range(count)]
            if value is None and self.version < field.null_first:
                raise AssertionError(f"{name}.{field.name} is null in version {self.version}")
            found[field.name] = value
        if self.flexible:
            self.tags()
        return found


def request(api, version, values=None, correlation=1, client="tests", body=None):
    """A whole frame. body replaces the encoded values."""
    key, message, *_ = APIS[api]
    name = message + "_request"
    flexible = version >= FLEXIBLE[name]
    if body is None:
        encoder = Encoder(version, flexible)
        encoder.fields(name, values or {})
        body = bytes(encoder.out)
    data = struct.pack(">hhih", key, version, correlation, len(client)) + client.encode() + (b"\0" if flexible else b"") + body
    return struct.pack(">i", len(data)) + data


def answer(api, version, data):
    """(correlation id, fields) of a whole response frame without its length."""
    name = APIS[api][1] + "_response"
    flexible = version >= FLEXIBLE[name]
    decoder = Decoder(data, version, flexible)
    correlation = decoder.unpack(">i")
    if flexible and api != "API_VERSIONS":
        decoder.tags()
    found = decoder.fields(name)
    if decoder.at != len(data):
        raise AssertionError(f"{name} version {version}: {len(data) - decoder.at} bytes belong to no field")
    return correlation, found


class Connection:
    """One TCP connection that sends what it is told and reads whole frames."""

    def __init__(self, server, timeout=10, receive_bytes=None):
        self.socket = socket.socket()
        if receive_bytes:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        self.socket.settimeout(timeout)
        self.socket.connect(("127.0.0.1", server.kafka_port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.correlation = 0
        self.client = "tests"

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.socket.close()

    def reset(self):
        """Ends with RST, as a client that dies."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()

    def raw(self, data):
        self.socket.sendall(data)

    def exactly(self, count):
        data = bytearray()
        while len(data) < count:
            part = self.socket.recv(count - len(data))
            if not part:
                raise ConnectionResetError(f"closed by the server ({len(data)} of {count} bytes came)")
            data += part
        return bytes(data)

    def frame(self):
        return self.exactly(struct.unpack(">i", self.exactly(4))[0])

    def send(self, api, version, **values):
        self.correlation += 1
        self.raw(request(api, version, values, self.correlation, self.client))
        return self.correlation

    def receive(self, api, version, correlation=None):
        got, found = answer(api, version, self.frame())
        want = self.correlation if correlation is None else correlation
        if got != want:
            raise AssertionError(f"answer {got} where {want} was due")
        return found

    def call(self, api, version, **values):
        self.send(api, version, **values)
        return self.receive(api, version)

    def closed_within(self, seconds):
        """Seconds until the server ended the connection; fails when it did not or sent bytes."""
        begin = time.monotonic()
        self.socket.settimeout(seconds)
        try:
            data = self.socket.recv(4096)
        except (ConnectionResetError, BrokenPipeError):
            data = b""
        except socket.timeout:
            raise AssertionError(f"still open after {seconds} s") from None
        if data:
            raise AssertionError(f"{len(data)} bytes where the end was due")
        return time.monotonic() - begin


def batch(values, producer=(-1, -1, -1), timestamp=1700000000000, attributes=0, **patch):
    """A RecordBatch v2. patch: base_offset, length, epoch, magic, crc, delta, count as the test wants them wrong; crc is an
    XOR on the right one."""
    records = b""
    for i, value in enumerate(values):
        record = b"\0" + varint(i) + varint(i) + varint(-1) + varint(len(value)) + value + varint(0)
        records += varint(len(record)) + record
    covered = struct.pack(">hiqqqhii", attributes, patch.get("delta", len(values) - 1), timestamp,
                          patch.get("max_timestamp", timestamp + len(values) - 1), *producer, patch.get("count", len(values))) + records
    return struct.pack(">qiibI", patch.get("base_offset", 0), patch.get("length", len(covered) + 9), patch.get("epoch", -1),
                       patch.get("magic", 2), crc32c(covered) ^ patch.get("crc", 0)) + covered


def batches(data):
    """[(base offset, leader epoch, attributes, max timestamp, count, [values])] of fetched bytes."""
    found = []
    at = 0
    while at + 61 <= len(data):
        base, length, epoch, magic, crc = struct.unpack(">qiibI", data[at:at + 21])
        if at + 12 + length > len(data):
            break
        covered = data[at + 21:at + 12 + length]
        if magic != 2 or crc32c(covered) != crc:
            raise AssertionError(f"batch {base}: magic {magic} or a wrong CRC")
        attributes, _, _, largest, _, _, _, count = struct.unpack(">hiqqqhii", covered[:40])
        values = []
        decoder = Decoder(covered, 0, True)
        decoder.at = 40
        for _ in range(count if attributes & 7 == 0 else 0):
            decoder.uvarint()
            decoder.take(1)
            for _ in range(3):
                decoder.uvarint()
            value_bytes = decoder.uvarint()
            values.append(decoder.take(value_bytes >> 1))
            decoder.uvarint()
        found.append((base, epoch, attributes, largest, count, values))
        at += 12 + length
    return found


def produce_values(topic, data, partition=0, acks=-1):
    return {"transactional_id": None, "acks": acks, "timeout_ms": 30000,
            "topics": [{"name": topic, "partitions": [{"index": partition, "records": data}]}]}


def produce(connection, topic, data, partition=0, version=9, acks=-1):
    """The partition's answer, a dict with error and base_offset."""
    return connection.call("PRODUCE", version, **produce_values(topic, data, partition, acks))["topics"][0]["partitions"][0]


def fetch_values(topic, offset, partition=0, wait_ms=0, min_bytes=1, max_bytes=1 << 20):
    where = {"topic_id": topic} if isinstance(topic, bytes) else {"name": topic}
    return {"max_wait_ms": wait_ms, "min_bytes": min_bytes, "max_bytes": max_bytes, "session_epoch": -1, "topics": [
        {**where, "partitions": [{"index": partition, "current_leader_epoch": -1, "fetch_offset": offset, "last_fetched_epoch": -1,
                                  "log_start_offset": -1, "max_bytes": max_bytes}]}]}


def fetch(connection, topic, offset, version=12, **how):
    """The partition's answer, a dict with error, high_watermark and records."""
    found = connection.call("FETCH", version, **fetch_values(topic, offset, **how))
    if found.get("error", 0) != 0:
        raise AssertionError(f"fetch answered {found['error']}")
    return found["topics"][0]["partitions"][0]


def create_topic(connection, topic, partitions=1, **configs):
    found = connection.call("CREATE_TOPICS", 7, topics=[{
        "name": topic, "partition_count": partitions, "replication_factor": 1,
        "configs": [{"name": name.replace("_", "."), "value": value} for name, value in configs.items()]}], timeout_ms=10000)
    if found["topics"][0]["error"] != 0:
        raise AssertionError(f"create {topic}: {found['topics'][0]}")
    return found["topics"][0]


def check(condition, text):
    if not condition:
        raise AssertionError(text)
