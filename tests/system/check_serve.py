"""`eagre serve` as an operator meets it: settings, refusals, signals, placement, the start banner.

Goal: whatever is wrong at the start is one clear line and an exit status, and whatever stops cleanly starts cleanly. Method: real
processes; what a start refuses is read from stderr, what it says from its output, what it kept through raw Kafka requests."""

import glob
import os
import re
import shutil
import signal
import socket
import struct
import subprocess
import sys
import threading
import time

from server import ROOT, Server, Suite, binary
from wire import Connection, batch, batches, check, crc32c, create_topic, fetch, produce, produce_values, request

HERE = os.path.dirname(os.path.abspath(__file__))
NOBODY = 65534
USAGE = 2

suite = Suite("serve")


class Running:
    """A server of its own for one test, removed afterwards."""

    def __init__(self, *flags, start=True, **options):
        self.server = Server(*flags, **options)
        self.begin = start

    def __enter__(self):
        try:
            return self.server.start() if self.begin else self.server
        except BaseException:
            self.server.close()
            raise

    def __exit__(self, kind, *_):
        self.server.close()


def attempt(*flags, prefix=()):
    """(exit status, stderr, stdout) of a start that is expected to fail."""
    done = subprocess.run([*prefix, binary(), "serve", *flags], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          timeout=60)
    return done.returncode, done.stderr.decode(), done.stdout.decode()


def refused(server, *flags, says, status=1, prefix=()):
    """The start ends with the status and one line on stderr that holds each text of says."""
    got, text, _ = attempt("--data", server.data, "--kafka", server.address, "--admin", f"127.0.0.1:{server.admin_port}",
                           "--native", "127.0.0.1:0", *flags, prefix=prefix)
    check(got == status, f"exit {got} where {status} was due: {text}")
    check(len(text.strip().splitlines()) == 1 and text.startswith("eagre serve: "), f"not one clear line: {text!r}")
    for part in says:
        check(part in text, f"'{part}' is not in: {text.strip()}")


def partitions(server, topic):
    with Connection(server) as connection:
        for _ in range(100):
            found = connection.call("METADATA", 9, topics=[{"name": topic}], allow_auto_topic_creation=1)["topics"][0]
            if found["error"] == 0:
                return len(found["partitions"])
            time.sleep(0.02)
    raise AssertionError(f"{topic}: error {found['error']}")


# ---- settings ----

def config_file(server, text):
    os.makedirs(server.directory, exist_ok=True)
    path = os.path.join(server.directory, "test.yaml")
    with open(path, "w") as file:
        file.write(text)
    return path


def checked_in_file():
    with Running("--config", os.path.join(ROOT, "deploy", "config", "eagre.yaml"), small_journal=False) as server:
        check(partitions(server, "t") == 1, "the defaults")
        check(server.stop() == 0, "stop")


def every_setting_uncommented():
    """The file lists every setting with its default; written out, it means the same."""
    with open(os.path.join(ROOT, "deploy", "config", "eagre.yaml")) as file:
        text = re.sub(r"^#([a-z][\w.]*:)", r"\1", file.read(), flags=re.M)
    check(text.count("\nkafka:") == 1, "nothing was uncommented")
    with Running(start=False, small_journal=False) as server:
        server.start("--config", config_file(server, text))
        check(partitions(server, "t") == 1, "the defaults")


def flag_overrides_file():
    with Running(start=False) as server:
        path = config_file(server, "topic.partitions_default: 3\n")
        server.start("--config", path)
        check(partitions(server, "from-file") == 3, "the file counts")
        server.stop()
        server.start("--config", path, "--topic.partitions_default", "5")
        check(partitions(server, "from-flag") == 5, "the flag counts more")
        server.stop()
        server.start("--topic.partitions_default=4", "--config", path)
        check(partitions(server, "from-flag-first") == 4, "also before --config")


def nested_keys():
    with Running(start=False) as server:
        server.start("--config", config_file(server, "topic:\n  partitions_default: 6   # nested\n  auto_create: true\n"))
        check(partitions(server, "nested") == 6, "a nested key")


