"""What consumer groups lag, as metrics and as JSON.

Goal: records and seconds say what is true, and groups of any name neither break the text format nor look alike. Method: a real
group commits a known offset; the wall clock of this test is compared with the seconds that are told."""

import json
import re
import subprocess
import sys
import time
import urllib.error
import urllib.parse

from confluent_kafka import Consumer, TopicPartition

from server import Server, Suite, binary
from wire import check

suite = Suite("lag")
server = Server()
NAMES = ("plain", 'quo"ted\\name', "na\u00efve", "two\nlines")


def cli(*words, stdin=b""):
    done = subprocess.run([binary(), *words, "--server", server.address], input=stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=60)
    check(done.returncode == 0, f"{words[:2]}: {done.stderr.decode()}")
    return done.stdout.decode()


def commit(group, offset, topic="t", partition=0):
    consumer = Consumer({"bootstrap.servers": server.address, "group.id": group, "enable.auto.commit": False})
    consumer.commit(offsets=[TopicPartition(topic, partition, offset)], asynchronous=False)
    consumer.close()


def lag(group, kind="records"):
    label = group.replace("\\", "\\\\").replace('"', '\\"')
    return server.metrics().get(f'eagre_group_lag_{kind}{{group="{label}",topic="t",partition="0"}}')


def one(group):
    return server.json("/api/v1/groups?group=" + urllib.parse.quote(group))


def records_are_right():
    cli("topic", "create", "t", "--partitions", "1")
    cli("produce", "t", "--quiet", stdin=b"x\n" * 100)
    commit("plain", 40)
    check(lag("plain") == 60, f"{lag('plain')}")
    cli("produce", "t", "--quiet", stdin=b"x\n" * 25)
    check(lag("plain") == 85, f"{lag('plain')}")
    row = one("plain")["offsets"][0]
    check((row["committed_offset"], row["high_watermark"], row["lag_records"]) == (40, 125, 85), f"{row}")
    commit("plain", 125)
    check(lag("plain") == 0 and lag("plain", "seconds") == 0, "a group at the end lags")


def seconds_are_right():
    """The end was at 125 until now: a group that stays there lags since the next record came."""
    check(lag("plain") == 0, "not at the end")
    time.sleep(1.2)
    lag("plain")
    began = time.time()
    cli("produce", "t", "--quiet", stdin=b"x\n" * 10)
    for _ in range(4):
        time.sleep(1.1)
        told, true = lag("plain", "seconds"), time.time() - began
        check(true - 1.5 <= told <= true + 2.5, f"{told} s told after {true:.1f} s")
    commit("plain", 135)
    check(lag("plain", "seconds") == 0, "after reading")


def any_name_is_told():
    for name in NAMES[1:]:
        commit(name, 100)
    text = server.http("/metrics")
    lines = [line for line in text.splitlines() if line.startswith("eagre_group_lag_records{")]
    shape = re.compile(r'^eagre_group_lag_records\{group="(?:[^"\\]|\\.)*",topic="t",partition="0"\} \d+$')
    check(len(lines) == len(NAMES) and len(set(lines)) == len(NAMES) and all(shape.match(line) for line in lines), f"{lines}")
    check(all(ord(letter) < 127 for line in lines for letter in line), "not plain text")
    listed = {row["group"]: row for row in server.json("/api/v1/groups")["groups"]}
    check(set(listed) == set(NAMES), f"{sorted(listed)}")
    for name in NAMES[1:]:
        check(one(name)["lag_records"] == 35, f"{one(name)}")
    try:
        one("nobody")
        raise AssertionError("a group that is not there was found")
    except urllib.error.HTTPError as error:
        check(error.code == 404, f"{error.code}")


def members_are_told():
    consumer = Consumer({"bootstrap.servers": server.address, "group.id": "alive", "client.id": "me", "group.instance.id": "fixed",
                         "auto.offset.reset": "earliest", "enable.auto.commit": False})
    consumer.subscribe(["t"])
    end = time.monotonic() + 20
    while not consumer.assignment() and time.monotonic() < end:
        consumer.poll(0.2)
    group = one("alive")
    check(group["state"] == "Stable" and group["member_count"] == 1, f"{group}")
    check(group["members"][0]["client"] == "me" and group["members"][0]["instance"] == "fixed", f"{group['members']}")
    check(json.dumps(server.json("/api/v1/groups")).count('"alive"') == 1, "not listed once")
    consumer.close()


def a_deleted_topic_lags_nothing():
    cli("topic", "delete", "t")
    check(lag("plain") is None, "a topic that is gone")
    check("lag_records" not in one("plain")["offsets"][0] if one("plain")["offsets"] else True, "a topic that is gone")


def main():
    server.start()
    suite.run("records", records_are_right)
    suite.run("seconds", seconds_are_right)
    suite.run("groups of any name", any_name_is_told)
    suite.run("members", members_are_told)
    suite.run("a deleted topic", a_deleted_topic_lags_nothing)
    status = suite.finish()
    server.close(keep=status != 0)
    return status


if __name__ == "__main__":
    sys.exit(main())
