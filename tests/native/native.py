"""Bytes of the native protocol by hand, for attackers: what a second reader of net/wire/PROTOCOL.md needs without any key.

Only what is clear on the wire is made here; sealed packets are recorded from a client that behaves (attack_good) by a proxy between
it and the server."""

import os
import select
import socket
import struct
import subprocess
import sys
import threading
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "tests", "system"))

from server import Server, Suite, binary, free_port  # noqa: E402
from wire import Connection, batches, check, create_topic, fetch  # noqa: E402

__all__ = ["Connection", "Control", "Good", "Native", "Proxy", "Refused", "Suite", "TlsRelay", "binary", "check", "create_topic", "flood",
           "free_port", "header", "hello", "helper", "parse", "stored", "udp", "wait_for"]

HELLO, RETRY, READY, SESSION = 1, 2, 3, 4
SEQUENCED = 2
HEADER = struct.Struct("<BBHIQQ")
HELLO_BYTES = 1200
COOKIE_BYTES = 32
VALUE_BYTES = 100


def helper(name):
    """Path of a program of this folder, beside the server under test."""
    with open(os.path.join(os.path.dirname(binary()), "programs.txt")) as programs:
        for line in programs:
            if line.split()[0] == name and os.access(line.split()[1], os.X_OK):
                return line.split()[1]
    raise SystemExit(f"{name} is missing: build the target {name}")


def header(kind, session, packet=1, length=HEADER.size, flags=0, ack=1, version=1):
    return HEADER.pack(version << 4 | kind, flags, length, session, packet, ack)


def hello(session, cookie=bytes(COOKIE_BYTES), packet=1, length=HELLO_BYTES):
    """A HELLO whose sealed part is noise: enough for whatever comes before the keys."""
    return header(HELLO, session, packet, length) + cookie + os.urandom(length - HEADER.size - COOKIE_BYTES)


def parse(datagram):
    """(type, flags, length, session, packet number)."""
    first, flags, length, session, packet, _ = HEADER.unpack_from(datagram)
    return first & 15, flags, length, session, packet


def udp(source="127.0.0.1", timeout=0.3):
    made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
    made.bind((source, 0))
    made.settimeout(timeout)
    return made


def wait_for(what, text, seconds=5):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if what():
            return
        time.sleep(0.02)
    raise AssertionError(text)


class Refused(Exception):
    def __init__(self, code, text):
        super().__init__(f"refused with {code}: {text}")
        self.code = code
        self.text = text


class Control:
    """One connection of the control exchange; joins at once. tls: an ssl.SSLContext."""

    def __init__(self, port, user="", secret="", auth=0, tls=None, timeout=5):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=timeout)
        if tls is not None:
            self.socket = tls.wrap_socket(self.socket, server_hostname="localhost")
        texts = b"".join(struct.pack("<H", len(text)) + text.encode() for text in (user, secret, "attacker"))
        body = struct.pack("<HBBI", 1, auth, 255, 1400) + texts
        self.socket.sendall(struct.pack("<IBB", len(body) + 2, 1, 0) + body)
        kind, body = self.message()
        if kind == 3:
            raise Refused(struct.unpack_from("<h", body)[0], body[4:].decode())
        check(kind == 2, f"message {kind} where a GRANT was due")
        self.session, self.epoch, self.auth, self.tile = struct.unpack_from("<IIBB", body)
        self.ports = struct.unpack_from(f"<{body[84]}H", body, 86)
        self.port = self.ports[self.tile]

    def exactly(self, count):
        data = b""
        while len(data) < count:
            part = self.socket.recv(count - len(data))
            if not part:
                raise ConnectionResetError("closed by the server")
            data += part
        return data

    def message(self):
        length, kind, _ = struct.unpack("<IBB", self.exactly(6))
        return kind, self.exactly(length - 2)

    def close(self):
        self.socket.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class Native(Server):
    """A server with a native door."""

    def __init__(self, *flags):
        super().__init__(*flags)
        self.native_port = free_port()

    def start(self, *flags):
        return super().start("--native", f"127.0.0.1:{self.native_port}", *flags)

    def counter(self, name, label=""):
        """Sum over all tiles of a counter, of one label where given."""
        return int(sum(value for full, value in self.metrics().items()
                       if full.split("{")[0] == f"eagre_{name}" and label in full))

    def rss_kib(self):
        with open(f"/proc/{self.process.pid}/status") as status:
            return next(int(line.split()[1]) for line in status if line.startswith("VmRSS:"))

    def cpu_seconds(self):
        with open(f"/proc/{self.process.pid}/stat") as stat:
            words = stat.read().rsplit(")", 1)[1].split()
        return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")


