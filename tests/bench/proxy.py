"""A proxy before a Kafka broker that spoils one Produce request: what a broken broker would do to records, on demand.

  lose      the request is not forwarded and answered as the one before it was
  repeat    it is forwarded twice
  swap      it changes places with the next one of its connection
  None      nothing"""

import socket
import struct
import threading
from collections import deque

PRODUCE = 0
SPOILED = 20  # this request of each producing connection
IO_SECONDS = 60


def read_frame(stream):
    """The bytes behind the length, or None at the end."""
    head = stream.read(4)
    if len(head) < 4:
        return None
    body = stream.read(struct.unpack(">i", head)[0])
    return body or None


class Link:
    """One client's connection. Answers leave in the order in which the client asked, whatever the broker was told."""

    def __init__(self, client, server, mode):
        self.client, self.server, self.mode = client, server, mode
        self.lock = threading.Lock()
        self.awaited = deque()  # correlation ids, or "swallow"; (id, "copy") wants no answer of the broker
        self.count = 0
        self.held = None
        self.last = b""

    def forward(self, frame):
        self.server.sendall(struct.pack(">i", len(frame)) + frame)

    def answer(self, correlation, body):
        self.client.sendall(struct.pack(">ii", len(body) + 4, correlation) + body)

    def await_answer(self, what):
        with self.lock:
            self.awaited.append(what)

    def take(self, frame):
        key, _, correlation = struct.unpack_from(">hhi", frame)
        self.count += key == PRODUCE
        spoils = key == PRODUCE and self.count == SPOILED
        if spoils and self.mode == "lose":
            self.await_answer((correlation, "copy"))
            return
        self.await_answer(correlation)
        if spoils and self.mode == "swap":
            self.held = frame
            return
        self.forward(frame)
        if spoils and self.mode == "repeat":
            self.await_answer("swallow")
            self.forward(frame)
        if self.held is not None:
            self.forward(self.held)
            self.held = None

    def upstream(self):
        stream = self.client.makefile("rb")
        try:
            while (frame := read_frame(stream)) is not None:
                self.take(frame)
        except OSError:
            pass
        finally:
            self.server.close()

    def copies(self):
        """Answers what was never forwarded, when its turn has come."""
        while self.awaited and isinstance(self.awaited[0], tuple):
            self.answer(self.awaited.popleft()[0], self.last)

    def downstream(self):
        stream = self.server.makefile("rb")
        try:
            while (frame := read_frame(stream)) is not None:
                with self.lock:
                    self.copies()
                    correlation = self.awaited.popleft()
                    if correlation != "swallow":
                        self.last = frame[4:]
                        self.answer(correlation, self.last)
                    self.copies()
        except (OSError, ValueError):
            pass
        finally:
            self.client.close()


class Proxy:
    """Listens on .port until close()."""

    def __init__(self, broker_port, mode):
        self.broker_port, self.mode = broker_port, mode
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
                server = socket.create_connection(("127.0.0.1", self.broker_port), timeout=IO_SECONDS)
            except OSError:
                return
            client.settimeout(IO_SECONDS)
            for end in (client, server):
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            link = Link(client, server, self.mode)
            threading.Thread(target=link.upstream, daemon=True).start()
            threading.Thread(target=link.downstream, daemon=True).start()

    def close(self):
        self.listener.close()
