"""Brokers that are measured side by side: each is started from scratch on loopback in a stated durability class, and stopped.

A peer says its version, its configuration and what an acknowledgement of it means. Absent says why one cannot be had here."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
import uuid

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
START_SECONDS = 60
STOP_SECONDS = 60
KAFKA_VERSION = "4.3.1"

# What an acknowledgement means. A figure without it says nothing.
DEVICE = "device: on stable storage before the acknowledgement"
EVERY_SECOND = "interval: on stable storage within a second or more; a power cut loses acknowledged records"
PAGE_CACHE = "page cache: written back by the kernel some time; a power cut loses acknowledged records"
MEMORY = "memory: copied, not yet written"


class Absent(Exception):
    """Why a peer or a mode cannot be had on this machine."""


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def first_line(command, **more):
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60, check=False, **more)
        return done.stdout.decode(errors="replace").strip().splitlines()[0]
    except (OSError, IndexError, subprocess.TimeoutExpired) as trouble:
        raise Absent(f"{command[0]}: {trouble}") from trouble


def wanted(program):
    path = shutil.which(program) or shutil.which(program, path="/usr/sbin:/usr/lib/rabbitmq/bin")
    if path is None:
        raise Absent(f"{program} is not installed")
    return path


class Peer:
    """One process on one data directory."""

    name = ""
    mode = ""
    durability = ""
    driver = "kafka-raw"
    extra = ""
    compiles_at_run_time = False  # then it gets a load that is not measured first: a backlog of its cold start would be

    def __init__(self, directory):
        self.directory = tempfile.mkdtemp(prefix=f"{self.name}-", dir=directory)
        self.port = free_port()
        self.process = None
        self.environment = dict(os.environ)

    @property
    def label(self):
        return f"{self.name} {self.mode}".strip()

    @property
    def address(self):
        return f"127.0.0.1:{self.port}"

    def version(self):
        raise NotImplementedError

    def config(self):
        """Text of what was set, for the result."""
        return ""

    def command(self):
        raise NotImplementedError

    def prepare(self):
        """Before the process starts."""

    def is_ready(self):
        try:
            socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
            return True
        except OSError:
            return False

    def start(self):
        self.prepare()
        with open(os.path.join(self.directory, "log.txt"), "wb") as log:
            self.process = subprocess.Popen(self.command(), stdout=log, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
                                            env=self.environment, start_new_session=True, cwd=self.directory)
        end = time.monotonic() + START_SECONDS
        while not self.is_ready():
            if self.process.poll() is not None or time.monotonic() > end:
                with open(os.path.join(self.directory, "log.txt"), errors="replace") as log:
                    tail = log.read()[-1500:]
                self.stop()
                raise Absent(f"{self.label} does not start: {tail}")
            time.sleep(0.1)
        return self

    def pids(self):
        return [self.process.pid]

    def stop(self):
        if self.process is not None and self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGTERM)
            try:
                self.process.wait(timeout=STOP_SECONDS)
            except subprocess.TimeoutExpired:
                os.killpg(self.process.pid, signal.SIGKILL)
                self.process.wait(timeout=STOP_SECONDS)
        shutil.rmtree(self.directory, ignore_errors=True)

    def topics(self, workload, prefix):
        """Makes what the driver does not make by itself."""


class Eagre(Peer):
    name, durability = "Eagre", DEVICE

    def version(self):
        return first_line([self.program(), "version"])

    def program(self):
        path = os.environ.get("EAGRE", os.path.join(ROOT, "build", "release", "eagre"))
        if not os.access(path, os.X_OK):
            raise Absent(f"{path} is not built")
        return path

    def prepare(self):
        self.admin_port = free_port()
        self.native_port = free_port()

    def config(self):
        return "defaults"

    def command(self):
        return [self.program(), "serve", "--data", os.path.join(self.directory, "data"), "--kafka", self.address, "--admin",
                f"127.0.0.1:{self.admin_port}", "--native", f"127.0.0.1:{self.native_port}", *self.flags()]

    def flags(self):
        return []

    def is_ready(self):
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.admin_port}/readyz", timeout=2) as answer:
                return answer.status == 200
        except OSError:
            return False


class EagreNative(Eagre):
    """The native door; its topics are made at the Kafka door."""

    mode, driver = "native", "native"

    @property
    def address(self):
        return f"127.0.0.1:{self.port}"

    def topics(self, workload, prefix):
        for topic in range(int(workload.get("topics", 1))):
            subprocess.run([self.program(), "topic", "create", f"{prefix}-{topic}", "--partitions", str(workload.get("partitions", 1)),
                            "--server", self.address], check=True, stdout=subprocess.DEVNULL, timeout=60)

    def bench_address(self):
        return f"127.0.0.1:{self.native_port}"


class EagreNativePlain(EagreNative):
    mode, extra = "native, auth none", "plain"

    def flags(self):
        return ["--native.auth", "none"]


class Kafka(Peer):
    name, mode, durability = "Apache Kafka", "unsynced", PAGE_CACHE
    topic_config = {}
    compiles_at_run_time = True

    def jars(self):
        sys.path.insert(0, os.path.join(ROOT, "tests", "clients"))
        import jvm  # noqa: E402  (fetches by coordinates and checksum)
        wanted("java")
        try:
            return jvm.jars(KAFKA_VERSION)
        except jvm.Unavailable as trouble:
            raise Absent(f"the jars of Kafka {KAFKA_VERSION}: {trouble}") from trouble

    def version(self):
        return f"Apache Kafka {KAFKA_VERSION}, KRaft, one node; {first_line(['java', '-version'])}"

    def config(self):
        return "defaults of Kafka, one node" + "".join(f", {key}={value}" for key, value in self.topic_config.items())

    def java(self, *words, heap="1g"):
        return ["java", f"-Xms{heap}", f"-Xmx{heap}", "-XX:+UseG1GC", "-XX:MaxGCPauseMillis=20", "-cp", os.path.join(self.jars(), "*"), *words]

    def prepare(self):
        controller = free_port()
        properties = {
            "process.roles": "broker,controller", "node.id": 1, "controller.quorum.voters": f"1@127.0.0.1:{controller}",
            "listeners": f"PLAINTEXT://127.0.0.1:{self.port},CONTROLLER://127.0.0.1:{controller}",
            "advertised.listeners": f"PLAINTEXT://127.0.0.1:{self.port}", "controller.listener.names": "CONTROLLER",
            "inter.broker.listener.name": "PLAINTEXT", "log.dirs": os.path.join(self.directory, "data"),
            "offsets.topic.replication.factor": 1, "transaction.state.log.replication.factor": 1, "transaction.state.log.min.isr": 1,
            **self.broker_config(),
        }
        self.properties = os.path.join(self.directory, "server.properties")
        with open(self.properties, "w", encoding="utf-8") as file:
            file.write("".join(f"{key}={value}\n" for key, value in properties.items()))
        done = subprocess.run(self.java("kafka.tools.StorageTool", "format", "-t", str(uuid.uuid4()).replace("-", "")[:22], "-c", self.properties,
                                        heap="256m"), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=120, check=False)
        if done.returncode != 0:
            raise Absent(f"kafka-storage format: {done.stdout.decode()[-800:]}")

    def broker_config(self):
        return {}

    def command(self):
        return self.java("kafka.Kafka", self.properties)


class KafkaFlush(Kafka):
    mode, durability = "flush.messages=1", DEVICE
    topic_config = {"flush.messages": "1"}

    def broker_config(self):
        return {"log.flush.interval.messages": 1}


class Redis(Peer):
    name, driver, policy = "Redis Streams", "redis", ""

    def version(self):
        return first_line([wanted("redis-server"), "--version"])

    def config(self):
        return f"appendonly yes, appendfsync {self.policy}, save off"

    def command(self):
        return [wanted("redis-server"), "--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "yes", "--appendfsync",
                self.policy, "--dir", self.directory]


class RedisAlways(Redis):
    mode, policy, durability = "appendfsync always", "always", DEVICE


class RedisEverySecond(Redis):
    mode, policy, durability = "appendfsync everysec", "everysec", EVERY_SECOND


class Nats(Peer):
    """The newest server that can be built by the Go toolchain of this machine, else Debian's."""

    name, mode, driver, durability = "NATS JetStream", "default sync", "nats", EVERY_SECOND
    sync = None

    def program(self):
        cache = os.path.join(os.environ.get("XDG_CACHE_HOME", os.path.expanduser("~/.cache")), "eagre", "nats")
        built = os.path.join(cache, "nats-server")
        if not os.access(built, os.X_OK) and shutil.which("go"):
            os.makedirs(cache, exist_ok=True)
            subprocess.run(["go", "install", "github.com/nats-io/nats-server/v2@latest"], env=dict(os.environ, GOBIN=cache),
                           stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=900, check=False)
        return built if os.access(built, os.X_OK) else wanted("nats-server")

    def version(self):
        return first_line([self.program(), "--version"])

    def config(self):
        return "JetStream, file storage, one replica" + (f", sync_interval: {self.sync}" if self.sync else "")

    def prepare(self):
        self.file = os.path.join(self.directory, "nats.conf")
        sync = f"  sync_interval: {self.sync}\n" if self.sync else ""
        with open(self.file, "w", encoding="utf-8") as file:
            file.write(f'listen: "127.0.0.1:{self.port}"\njetstream {{\n  store_dir: "{self.directory}/js"\n{sync}}}\n')
        done = subprocess.run([self.program(), "-c", self.file, "-t"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60, check=False)
        if done.returncode != 0:
            raise Absent(f"{self.version()} does not take this configuration: {done.stdout.decode().strip()[-300:]}")

    def command(self):
        return [self.program(), "-c", self.file]


class NatsAlways(Nats):
    mode, durability, sync = "sync: always", DEVICE, "always"


class Rabbit(Peer):
    """With a port mapper of its own: one that the broker starts by itself would stay behind."""

    name, mode, driver, durability = "RabbitMQ", "quorum queue", "rabbitmq", DEVICE
    script = "/usr/lib/rabbitmq/bin/rabbitmq-server"  # the one in PATH changes to a user of its own

    def __init__(self, directory):
        super().__init__(directory)
        self.mapper = None

    def version(self):
        done = subprocess.run(["dpkg-query", "-W", "-f", "${Version}", "rabbitmq-server"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                              check=False, timeout=30)
        if not os.access(self.script, os.X_OK):
            raise Absent("rabbitmq-server is not installed")
        return f"RabbitMQ {done.stdout.decode()}"

    def config(self):
        return "quorum queues of one member, publisher confirms"

    def prepare(self):
        mapper_port = free_port()
        plugins = os.path.join(self.directory, "plugins")
        with open(plugins, "w", encoding="utf-8") as file:
            file.write("[].\n")
        self.environment.update({
            "RABBITMQ_NODENAME": f"eagre{self.port}@localhost", "RABBITMQ_NODE_PORT": str(self.port), "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_DIST_PORT": str(free_port()), "RABBITMQ_MNESIA_BASE": self.directory, "RABBITMQ_LOG_BASE": self.directory,
            "RABBITMQ_GENERATED_CONFIG_DIR": os.path.join(self.directory, "generated"), "RABBITMQ_CONF_ENV_FILE": "/dev/null",
            "RABBITMQ_CONFIG_FILE": os.path.join(self.directory, "none"), "RABBITMQ_PID_FILE": os.path.join(self.directory, "pid"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": plugins, "HOME": self.directory, "ERL_EPMD_ADDRESS": "127.0.0.1",
            "ERL_EPMD_PORT": str(mapper_port), "RABBITMQ_ALLOW_INPUT": "1", "RABBITMQ_SERVER_START_ARGS": "-noinput"})
        self.mapper = subprocess.Popen([wanted("epmd"), "-port", str(mapper_port), "-address", "127.0.0.1"], env=self.environment,
                                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL)

    def command(self):
        return [self.script]

    def pids(self):
        """The virtual machine and its helpers."""
        found = subprocess.run(["pgrep", "-g", str(os.getpgid(self.process.pid))], stdout=subprocess.PIPE, check=False, timeout=30)
        return [int(pid) for pid in found.stdout.split()] or [self.process.pid]

    def stop(self):
        super().stop()
        if self.mapper is not None:
            self.mapper.terminate()
            self.mapper.wait(timeout=STOP_SECONDS)


ALL = [Eagre, EagreNative, EagreNativePlain, Kafka, KafkaFlush, RedisAlways, RedisEverySecond, Nats, NatsAlways, Rabbit]