def stored(server, topic):
    """How often each record of attack_good stands in the topic: {number: times}."""
    found = {}
    offset = 0
    with Connection(server) as connection:
        while True:
            answer = fetch(connection, topic, offset)
            got = batches(answer["records"] or b"")
            for base, _, _, _, count, values in got:
                offset = base + count
                for value in values:
                    check(len(value) == VALUE_BYTES, f"a record of {len(value)} bytes")
                    found[int(value)] = found.get(int(value), 0) + 1
            if not got:
                check(offset == answer["high_watermark"], f"read to {offset} of {answer['high_watermark']}")
                return found


class Good:
    """attack_good as a process: phases of steady records, each begun by phase()."""

    def __init__(self, server, topic, rate, phases, via=None, port=None):
        command = [helper("attack_good"), "--port", str(port or server.native_port), "--topic", topic, "--rate", str(rate), "--phases",
                   ",".join(str(seconds) for seconds in phases), "--pause"]
        if via is not None:
            command += ["--via", str(via)]
        self.server = server
        self.topic = topic
        self.seconds = phases
        self.rate = rate
        self.done = 0
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        words = self.line("session")
        self.session = int(words[1])
        self.port = int(words[3])
        self.local = int(words[5])

    def line(self, begin, seconds=60):
        """Words of the next line, which begins so."""
        if not select.select([self.process.stdout], [], [], seconds)[0]:
            raise AssertionError(f"attack_good says nothing within {seconds} s")
        text = self.process.stdout.readline()
        if not text.startswith(begin):
            raise AssertionError(f"attack_good says {text.strip()!r} where {begin!r} was due")
        return text.split()

    def begin(self):
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        self.line(f"phase {self.done} begin")

    def end(self):
        """Figures of the phase that was begun; every record of it has its COMMIT."""
        words = self.line(f"phase {self.done} sent", self.seconds[self.done] + 40)
        self.done += 1
        found = dict(zip(words[2::2], (int(word) for word in words[3::2])))
        due = self.rate * sum(self.seconds[:self.done])
        check(found["sent"] == due and found["committed"] == due, f"{found} where {due} were due")
        return found

    def phase(self):
        self.begin()
        return self.end()

    def finish(self):
        """All phases are over; every record is stored, and once."""
        self.line("end")
        check(self.process.wait(timeout=10) == 0, f"attack_good ended with {self.process.returncode}")
        found = stored(self.server, self.topic)
        due = self.rate * sum(self.seconds)
        twice = [number for number, times in found.items() if times != 1]
        check(not twice, f"stored more than once: {twice[:10]}")
        check(sorted(found) == list(range(due)), f"{len(found)} records stored of {due}")
        return due

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class Proxy:
    """Between attack_good and the server: passes datagrams on, records them, and lets a test interfere.

    To the server the proxy is the client. change(datagram, to_server) gives the list of datagrams to pass on."""

    def __init__(self, port):
        self.inner = udp(timeout=None)
        self.outer = udp(timeout=None)
        self.server = ("127.0.0.1", port)
        self.client = None
        self.to_server = []
        self.to_client = []
        self.change = None
        self.running = True
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    @property
    def port(self):
        return self.inner.getsockname()[1]

    def run(self):
        while self.running:
            for ready in select.select([self.inner, self.outer], [], [], 0.05)[0]:
                data, source = ready.recvfrom(65536)
                to_server = ready is self.inner
                if to_server:
                    self.client = source
                (self.to_server if to_server else self.to_client).append(data)
                change = self.change
                for passed in ([data] if change is None else change(data, to_server)):
                    if to_server:
                        self.outer.sendto(passed, self.server)
                    elif self.client is not None:
                        self.inner.sendto(passed, self.client)

    def close(self):
        self.running = False
        self.thread.join(timeout=5)
        self.inner.close()
        self.outer.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class TlsRelay:
    """Control connections in clear text on one side, TLS on the other: attack_good knows no TLS. The datagrams go their own way."""

    def __init__(self, port, context):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.server = ("127.0.0.1", port)
        self.context = context
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    @property
    def port(self):
        return self.listener.getsockname()[1]

    def run(self):
        while True:
            try:
                inner, _ = self.listener.accept()
            except OSError:
                return
            outer = self.context.wrap_socket(socket.create_connection(self.server), server_hostname="localhost")
            ends = {inner: outer, outer: inner}
            for source in ends:
                threading.Thread(target=self.copy, args=(source, ends[source]), daemon=True).start()

    @staticmethod
    def copy(source, sink):
        try:
            while data := source.recv(4096):
                sink.sendall(data)
        except OSError:
            pass
        for end in (source, sink):
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def close(self):
        self.listener.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def flood(port, kind, session, rate, seconds, *more):
    """attack_flood as a process; its communicate() ends with one line of figures."""
    return subprocess.Popen([helper("attack_flood"), "--port", str(port), "--kind", kind, "--session", str(session), "--rate", str(rate),
                             "--seconds", str(seconds), *map(str, more)], stdout=subprocess.PIPE, text=True)