def bad_files():
    cases = [
        ("data: x\n\nno_such: 3\n", [":3:", "no_such", "unknown"]),
        ("topic:\n  no_such: 3\n", [":2:", "no_such", "unknown"]),
        ("journal:\n  file_bytes: 3\n", [":2:", "journal.file_bytes", "1MiB", "1GiB"]),
        ("memory: lots\n", [":1:", "memory", "lots"]),
        ("# one\npoll: sometimes\n", [":2:", "poll", "auto|always"]),
        ("kafka: nowhere\n", [":1:", "kafka", "HOST:PORT"]),
        ("connections_max: 0\n", [":1:", "connections_max", "1", "1000000"]),
        ("connections_max: -5\n", [":1:", "connections_max", "1000000"]),
        ("dev: maybe\n", [":1:", "dev", "true"]),
        ("memory: [1, 2\n", ["test.yaml"]),
        ("\tmemory: 1\n", ["test.yaml:1"]),
    ]
    with Running(start=False) as server:
        for text, says in cases:
            refused(server, "--config", config_file(server, text), says=["test.yaml", *says], status=USAGE)
        refused(server, "--config", "/no/such/file.yaml", says=["/no/such/file.yaml"], status=USAGE)
        check(not os.path.exists(server.data), "a refused start must not make the data directory")


def bad_flags():
    cases = [(["--no_such", "1"], ["no_such"]), (["--journal.file_bytes", "3"], ["journal.file_bytes", "1MiB", "1GiB"]),
             (["--cores", "gate"], ["cores", "log"]), (["--cores", "log"], ["cores", "gate"]), (["--cores", "gate+gtae"], ["cores"]),
             (["--cores", ""], ["cores"]), (["--memory"], ["memory"]), (["word"], ["word"]), (["--poll", "never"], ["poll"])]
    with Running(start=False) as server:
        for flags, says in cases:
            refused(server, *flags, says=says, status=USAGE)


def help_lists_settings():
    status, _, text = attempt("--help")
    check(status == 0, f"exit {status}")
    for name in ("--data", "--kafka", "--admin", "--advertise", "--cores", "--memory", "--poll", "--config"):
        check(name in text, f"{name} is not in --help")


# ---- data directory ----

def directory_in_use():
    with Running() as server:
        second = Server()
        second.data = server.data
        refused(second, says=[server.data, "in use"])
        second.close()
        check(partitions(server, "alive") == 1, "the first goes on")


def newer_format():
    with Running() as server:
        check(server.stop() == 0, "stop")
        path = os.path.join(server.data, "eagre.meta")
        with open(path, "r+b") as file:
            whole = file.read()
            check(len(whole) == 8192 and whole[:8] == b"EAGRMETA", "eagre.meta is not as FORMAT.md says")
            for at in (0, 4096):
                block = whole[at:at + 60]
                check(struct.unpack("<I", whole[at + 60:at + 64])[0] == crc32c(block), "its CRC is not as FORMAT.md says")
                block = block[:8] + struct.pack("<I", 2) + block[12:]
                file.seek(at)
                file.write(block + struct.pack("<I", crc32c(block)))
        refused(server, says=["eagre.meta", "newer"])
        with open(path, "r+b") as file:
            file.write(whole)
        server.start()


def damaged_meta():
    """One whole copy is enough; none is refused."""
    with Running() as server:
        check(server.stop() == 0, "stop")
        path = os.path.join(server.data, "eagre.meta")
        for at, works in ((20, True), (4096 + 20, False)):
            with open(path, "r+b") as file:
                file.seek(at)
                file.write(b"\x55" * 8)
            if works:
                server.start()
                check(server.stop() == 0, "stop")
            else:
                refused(server, says=["eagre.meta"])


def tmpfs():
    with Running(start=False) as server:
        if subprocess.run(["stat", "-f", "-c", "%T", "/dev/shm"], stdout=subprocess.PIPE).stdout.strip() != b"tmpfs":
            return "skip: /dev/shm is no tmpfs"
        server.data = f"/dev/shm/eagre-test-{os.getpid()}"
        try:
            refused(server, says=[server.data, "tmpfs", "--dev"])
            check(not os.path.exists(server.data), "the refused start left a directory behind")
            server.start("--dev")
            with Connection(server) as connection:
                create_topic(connection, "t")
                check(produce(connection, "t", batch([b"x"]))["error"] == 0, "produce")
            check(server.stop() == 0, "stop")
        finally:
            if server.alive():
                server.kill()
            shutil.rmtree(server.data, ignore_errors=True)


def as_nobody(server):
    """Prepares a start as an ordinary user; the command's prefix."""
    os.chmod(server.directory, 0o755)
    program = os.path.join(server.directory, "eagre")
    shutil.copy(binary(), program)
    os.chmod(program, 0o755)
    return ["setpriv", "--reuid", str(NOBODY), "--regid", str(NOBODY), "--clear-groups"], program


