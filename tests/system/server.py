"""Starts, kills and stops a real server process for the black-box suites.

Everything is bounded: starts and stops have time limits, ports are free ones, data lives in a temporary directory that is removed
unless a test failed. Only processes started here are ever signalled, by their pid. $EAGRE may name a sanitizer build: whatever it
reports, at any moment, fails the next kill(), stop() or close()."""

import json
import os
import shutil
import signal
import socket
import struct
import subprocess
import tempfile
import time
import urllib.request

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
START_SECONDS = 60
STOP_SECONDS = 60
REPORT = "sanitizer"  # a sanitizer's report is REPORT.PID in the server's directory


def binary():
    """The server under test: $EAGRE, else the release build."""
    path = os.environ.get("EAGRE", os.path.join(ROOT, "build", "release", "eagre"))
    if not os.access(path, os.X_OK):
        raise SystemExit(f"{path} is missing: build it with `cmake --preset release && cmake --build --preset release`")
    return path


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Server:
    """One data directory and, at times, one process on it."""

    def __init__(self, *flags, small_journal=True):
        self.directory = tempfile.mkdtemp(prefix="eagre-test-")
        self.data = os.path.join(self.directory, "data")
        self.log_path = os.path.join(self.directory, "server.log")
        self.kafka_port = free_port()
        self.admin_port = free_port()
        self.flags = list(flags)
        if small_journal:
            self.flags += ["--journal.file_bytes", "4MiB"]
        self.process = None
        self.prefix = []  # words before the server's own, as in setpriv ...
        self.program = binary()
        report = f"log_path={os.path.join(self.directory, REPORT)}"
        self.environment = dict(os.environ)
        for name in ("ASAN_OPTIONS", "UBSAN_OPTIONS"):
            self.environment[name] = ":".join(filter(None, [os.environ.get(name), "print_stacktrace=1", report]))

    @property
    def address(self):
        return f"127.0.0.1:{self.kafka_port}"

    def start(self, *flags):
        """Starts the process and waits until it says that it is ready."""
        command = [*self.prefix, self.program, "serve", "--data", self.data, "--kafka", self.address,
                   "--admin", f"127.0.0.1:{self.admin_port}", "--native", "127.0.0.1:0", *self.flags, *flags]
        log = open(self.log_path, "ab")
        self.process = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL,
                                        env=self.environment)
        log.close()
        end = time.monotonic() + START_SECONDS
        while time.monotonic() < end:
            if self.process.poll() is not None:
                raise AssertionError(f"server ended with {self.process.returncode} at start:\n{self.log_tail()}")
            try:
                self.http("/readyz")
                return self
            except OSError:
                time.sleep(0.02)
        raise AssertionError(f"server not ready after {START_SECONDS} s:\n{self.log_tail()}")

    def http(self, path):
        with urllib.request.urlopen(f"http://127.0.0.1:{self.admin_port}{path}", timeout=5) as answer:
            return answer.read().decode()

    def json(self, path):
        return json.loads(self.http(path))

    def offered(self):
        """Keys of the Kafka requests that the server offers: ApiVersions, version 0."""
        with socket.create_connection(("127.0.0.1", self.kafka_port), timeout=5) as stream:
            stream.sendall(struct.pack(">ihhih", 10, 18, 0, 1, -1))
            answer = stream.makefile("rb")
            body = answer.read(struct.unpack(">i", answer.read(4))[0])
        count = struct.unpack_from(">i", body, 6)[0]
        return {struct.unpack_from(">h", body, 10 + 6 * i)[0] for i in range(count)}

    def metrics(self):
        """Samples of /metrics: {'name{labels}': value}."""
        found = {}
        for line in self.http("/metrics").splitlines():
            if line and not line.startswith("#"):
                name, value = line.rsplit(" ", 1)
                found[name] = float(value)
        return found

    def kill(self):
        """kill -9, as a power cut of the process."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(timeout=STOP_SECONDS)
        self.check_reports()

    def stop(self):
        """SIGTERM; returns the exit status."""
        self.process.send_signal(signal.SIGTERM)
        status = self.process.wait(timeout=STOP_SECONDS)
        self.check_reports()
        return status

    def check_reports(self):
        """Fails when a sanitizer has written a report."""
        for name in sorted(os.listdir(self.directory)):
            if name.startswith(REPORT):
                with open(os.path.join(self.directory, name), errors="replace") as report:
                    raise AssertionError("sanitizer report:\n" + "".join(report.readlines()[:60]))

    def alive(self):
        return self.process is not None and self.process.poll() is None

    def log_tail(self, lines=40):
        try:
            with open(self.log_path, errors="replace") as log:
                return "".join(log.readlines()[-lines:])
        except OSError:
            return ""

    def close(self, keep=False):
        """Ends what still runs and removes the directory, or keeps it. A process that a signal of its own ended fails."""
        try:
            if self.alive():
                self.kill()
            elif self.process is not None and self.process.returncode < 0 and self.process.returncode != -signal.SIGKILL:
                raise AssertionError(f"server had ended with {self.process.returncode}:\n{self.log_tail()}")
            self.check_reports()
        except AssertionError:
            keep = True
            raise
        finally:
            self.remove(keep)

    def remove(self, keep):
        if keep:
            print(f"  kept {self.directory}")
        else:
            shutil.rmtree(self.directory, ignore_errors=True)


class Suite:
    """A list of named tests, each a function; ends with the line that the test runner counts."""

    def __init__(self, name):
        self.name = name
        self.passed = 0
        self.failed = 0
        self.skipped = 0

    def run(self, name, function, *arguments):
        begin = time.monotonic()
        try:
            reason = function(*arguments)
        except Exception as error:  # a test may fail in any way; all are reported alike
            self.failed += 1
            print(f"FAIL {self.name}: {name}: {type(error).__name__}: {error}", flush=True)
            return False
        if isinstance(reason, str) and reason.startswith("skip:"):
            self.skipped += 1
            print(f"SKIP {self.name}: {name}: {reason[5:].strip()}", flush=True)
        else:
            self.passed += 1
            print(f"  ok {self.name}: {name} ({time.monotonic() - begin:.1f} s)", flush=True)
        return True

    def finish(self):
        print(f"{self.passed} passed, {self.failed} failed" + (f", {self.skipped} skipped" if self.skipped else ""), flush=True)
        return 1 if self.failed or not self.passed else 0
