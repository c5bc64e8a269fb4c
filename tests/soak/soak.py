"""Exactly once under kill -9: workers and the server are killed at random while a transactional job runs over 12 partitions.

Goal: the output equals the input, each record once, in order per key, as a reader of committed records sees it. Method: ROUNDS rounds
(default 20); each kills at a random moment one or two workers, the server, or both, or lets a worker sleep longer than its session or
its transaction may last; what died is started again at once. After each round nothing may be there twice or be of nobody; at the end
nothing may be missing. How to break it: let transform.py commit its offsets with the consumer instead of in the transaction."""

import os
import random
import signal
import sys
import time

from job import Job
from example import Place, Server, Suite, check, seed, serves_transactions, until

ROUNDS = int(os.environ.get("ROUNDS", "20"))
WORKERS = ("a", "b", "c")
RATE = 800  # records per second: workers and this script share two cores
ROUND_SECONDS = 7  # what a round takes, roughly; only sizes the input
SLEEP_SECONDS = 8.0  # longer than the session of a worker
KINDS = os.environ.get("KINDS", "worker,server,both,workers,server,both,sleeper,worker").split(",")

suite = Suite("soak")
server = Server("--group.initial.rebalance.delay.ms", "100ms")


class Soak:
    def __init__(self, place, chance):
        self.chance = chance
        self.job = Job(place, server, events=ROUNDS * RATE * ROUND_SECONDS, give_up=0.03)
        self.kills = {"worker": 0, "server": 0, "sleeper": 0}
        self.lines = 0

    def begin(self):
        self.job.prepare()
        self.job.feed(RATE)
        for name in WORKERS:
            self.job.start(name)
        until(lambda: self.job.lines.count() > 0, lambda: "no output: " + self.job.workers["a"].tail())

    def kill_worker(self, name):
        self.job.workers[name].kill()
        self.job.start(name)
        self.kills["worker"] += 1

    def kill_server(self):
        server.kill()
        time.sleep(self.chance.choice((0, 0, 0.3, 1.5)))
        server.start()
        self.kills["server"] += 1

    def sleeper(self, name):
        """A worker that sleeps past its session, and sometimes past its transaction, and then goes on as if nothing had been."""
        worker = self.job.workers[name]
        worker.process.send_signal(signal.SIGSTOP)
        time.sleep(SLEEP_SECONDS + self.chance.choice((0, 4)))
        worker.process.send_signal(signal.SIGCONT)
        self.kills["sleeper"] += 1

    def round(self, number):
        kind = KINDS[number % len(KINDS)] if number < len(KINDS) else self.chance.choice(KINDS)
        names = self.chance.sample(WORKERS, 2)
        time.sleep(self.chance.uniform(0.2, 2.0))
        if kind in ("worker", "workers", "both"):
            self.kill_worker(names[0])
        if kind == "both":
            time.sleep(self.chance.uniform(0, 0.5))
        if kind in ("server", "both"):
            self.kill_server()
        if kind == "workers":
            time.sleep(self.chance.uniform(0, 1))
            self.kill_worker(names[1])
        if kind == "sleeper":
            self.sleeper(names[0])
        self.job.watch()
        before = self.lines

        def goes_on():
            self.job.watch()
            self.lines = self.job.judge()
            return self.lines > before or self.job.feeder.process.poll() == 0
        until(goes_on, lambda: f"no line since {kind} died; " + "".join(w.tail(3) for w in self.job.workers.values()))

    def end(self):
        self.job.drain()
        self.job.stop()
        aborted = self.job.judge_all()
        print(f"  one line for each of {self.job.events} records; kills {self.kills}, "
              f"workers ended by themselves {dict(self.job.ended)}; {aborted} lines of aborted transactions")
        check(aborted > 0, "no transaction was aborted: the soak has shown little")


def main():
    number = seed()
    server.start()
    with Place("soak") as place:
        soak = Soak(place, random.Random(number))
        if not serves_transactions(server):
            suite.run("exactly once", lambda: "skip: this server has no transactions yet")
            server.close()
            print(f"0 passed, 0 failed, {suite.skipped} skipped")
            return 0
        going = suite.run("the job begins", soak.begin)
        for i in range(ROUNDS):
            going = going and suite.run(f"round {i + 1}", soak.round, i)
        if going:
            suite.run("output equals input, each record once", soak.end)
        if suite.failed:
            server.close(keep=True)
            raise SystemExit(suite.finish())
    server.close()
    return suite.finish()


if __name__ == "__main__":
    sys.exit(main())