def not_writable():
    with Running(start=False) as server:
        if os.geteuid() != 0:
            os.mkdir(server.data, 0o555)
            refused(server, says=[server.data])
            return None
        if shutil.which("setpriv") is None:
            return "skip: no setpriv to become another user"
        prefix, program = as_nobody(server)
        os.mkdir(server.data, 0o755)
        done = subprocess.run([*prefix, program, "serve", "--data", server.data, "--kafka", server.address, "--admin", "127.0.0.1:0",
                               "--native", "127.0.0.1:0"],
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=60)
        text = done.stderr.decode()
        check(done.returncode == 1 and len(text.splitlines()) == 1, f"exit {done.returncode}: {text!r}")
        check(server.data in text and ("permission" in text or "writ" in text), text)
    return None


def data_is_a_file():
    with Running(start=False) as server:
        with open(server.data, "w") as file:
            file.write("not a directory")
        refused(server, says=[server.data])


def port_in_use():
    with Running(start=False) as server, socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        refused(server, "--kafka", f"127.0.0.1:{port}", says=[str(port), "in use"])
        refused(server, "--admin", f"127.0.0.1:{port}", says=[str(port), "in use"])
        refused(server, "--native", f"127.0.0.1:{port}", says=[str(port), "in use"])
        server.start()


# ---- signals ----

class Load(threading.Thread):
    """Pipelined batches of numbered records until the connection ends; what was acknowledged."""

    def __init__(self, server, partition):
        super().__init__(daemon=True)
        self.connection = Connection(server, timeout=30)
        self.partition = partition
        self.acked = {}

    def run(self):
        sent = 0
        try:
            for i in range(1, 100000):
                data = batch([b"%d.%d" % (i, k) for k in range(10)])
                self.connection.raw(request("PRODUCE", 9, produce_values("load", data, self.partition), i))
                sent = i
                if i > 16:
                    self.answer(i - 16)
        except OSError:
            pass
        try:
            for i in range(max(1, sent - 15), sent + 1):
                self.answer(i)
        except OSError:
            pass
        self.connection.close()

    def answer(self, number):
        found = self.connection.receive("PRODUCE", 9, number)["topics"][0]["partitions"][0]
        if found["error"] == 0:
            self.acked[found["base_offset"]] = number


def replayed(server):
    return sum(value for name, value in server.metrics().items() if name.startswith("eagre_recovery_groups"))


def read_all(server, topic, partition=0):
    """Everything of a partition: {base offset: [values]}. A fetch may give less than there is."""
    stored = {}
    offset = 0
    with Connection(server) as connection:
        while True:
            answer = fetch(connection, topic, offset, partition=partition)
            check(answer["error"] == 0, f"{topic}/{partition} at {offset}: error {answer['error']}")
            if not answer["records"]:
                check(offset == answer["high_watermark"], f"{topic}/{partition}: nothing at {offset}, end {answer['high_watermark']}")
                return stored
            for base, _, _, _, count, values in batches(answer["records"]):
                check(base == offset, f"{topic}/{partition}: offset {base} where {offset} was due")
                stored[base] = values
                offset = base + count


def check_load(server, loads):
    for load in loads:
        stored = read_all(server, "load", load.partition)
        for base, number in load.acked.items():
            check(stored.get(base) == [b"%d.%d" % (number, k) for k in range(10)], f"batch acknowledged at {base} is {stored.get(base)}")
    return sum(len(load.acked) for load in loads)


def stop_under_load():
    with Running() as server:
        with Connection(server) as connection:
            create_topic(connection, "load", 4)
        for stop in (signal.SIGTERM, signal.SIGINT):
            loads = [Load(server, partition) for partition in range(4)]
            for load in loads:
                load.start()
            time.sleep(0.7)
            server.process.send_signal(stop)
            check(server.process.wait(timeout=60) == 0, f"exit {server.process.returncode} after {stop.name}:\n{server.log_tail(5)}")
            for load in loads:
                load.join(30)
            server.start()
            check(replayed(server) == 0, f"{replayed(server)} groups replayed after a clean stop")
            count = check_load(server, loads)
            check(count > 20, f"only {count} batches were acknowledged")


def kill_replays():
    """The counterpart, so that the figure of the test above means something."""
    with Running() as server:
        with Connection(server) as connection:
            create_topic(connection, "load")
            check(produce(connection, "load", batch([b"x"]))["error"] == 0, "produce")
        server.kill()
        server.start()
        check(replayed(server) > 0, "nothing replayed after kill -9")


