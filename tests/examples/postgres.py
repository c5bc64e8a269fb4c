"""A PostgreSQL cluster of our own in a temporary directory, on a unix socket only; it can be killed with all its processes.

PostgreSQL refuses to run as root: root starts it as the package's user `postgres`, anybody else as himself."""

import glob
import os
import shutil
import signal
import subprocess
import tempfile
import time

import psycopg2

SECONDS = 60


def programs():
    """The folder of the newest server's programs, or None."""
    found = sorted(glob.glob("/usr/lib/postgresql/*/bin/initdb"), key=lambda path: int(path.split("/")[4]))
    return os.path.dirname(found[-1]) if found else None


class Postgres:
    def __init__(self):
        self.programs = programs()
        self.directory = tempfile.mkdtemp(prefix="eagre-postgres-")
        self.data = os.path.join(self.directory, "data")
        self.log_path = os.path.join(self.directory, "log")
        self.prefix = []
        if os.geteuid() == 0:
            shutil.chown(self.directory, "postgres", "postgres")
            self.prefix = ["setpriv", "--reuid", "postgres", "--regid", "postgres", "--clear-groups"]
        self.dsn = f"host={self.directory} user=shop dbname=postgres"
        self.process = None
        self.run(os.path.join(self.programs, "initdb"), "-D", self.data, "-U", "shop", "-A", "trust", "--no-sync")

    def run(self, *command):
        done = subprocess.run([*self.prefix, *command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=SECONDS, cwd="/")
        if done.returncode != 0:
            raise AssertionError(f"{command[0]}: {done.stdout.decode()[-500:]}")

    def start(self):
        """Starts the server and waits until it answers; after a kill it recovers first."""
        end = time.monotonic() + SECONDS
        while time.monotonic() < end:
            if self.process is None or self.process.poll() is not None:
                self.launch()  # again, where the last one still found processes of its predecessor
            try:
                psycopg2.connect(self.dsn).close()
                return self
            except psycopg2.OperationalError:
                time.sleep(0.1)
        raise AssertionError(f"postgres does not answer after {SECONDS} s; see {self.log_path}")

    def launch(self):
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen([*self.prefix, os.path.join(self.programs, "postgres"), "-D", self.data, "-k", self.directory,
                                             "-c", "listen_addresses="], stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd="/")

    def kill(self):
        """kill -9 of the server and of all that it had started: as if the host had lost power, but for what the kernel holds."""
        with open(f"/proc/{self.process.pid}/task/{self.process.pid}/children", encoding="ascii") as children:
            pids = [int(pid) for pid in children.read().split()]
        self.process.kill()
        self.process.wait(SECONDS)
        for pid in pids:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass

    def close(self, keep=False):
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)  # PostgreSQL's fast shutdown
            try:
                self.process.wait(SECONDS)
            except subprocess.TimeoutExpired:
                self.kill()
        if keep:
            print(f"  kept {self.directory}")
        else:
            shutil.rmtree(self.directory, ignore_errors=True)

    def ask(self, statement):
        connection = psycopg2.connect(self.dsn)
        try:
            with connection, connection.cursor() as cursor:
                cursor.execute(statement)
                return cursor.fetchall() if cursor.description else []
        finally:
            connection.close()
