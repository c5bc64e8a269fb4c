"""kafkajs (JavaScript, its own implementation of the protocol) against one server process that is killed in between.

Goal and method are those of js/tests.js; here it is fetched, started and given a server."""

import json
import os
import subprocess
import sys
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "system"))
from server import Server, Suite  # noqa: E402

FETCH_SECONDS = 700
RUN_SECONDS = 400

server = Server("--group.initial.rebalance.delay.ms", "100ms")
suite = Suite("kafkajs")


def judge(line):
    """A test of Suite, from what the other side says of one of its own."""
    if "error" in line:
        raise AssertionError(line["error"])
    return f"skip: {line['skip']}" if "skip" in line else None


def run(modules):
    command = ["node", os.path.join(HERE, "js", "tests.js"), server.address, json.dumps(sorted(server.offered()))]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env={**os.environ, "NODE_PATH": modules,
                          "KAFKAJS_NO_PARTITIONER_WARNING": "1"}) as process:
        killer = threading.Timer(RUN_SECONDS, process.kill)
        killer.start()
        for text in process.stdout:
            line = json.loads(text)
            if "ask" in line:
                server.kill()
                time.sleep(0.5)
                server.start()
                process.stdin.write(b"done\n")
                process.stdin.flush()
            else:
                suite.run(line["name"], judge, line)
        killer.cancel()
    suite.run("came to its end", lambda: judge({"error": f"exit status {process.returncode}"} if process.returncode else {}))


def main():
    fetched = subprocess.run([os.path.join(HERE, "js", "fetch")], stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=FETCH_SECONDS)
    if fetched.returncode != 0:
        suite.run("all", lambda: f"skip: {fetched.stderr.decode().strip()[-300:]}")
        print("0 passed, 0 failed, 1 skipped")
        return 0
    server.start()
    run(fetched.stdout.decode().strip())
    server.close(keep=suite.failed > 0)
    return suite.finish()


if __name__ == "__main__":
    sys.exit(main())