def stop_right_after_start():
    with Running() as server:
        check(server.stop() == 0, "right after readiness")
        for milliseconds in (0, 1, 5, 10, 20, 40, 80, 160, 320):
            process = subprocess.Popen([binary(), "serve", "--data", server.data, "--kafka", server.address, "--admin", "127.0.0.1:0",
                                        "--native", "127.0.0.1:0"],
                                       stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
            time.sleep(milliseconds / 1000)
            process.send_signal(signal.SIGTERM)
            _, text = process.communicate(timeout=60)
            # Before main() has taken the signal its default ends the process: nothing was opened then.
            early = process.returncode == -signal.SIGTERM and milliseconds <= 40
            check(process.returncode == 0 or early, f"exit {process.returncode} at {milliseconds} ms: {text.decode()}")
        server.start()
        check(replayed(server) == 0, "groups replayed")


def hangup_ignored():
    with Running() as server:
        for _ in range(50):
            server.process.send_signal(signal.SIGHUP)
            server.process.send_signal(signal.SIGPIPE)
        check(partitions(server, "alive") == 1 and server.alive(), "it must go on")
        for _ in range(30):
            server.process.send_signal(signal.SIGTERM)
            server.process.send_signal(signal.SIGHUP)
        check(server.process.wait(timeout=60) == 0, f"exit {server.process.returncode} after many signals")


# ---- what a start says ----

def size(text):
    number, unit = text.split()
    return float(number) * {"B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}[unit]


def banner():
    with Running() as server:
        text = server.log_tail(200)  # /readyz was true, so the last line is there
        for pattern in (r"\d+ CPUs?, ", r"^threads: .*gate", r"io_uring|threads", r"disk \w+ \d+-byte blocks", r"write cache ",
                        r"synced 4 KiB write p50 \d+ us", r"^memory budget:", r"^recovery: a new data directory",
                        rf"^ready: .*{server.address}.*http://127.0.0.1:{server.admin_port}/"):
            check(re.search(pattern, text, re.M), f"no line like /{pattern}/ in:\n{text}")
        lines = re.findall(r"^  (.+?) +([\d.]+ [KMG]?i?B)(.*)$", text, re.M)
        parts = [size(amount) for name, amount, _ in lines if name != "sum"]
        total = [size(amount) for name, amount, _ in lines if name == "sum"]
        check(len(parts) >= 4 and len(total) == 1, f"budget lines: {lines}")
        check(abs(sum(parts) - total[0]) < 0.2 * (1 << 20), f"the lines sum to {sum(parts)}, told are {total[0]}")
        budget = re.search(r"^  sum .* of (\d+) MiB", text, re.M)
        check(budget and total[0] <= int(budget.group(1)) << 20, "more than the budget")


def advertised():
    with Running("--advertise", "broker.example.org:19092") as server:
        done = subprocess.run(["kcat", "-L", "-b", server.address, "-m", "5"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=30)
        check(b"broker.example.org:19092" in done.stdout, done.stdout.decode() + done.stderr.decode())
        with Connection(server) as connection:
            broker = connection.call("DESCRIBE_CLUSTER", 0)["brokers"][0]
            check((broker["host"], broker["port"]) == ("broker.example.org", 19092), str(broker))


# ---- machines that have less ----

def write_and_read(server, rounds=20):
    with Connection(server) as connection:
        create_topic(connection, "t", 4)
        for i in range(rounds):
            for partition in range(4):
                found = produce(connection, "t", batch([b"%d" % i] * 10), partition)
                check(found["error"] == 0 and found["base_offset"] == 10 * i, str(found))
        for partition in range(4):
            found = list(read_all(server, "t", partition).values())
            check(found == [[b"%d" % i] * 10 for i in range(rounds)], f"partition {partition}: {len(found)} batches")


def io_threads():
    for cores in ("gate+log", "gate/log"):
        with Running("--io", "threads", "--cores", cores) as server:
            check(re.search(r"^core 0: .*threads", server.log_tail(200), re.M), "it must say so")
            write_and_read(server)
            server.kill()
            server.start()
            with Connection(server) as connection:
                check(fetch(connection, "t", 0)["high_watermark"] == 200, "records after a kill")
            check(server.stop() == 0, "stop")


def io_uring_denied():
    prefix = [sys.executable, os.path.join(HERE, "deny_io_uring.py")]
    if subprocess.run([*prefix, "true"], stderr=subprocess.DEVNULL).returncode != 0:
        return "skip: this host does not allow a seccomp filter"
    with Running(start=False) as server:
        server.prefix = prefix
        server.start()
        text = server.log_tail(200)
        check(re.search(r"^core 0: .*threads", text, re.M), f"it must say so:\n{text}")
        write_and_read(server)
        check(server.stop() == 0, "stop")
        refused(server, "--io", "uring", says=["io_uring"], prefix=prefix)
    return None


def unprivileged():
    with Running(start=False) as server:
        if os.geteuid() == 0:
            if shutil.which("setpriv") is None:
                return "skip: no setpriv to become another user"
            prefix, program = as_nobody(server)
            os.mkdir(server.data)
            os.chown(server.data, NOBODY, NOBODY)
            server.prefix, server.program = prefix, program
        pages = glob.glob("/sys/kernel/mm/hugepages/*/nr_hugepages")
        if any(int(open(path).read()) for path in pages):
            print("     this host has hugepages; they are left as they are")
        server.start()
        with open(f"/proc/{server.process.pid}/status") as status:
            user = re.search(r"^Uid:\s+(\d+)", status.read(), re.M).group(1)
        check(user != "0", "it runs as root")
        write_and_read(server)
        check(server.stop() == 0, "stop")
    return None


def small_memory():
    """The least budget serves and says so; less is refused, not raised in silence."""
    with Running("--memory", "256MiB") as server:
        write_and_read(server)
        check(re.search(r"^  sum .* of 256 MiB", server.log_tail(200), re.M), "the budget is not told")
        check(server.stop() == 0, "stop")
        for less in ("255MiB", "10MiB", "1"):
            refused(server, "--memory", less, says=["memory", "256MiB"], status=USAGE)


# ---- placement ----

def placements():
    """One directory under changing numbers of tiles, stopped cleanly and killed: everything stays."""
    layouts = ["gate+log", "gate/log/log", "gate/log", "gate+log/log+gate", "gate/log/log/log", "gate+log"]
    with Running(start=False) as server:
        for i, cores in enumerate(layouts):
            server.start("--cores", cores)
            with Connection(server) as connection:
                if i == 0:
                    create_topic(connection, "placed", 8)
                for partition in range(8):
                    found = produce(connection, "placed", batch([b"%d.%d.%d" % (i, partition, k) for k in range(5)]), partition)
                    check(found["error"] == 0 and found["base_offset"] == 5 * i, f"--cores {cores}, partition {partition}: {found}")
                for partition in range(8):
                    values = [value for one in read_all(server, "placed", partition).values() for value in one]
                    check(values == [b"%d.%d.%d" % (j, partition, k) for j in range(i + 1) for k in range(5)],
                          f"--cores {cores}, partition {partition}: {len(values)} records: {values[:3]}")
            if i % 2 == 0:
                check(server.stop() == 0, f"stop of --cores {cores}")
            else:
                server.kill()


TESTS = {
    "the checked-in file starts a server": checked_in_file,
    "the file with every setting written out does too": every_setting_uncommented,
    "a flag overrides the file": flag_overrides_file,
    "keys may be nested": nested_keys,
    "a bad file is refused by file, line, key and range": bad_files,
    "a bad flag is refused": bad_flags,
    "--help lists the settings": help_lists_settings,
    "a data directory in use is refused": directory_in_use,
    "a newer format is refused": newer_format,
    "a damaged eagre.meta is refused when no copy is whole": damaged_meta,
    "tmpfs needs --dev": tmpfs,
    "a directory that is not writable is refused": not_writable,
    "a file in place of the directory is refused": data_is_a_file,
    "a port in use is refused": port_in_use,
    "SIGTERM and SIGINT under load stop cleanly": stop_under_load,
    "kill -9 leaves groups to replay": kill_replays,
    "SIGTERM at every moment of a start": stop_right_after_start,
    "SIGHUP is ignored, many signals do no harm": hangup_ignored,
    "the banner tells everything": banner,
    "--advertise is what clients are told": advertised,
    "the thread body of io serves": io_threads,
    "io_uring denied by seccomp falls back": io_uring_denied,
    "an ordinary user without hugepages serves": unprivileged,
    "the least memory budget serves, less is refused": small_memory,
    "another number of tiles keeps everything": placements,
}


def main():
    wanted = sys.argv[1:]
    for name, test in TESTS.items():
        if not wanted or test.__name__ in wanted:
            suite.run(name, test)
    return suite.finish()


if __name__ == "__main__":
    sys.exit(main())
