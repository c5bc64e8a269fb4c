"""Kafka's own tools and clients in Java for the suites: their jars, and one process that runs tools in turn.

`Jvm(version)` starts Tools.java; `jvm.tool(...)` runs one tool and gives what it printed. Unavailable says why there is none."""

import json
import os
import queue
import subprocess
import threading

HERE = os.path.dirname(os.path.abspath(__file__))
VERSIONS = ("4.3.1", "3.9.2")
TOOL_SECONDS = 60
FETCH_SECONDS = 1000
JAVA = ["java", "-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto",  # small and quick to start
        "-Dorg.slf4j.simpleLogger.defaultLogLevel=off"]


class Unavailable(Exception):
    """Why the jars or Java cannot be had."""


def jars(version):
    """The directory of the jars of one version of Kafka."""
    done = subprocess.run([os.path.join(HERE, "java", "fetch"), version], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          timeout=FETCH_SECONDS)
    if done.returncode != 0:
        raise Unavailable(done.stderr.decode().strip()[-300:] or f"fetch {version} gave {done.returncode}")
    return done.stdout.decode().strip()


def java(version, source, *words, properties=()):
    """The words of a command that runs a source file of java/ against the jars of one version."""
    return [*JAVA, *properties, "-cp", os.path.join(jars(version), "*"), os.path.join(HERE, "java", source), *words]


# Where versions differ in the class of a tool, the older name comes second.
MAINS = {
    "topics": ("org.apache.kafka.tools.TopicCommand",),
    "configs": ("org.apache.kafka.tools.ConfigCommand", "kafka.admin.ConfigCommand"),
    "consumer-groups": ("org.apache.kafka.tools.consumer.group.ConsumerGroupCommand",),
    "groups": ("org.apache.kafka.tools.GroupsCommand",),
    "get-offsets": ("org.apache.kafka.tools.GetOffsetShell",),
    "delete-records": ("org.apache.kafka.tools.DeleteRecordsCommand",),
    "log-dirs": ("org.apache.kafka.tools.LogDirsCommand",),
    "leader-election": ("org.apache.kafka.tools.LeaderElectionCommand",),
    "reassign-partitions": ("org.apache.kafka.tools.reassign.ReassignPartitionsCommand",),
    "acls": ("org.apache.kafka.tools.AclCommand", "kafka.admin.AclCommand"),
    "features": ("org.apache.kafka.tools.FeatureCommand",),
    "cluster": ("org.apache.kafka.tools.ClusterTool",),
    "broker-api-versions": ("org.apache.kafka.tools.BrokerApiVersionsCommand", "kafka.admin.BrokerApiVersionsCommand"),
    "transactions": ("org.apache.kafka.tools.TransactionsCommand",),
    "client-metrics": ("org.apache.kafka.tools.ClientMetricsCommand",),
    "console-producer": ("org.apache.kafka.tools.ConsoleProducer", "kafka.tools.ConsoleProducer"),
    "console-consumer": ("org.apache.kafka.tools.consumer.ConsoleConsumer",),
    "verifiable-producer": ("org.apache.kafka.tools.VerifiableProducer",),
    "verifiable-consumer": ("org.apache.kafka.tools.VerifiableConsumer",),
    "producer-perf-test": ("org.apache.kafka.tools.ProducerPerformance",),
    "consumer-perf-test": ("org.apache.kafka.tools.ConsumerPerformance",),
}


class Jvm:
    """One process that runs tools of one version of Kafka in turn. A tool that ends the process all the same gets another one."""

    def __init__(self, version):
        self.version = version
        self.start()

    def start(self):
        self.process = subprocess.Popen(java(self.version, "Tools.java", properties=[f"-Dtools.seconds={TOOL_SECONDS}"]),
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        self.lines = queue.Queue()
        threading.Thread(target=collect, args=(self.process.stdout, self.lines), daemon=True).start()

    def ask(self, request):
        self.process.stdin.write(json.dumps(request).encode() + b"\n")
        self.process.stdin.flush()
        line = self.lines.get(timeout=TOOL_SECONDS + 30)
        if line is not None:
            return json.loads(line)
        status = self.process.wait(timeout=10)
        self.start()
        return {"status": status, "out": "", "err": ""}

    def run(self, name, *words, stdin=""):
        """(exit status, standard output, standard error) of one tool, with its older class where the newer is not there."""
        for main in MAINS[name]:
            answer = self.ask({"main": main, "args": list(words), "stdin": stdin})
            if not answer["err"].startswith("java.lang.ClassNotFoundException: " + main):
                break
        return answer["status"], answer["out"], answer["err"]

    def close(self):
        self.process.stdin.close()
        try:
            self.process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(timeout=10)


def collect(stream, lines):
    for line in stream:
        lines.put(line)
    lines.put(None)
