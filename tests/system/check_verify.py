"""`eagre verify` and `eagre dump` on what a real server and real clients leave on the disk.

Goal: a directory that the server left, cleanly or by kill -9, is clean; one flipped byte in any kind of structure is found and its
place named; nothing is ever written. Method: librdkafka (`eagre produce`) fills topics in every codec, with deletes, trims and
several segments; the bytes to flip are found by this file's own reading of FORMAT.md, not by the program under test."""

import hashlib
import json
import os
import random
import struct
import subprocess
import sys
import time

from server import Server, Suite, binary
from wire import check, crc32c

CODECS = ("none", "gzip", "snappy", "lz4", "zstd")
BLOCK = 4096
PREFIX = 21  # bytes of a batch that its CRC does not cover
NOBODY = 65534
suite = Suite("verify")
random.seed(int(os.environ.get("SEED", "5")))
print(f"SEED={os.environ.get('SEED', '5')}")


def eagre(*words, stdin=b"", status=0):
    done = subprocess.run([binary(), *words], input=stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=120)
    if status is not None:
        check(done.returncode == status, f"eagre {' '.join(words[:3])}: exit {done.returncode} where {status} was due: "
              f"{done.stderr.decode()[-400:]}{done.stdout.decode()[-600:]}")
    return done.stdout.decode()


def lines(count, bytes_each):
    return b"".join(b"%06d:%s\n" % (i, random.randbytes(bytes_each // 2).hex().encode()) for i in range(count))


def fill(server):
    """Topics in every codec, one with several segments, one trimmed, one deleted. {topic: records}."""
    where = ("--server", server.address)
    kept = {}
    for codec in CODECS:
        eagre("topic", "create", f"codec-{codec}", "--partitions", "2", *where)
        eagre("produce", f"codec-{codec}", "--codec", codec, "--quiet", "--key-separator", ":", *where, stdin=lines(2000, 200))
        kept[f"codec-{codec}"] = 2000
    eagre("topic", "create", "long", *where)
    for _ in range(3):
        eagre("produce", "long", "--idempotent", "--quiet", *where, stdin=lines(2400, 1000))
    kept["long"] = 7200
    eagre("topic", "trim", "long", "--partition", "0", "--before", "10", *where)
    eagre("topic", "create", "gone", *where)
    eagre("produce", "gone", "--quiet", *where, stdin=lines(100, 100))
    eagre("topic", "delete", "gone", *where)
    return kept


class Data:
    """A directory that a server left. verify() gives the exit status and the parsed lines."""

    def __init__(self, killed):
        self.server = Server("--segment.bytes", "2MiB")
        self.server.start()
        self.kept = fill(self.server)
        self.path = self.server.data
        if killed:
            self.server.kill()
        else:
            check(self.server.stop() == 0, "the stop was not clean")

    def verify(self, *flags):
        done = subprocess.run([binary(), "verify", "--data", self.path, "--json", *flags], stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, timeout=120)
        rows = [json.loads(line) for line in done.stdout.decode().splitlines()]
        return done.returncode, rows

    def clean(self, *flags):
        status, rows = self.verify(*flags)
        bad = [row for row in rows if row["kind"] == "finding" and row["grade"] != "note"]
        check(status == 0 and not bad, f"exit {status}, found {bad[:4]}")
        return rows

    def file(self, name):
        return os.path.join(self.path, name)

    def read(self, name):
        with open(self.file(name), "rb") as source:
            return bytearray(source.read())

    def write(self, name, content):
        with open(self.file(name), "wb") as target:
            target.write(content)

    def found(self, name, content, low, high, rules, flags=()):
        """With this content of the file, a finding names a place in [low, high) of it, by one of the rules."""
        before = self.read(name)
        try:
            self.write(name, content)
            status, rows = self.verify(*flags)
        finally:
            self.write(name, before)
        findings = [row for row in rows if row["kind"] == "finding" and row["grade"] != "note"]
        check(status == 1, f"{name} [{low}, {high}): exit {status}, found {findings[:4]}")
        hits = [row for row in findings if row["file"] == name and low <= row["position"] < high and row["rule"] in rules]
        check(hits, f"{name} [{low}, {high}) by {rules}: found only {findings[:4]}")
        return findings

    def flip(self, name, at, low=None, high=None, rules=(), flags=()):
        content = self.read(name)
        content[at] ^= 1 << random.randrange(8)
        return self.found(name, content, at if low is None else low, at + 1 if high is None else high, rules, flags)


# ---- places, as FORMAT.md says


def partition_of(data, topic, partition=0):
    for row in data.clean():
        if row["kind"] == "partition" and (row["topic"], row["partition"]) == (topic, partition):
            return row
    raise AssertionError(f"no partition {topic}/{partition}")


def segments(data, topic):
    folder = f"partitions/{partition_of(data, topic)['incarnation']}"
    return [f"{folder}/{name}" for name in sorted(os.listdir(data.file(folder))) if name.endswith(".seg")]


def runs(content):
    """(position, batch bytes, batch count) of each run."""
    at = 0
    while content[at:at + 4] == b"ERUN":
        batch_bytes, batch_count = struct.unpack_from("<II", content, at + 40)
        yield at, batch_bytes, batch_count
        at += -(-(64 + batch_bytes) // BLOCK) * BLOCK


def sections(content):
    """{type: (position, bytes)} of a sealed segment."""
    trailer = len(content) - BLOCK
    check(content[trailer:trailer + 8] == b"EAGRSEAL", "no trailer where one must stand")
    count, = struct.unpack_from("<I", content, trailer + 12)
    table = {}
    for i in range(count):
        kind, _, position, size, _, _ = struct.unpack_from("<IIQQII", content, trailer + 128 + 32 * i)
        table[kind] = (position, size)
    return table


def reseal(content, kind, position, size):
    """Makes section and trailer checksums right again; gives the trailer's."""
    trailer = len(content) - BLOCK
    for i in range(16):
        at = trailer + 128 + 32 * i
        if struct.unpack_from("<I", content, at)[0] == kind:
            struct.pack_into("<I", content, at + 24, crc32c(bytes(content[position:position + size])))
    crc = crc32c(bytes(content[trailer:trailer + 4092]))
    struct.pack_into("<I", content, trailer + 4092, crc)
    return crc


def groups(content):
    """(position, header bytes, payload bytes, number) of each group of a journal file that follows the first."""
    at = BLOCK
    while at + 64 <= len(content) and content[at:at + 4] == b"EGRP":
        number, = struct.unpack_from("<Q", content, at + 16)
        header_bytes, payload_bytes = struct.unpack_from("<II", content, at + 32)
        yield at, header_bytes, payload_bytes, number
        at += header_bytes + -(-payload_bytes // BLOCK) * BLOCK


def newest_checkpoint(data):
    names = [name for name in os.listdir(data.path) if name.startswith("checkpoint-")]
    return max(names, key=lambda name: struct.unpack_from("<Q", data.read(name), 16)[0])


# ---- tests


def left_clean(data):
    rows = data.clean()
    data.clean("--quick")
    partitions = [row for row in rows if row["kind"] == "partition"]
    for topic, count in data.kept.items():
        records = sum(row["next_offset"] for row in partitions if row["topic"] == topic)
        check(records == count, f"{topic}: {records} offsets, {count} were acknowledged")
        seen = sum(row["records"] for row in partitions if row["topic"] == topic)
        check(seen == count, f"{topic}: {seen} records seen, {count} were acknowledged")
    check(not any(row["topic"] == "gone" for row in partitions), "a deleted topic is still there")
    long = next(row for row in partitions if row["topic"] == "long")
    check(long["start_offset"] == 10 and long["segments"] >= 3, f"long: {long}")
    check(rows[-1]["kind"] == "summary" and rows[-1]["topics"] == len(data.kept), f"{rows[-1]}")
    only = [row["topic"] for row in data.clean("--topic", "long") if row["kind"] == "partition"]
    check(sorted(only) == ["(metadata log)", "long"], f"--topic long shows {only}")
    check(data.verify("--topic", "none-such")[0] == 2, "an unknown topic is not refused")


def snapshot(path):
    digest = {}
    for folder, _, names in os.walk(path):
        for name in [".", *names]:
            at = os.path.join(folder, name)
            facts = os.stat(at)
            content = b"" if name == "." else open(at, "rb").read()
            digest[at] = (facts.st_mtime_ns, facts.st_ctime_ns, facts.st_size, hashlib.sha256(content).hexdigest())
    return digest


def never_writes(data):
    before = snapshot(data.path)
    data.clean()
    check(snapshot(data.path) == before, "something in the directory has changed")
    check(eagre("verify", "--data", data.path + "-none", status=2) == "" and not os.path.exists(data.path + "-none"),
          "a directory was made")


def without_permission(data):
    if os.geteuid() != 0:
        return "skip: needs root to become another user"
    os.chmod(data.server.directory, 0o755)
    for folder, _, names in os.walk(data.path):
        os.chmod(folder, 0o555)
        for name in names:
            os.chmod(os.path.join(folder, name), 0o444)
    done = subprocess.run(["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", binary(), "verify", "--data", data.path],
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=120)
    for folder, _, names in os.walk(data.path):
        os.chmod(folder, 0o750)
        for name in names:
            os.chmod(os.path.join(folder, name), 0o640)
    if done.returncode == 126 or b"Permission denied" in done.stderr and b"eagre" not in done.stderr:
        return "skip: another user cannot run the program where it stands"
    check(done.returncode == 0, f"exit {done.returncode}: {done.stderr.decode()}{done.stdout.decode()[-500:]}")


def read_only_mount(data):
    command = f"mount --bind {data.path} {data.path} && mount -o remount,ro,bind {data.path} && exec {binary()} verify --data {data.path}"
    done = subprocess.run(["unshare", "-m", "sh", "-c", command], stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=120)
    if b"unshare" in done.stderr or b"mount" in done.stderr:
        return "skip: this machine lets nobody mount here: " + done.stderr.decode().strip()[:80]
    check(done.returncode == 0, f"exit {done.returncode}: {done.stderr.decode()}")


def refuses_a_served_directory(data):
    data.server.start()
    status, rows = data.verify()
    check(status == 2 and rows == [], f"exit {status} with a server on it")
    check(data.server.stop() == 0, "the stop was not clean")
    data.clean()


def flips_in_meta(data):
    data.flip("eagre.meta", 20, 0, 1, ("V1",))
    data.flip("eagre.meta", BLOCK + 33, BLOCK, BLOCK + 1, ("V1",))


def flips_in_checkpoints(data):
    name = newest_checkpoint(data)
    data.flip(name, 50, 0, 1, ("V1", "R4"))
    data.flip(name, 128 + 40, 0, 1, ("V1", "R4"))


def flips_in_manifest(data):
    name = os.path.dirname(segments(data, "long")[0]) + "/manifest"
    data.flip(name, 30, 0, 1, ("R7",))
    data.flip(name, 64 + 16, 0, 1, ("R7",))
    content = data.read(name)
    del content[64 + 64:]
    data.found(name, content, 0, 1, ("R7",))


def flips_in_runs(data):
    for name in (segments(data, "long")[0], segments(data, "long")[-1], segments(data, "codec-zstd")[0]):
        content = data.read(name)
        every = list(runs(content))
        for position, batch_bytes, _ in (every[0], every[len(every) // 2]):
            data.flip(name, position + 30, position, position + 1, ("V3",))
            data.flip(name, position + 64 + 3, position, position + 65 + PREFIX, ("V3",))
            data.flip(name, position + 64 + 14, position, position + 65 + PREFIX, ("V3",))
            data.flip(name, position + 64 + batch_bytes - 5, position + 64, position + 64 + batch_bytes, ("V3",))


def one_flip_hides_no_other(data):
    name = segments(data, "long")[0]
    content = data.read(name)
    every = list(runs(content))
    content[every[0][0] + 30] ^= 1
    content[every[1][0] + 64 + 100] ^= 1
    findings = data.found(name, content, every[0][0], every[0][0] + 1, ("V3",))
    check(any(every[1][0] < row["position"] < every[1][0] + 64 + every[1][1] for row in findings), f"the second is not found: {findings}")


def flips_in_footers(data):
    name = segments(data, "long")[0]
    content = data.read(name)
    table = sections(content)
    check(1 in table and 2 in table and 5 in table, f"sections {sorted(table)}")
    for position, size in table.values():
        if size:
            data.flip(name, position + size // 2, position, position + size, ("V5",))
    trailer = len(content) - BLOCK
    for at in (3, 34, 60, 130, 2000, 4093):
        data.flip(name, trailer + at, trailer, trailer + BLOCK, ("V5",))


def indexes_that_point_elsewhere(data):
    """Every checksum is right, and the entry is wrong: only the walk over the batches can tell."""
    name = segments(data, "long")[0]
    manifest = os.path.dirname(name) + "/manifest"
    whole = data.read(name)
    listed = data.read(manifest)
    for kind, at in ((1, 16 + 8), (1, 16 + 4), (2, 0)):
        content = bytearray(whole)
        position, size = sections(content)[kind]
        content[position + at] ^= 2 if kind == 2 else 64
        crc = reseal(content, kind, position, size)
        entry = bytearray(listed)
        struct.pack_into("<I", entry, 64 + 52, crc)
        struct.pack_into("<I", entry, 56, crc32c(bytes(entry[64:])))
        struct.pack_into("<I", entry, 60, crc32c(bytes(entry[:60])))
        data.write(manifest, entry)
        try:
            data.found(name, content, 0, len(content), ("V5",))
        finally:
            data.write(manifest, listed)


def files_that_are_missing(data):
    name = segments(data, "long")[0]
    os.rename(data.file(name), data.file("aside"))
    try:
        status, rows = data.verify()
    finally:
        os.rename(data.file("aside"), data.file(name))
    check(status == 1 and any(row.get("file") == name and row["rule"] == "R7" for row in rows), f"exit {status}: {rows[:3]}")
    content = data.read(segments(data, "long")[1])
    data.found(segments(data, "long")[1], content[:-BLOCK], 0, len(content), ("R7",))


def leftovers_are_notes(data):
    folder = os.path.dirname(segments(data, "long")[0])
    for name in (f"{folder}/00000000000000000001-9.seg", f"{folder}/manifest.tmp", "checkpoint-0-1.tmp"):
        data.write(name, b"half")
    os.mkdir(data.file("partitions/00000000000fffff"))
    rows = [row for row in data.clean() if row["kind"] == "finding"]
    check(len(rows) == 4 and {row["rule"] for row in rows} == {"R15", "R22"}, f"notes {rows}")
    for name in (f"{folder}/00000000000000000001-9.seg", f"{folder}/manifest.tmp", "checkpoint-0-1.tmp"):
        os.unlink(data.file(name))
    os.rmdir(data.file("partitions/00000000000fffff"))


def flips_in_an_old_journal(data):
    """After a clean stop nothing of the journal is needed; what it holds is still checked."""
    name = "journal-0-0"
    data.flip(name, 24, 0, 1, ("V1",))
    every = [group for group in groups(data.read(name)) if group[2] > 0]
    check(len(every) > 4, f"only {len(every)} groups in {name}")
    at, header_bytes, payload_bytes, _ = every[2]
    data.flip(name, at + 70, at, at + 1, ("S5",))
    data.flip(name, at + header_bytes + payload_bytes // 2, at + header_bytes, at + header_bytes + payload_bytes, ("S5",))


def live_groups(data, name):
    """Groups of the file that a start would replay: of the checkpoint's epoch, from its number on."""
    epoch, first = struct.unpack_from("<QQ", data.read(newest_checkpoint(data)), 40)
    content = data.read(name)
    return [group for group in groups(content) if struct.unpack_from("<Q", content, group[0] + 8)[0] == epoch and group[3] >= first]


def flips_in_a_live_journal(data):
    name, every = max(((f"journal-0-{i}", live_groups(data, f"journal-0-{i}")) for i in range(4)), key=lambda found: len(found[1]))
    check(len(every) > 6, f"only {len(every)} groups to be replayed in {name}")
    at, header_bytes, payload_bytes, _ = next(group for group in every[1:] if group[2] > 0)
    data.flip(name, at + 70, at, at + 1, ("S6",))
    data.flip(name, at + header_bytes + payload_bytes // 2, at + header_bytes, at + header_bytes + payload_bytes, ("S8",))
    data.flip(name, at + header_bytes + payload_bytes // 2, at + header_bytes, at + header_bytes + payload_bytes, ("S8",), ("--quick",))


def killed_again_and_again(data):
    """kill -9 in the middle of producing, a few times: what is left is clean each time."""
    for _ in range(3):
        data.server.start()
        producer = subprocess.Popen([binary(), "produce", "long", "--quiet", "--server", data.server.address], stdin=subprocess.PIPE,
                                    stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            producer.stdin.write(lines(1500, 1000))
            producer.stdin.flush()
            time.sleep(random.uniform(0.05, 0.4))
            data.server.kill()
        finally:
            producer.kill()
            producer.wait(timeout=20)
        data.clean()


# ---- dump


def dump(*words, status=0):
    return [json.loads(line) for line in eagre("dump", "--json", *words, status=status).splitlines()]


def of(rows, kind):
    return [row for row in rows if row["kind"] == kind]


def dump_of_segments(data):
    """Runs, batches, records and index entries as this file reads them, in every codec; the records are those that were sent."""
    for topic in data.kept:
        found = []
        for partition in (0, 1) if topic != "long" else (0,):
            folder = f"partitions/{partition_of(data, topic, partition)['incarnation']}"
            for name in sorted(each for each in os.listdir(data.file(folder)) if each.endswith(".seg")):
                rows = dump(data.file(f"{folder}/{name}"), "--records", "--index")
                every = list(runs(data.read(f"{folder}/{name}")))
                check([(row["position"], row["batch_bytes"], row["batches"]) for row in of(rows, "run")] == every,
                      f"{topic} {name}: other runs than {every}")
                codecs = {row["codec"] for row in of(rows, "batch")}
                check(codecs <= {topic.replace("codec-", "").replace("long", "none"), "none"}, f"{topic}: codecs {codecs}")
                found += of(rows, "record")
        check(len(found) == data.kept[topic], f"{topic}: {len(found)} records, {data.kept[topic]} were sent")
        if topic != "long":
            check({row["key"] for row in found} == {f"{i:06d}" for i in range(2000)}, f"{topic}: other keys")
            check(all(len(row["value"]) == 200 for row in found), f"{topic}: other values")
    name = segments(data, "long")[0]
    position, size = sections(data.read(name))[1]
    rows = dump(data.file(name), "--index")
    table = [list(struct.unpack_from("<IIQ", data.read(name), position + 16 * i)) for i in range(size // 16)]
    check([[row["offset_delta"], row["run_back"], row["position"]] for row in of(rows, "offset_index")] == table, "other index entries")
    offsets = [row["offset"] for row in of(dump(data.file(name), "--records", "--from", "100", "--to", "110"), "record")]
    check(offsets == list(range(100, 110)), f"--from 100 --to 110 shows {offsets}")
    text = eagre("dump", data.file(name), "--records", "--from", "3", "--to", "4")
    check('record offset=3 ' in text and 'value="000003:' in text, f"text: {text[:300]}")


def dump_of_damage(data):
    name = segments(data, "long")[0]
    content = data.read(name)
    every = list(runs(content))
    broken = bytearray(content)
    broken[every[1][0] + 64 + 100] ^= 1
    data.write(name, broken)
    try:
        rows = dump(data.file(name), "--records", status=1)
    finally:
        data.write(name, content)
    check(len(of(rows, "run")) == 2, "it did not stop at the damage")
    places = [row["position"] for row in of(rows, "damage")]
    check(len(places) == 1 and every[1][0] < places[0] < every[1][0] + 64 + every[1][1], f"damage at {places}")


def dump_of_tables(data):
    rows = dump(data.path)
    meta, = of(rows, "meta")
    check(bytes.fromhex(meta["node_uuid"]) == data.read("eagre.meta")[32:48], "another node uuid")
    checkpoint = next(row for row in of(rows, "checkpoint") if row["clean"])
    check(checkpoint["generation"] == struct.unpack_from("<Q", data.read(newest_checkpoint(data)), 16)[0], f"{checkpoint}")
    verified = {row["incarnation"]: row for row in data.clean() if row["kind"] == "partition"}
    for row in of(dump(data.file(newest_checkpoint(data))), "partition"):
        check(row["next_offset"] <= verified[row["incarnation"]]["next_offset"], f"{row} against {verified[row['incarnation']]}")
    check(any(row["producer_id"] >= 1000 and row["batches"] for row in of(rows, "producer")), "no idempotent producer")
    folder = os.path.dirname(segments(data, "long")[0])
    sealed = of(dump(data.file(f"{folder}/manifest")), "sealed")
    check([f"{folder}/{row['base_offset']:020d}.seg" for row in sealed] == segments(data, "long")[:-1], f"sealed {sealed}")
    only = of(dump(data.path, "--partition", os.path.basename(folder)), "run")
    check(only and {row["incarnation"] for row in only} == {os.path.basename(folder)}, "--partition shows others")


def dump_of_metadata(data):
    rows = [row for row in of(dump(data.path, "--records", "--partition", "0000000000000001"), "record") if "is" in row]
    created = {row["name"]: row for row in rows if row["is"] == "created"}
    check(set(created) >= set(data.kept) | {"gone"}, f"created {sorted(created)}")
    check(created["codec-lz4"]["partitions"] == 2, f"{created['codec-lz4']}")
    deleted = {row["id"] for row in rows if row["is"] == "deleted"}  # the journal and the segment both have it
    check(deleted == {created["gone"]["id"]}, f"deleted {deleted}")


def dump_of_journal(data):
    for i in range(4):
        name = f"journal-0-{i}"
        if not os.path.exists(data.file(name)):
            continue
        rows = dump(data.file(name))
        got = [(row["position"], row["payload_bytes"], row["number"]) for row in of(rows, "group")]
        want = [(at, payload, number) for at, _, payload, number in groups(data.read(name))]
        check(got[:len(want)] == want, f"{name}: {got[:3]} where {want[:3]} was due")
    check(of(dump(data.path), "open"), "no partition was opened in the journal")


def dump_of_groups(data):
    """Commits of a real consumer group, read back from the internal topic's records."""
    from confluent_kafka import Consumer
    data.server.start()
    consumer = Consumer({"bootstrap.servers": data.server.address, "group.id": "readers", "auto.offset.reset": "earliest",
                         "enable.auto.commit": False})
    consumer.subscribe(["codec-none"])
    seen = 0
    end = time.monotonic() + 40
    while seen < 2000 and time.monotonic() < end:
        seen += sum(1 for message in consumer.consume(500, 1.0) if message.error() is None)
    consumer.commit(asynchronous=False)
    consumer.close()
    check(data.server.stop() == 0, "the stop was not clean")
    check(seen == 2000, f"{seen} records read")
    incarnation = partition_of(data, "__consumer_offsets")["incarnation"]
    records = of(dump(data.path, "--records", "--as", "groups", "--partition", incarnation), "record")
    last = {(row["topic"], row["partition"]): row["committed_offset"] for row in records if "committed_offset" in row}
    check(sum(last.values()) == 2000, f"committed {last}")
    check(any(row.get("protocol_type") == "consumer" and row["members"] for row in records), "no group with a member")
    check(all(row["group"] == "readers" for row in records), "another group")


def compacted_and_transactional():
    """Segments that compaction has rewritten, aborted transactions and one that is open: clean, stopped or killed."""
    from confluent_kafka import Producer
    server = Server("--segment.bytes", "2MiB").start()
    where = ("--server", server.address)
    try:
        eagre("topic", "create", "keys", "--partitions", "1", "--config", "cleanup.policy=compact", "--config",
              "min.cleanable.dirty.ratio=0.01", "--config", "segment.ms=1000", *where)
        eagre("topic", "create", "tx", "--partitions", "1", *where)
        for _ in range(4):
            eagre("produce", "keys", "--key-separator", ":", "--quiet", *where, stdin=lines(2000, 600))
        producer = Producer({"bootstrap.servers": server.address, "transactional.id": "t", "log_level": 0})
        producer.init_transactions(30)
        for turn in range(5):
            producer.begin_transaction()
            for i in range(500):
                producer.produce("tx", random.randbytes(300).hex(), key=str(i))
            producer.flush(30)
            if turn < 4:
                (producer.commit_transaction if turn % 2 else producer.abort_transaction)(30)
        end = time.monotonic() + 40
        while server.metrics().get('eagre_compaction_records_removed_total{tile="log0"}', 0) == 0 and time.monotonic() < end:
            eagre("produce", "keys", "--key-separator", ":", "--quiet", *where, stdin=lines(10, 600))
            time.sleep(0.5)
        check(server.metrics()['eagre_compaction_records_removed_total{tile="log0"}'] > 0, "nothing was compacted")
        server.kill()
        eagre("verify", "--data", server.data)
        server.start()
        check(server.stop() == 0, "the stop was not clean")
        text = eagre("verify", "--data", server.data)
        check("0 damages, 0 warnings" in text, text[-300:])
    finally:
        server.close()


def main():
    stopped = Data(killed=False)
    suite.run("a clean stop leaves a clean directory", left_clean, stopped)
    suite.run("nothing is written", never_writes, stopped)
    suite.run("it works without permission to write", without_permission, stopped)
    suite.run("it works on a read-only mount", read_only_mount, stopped)
    suite.run("eagre.meta: each copy", flips_in_meta, stopped)
    suite.run("checkpoint: header and body", flips_in_checkpoints, stopped)
    suite.run("manifest: header, entries, length", flips_in_manifest, stopped)
    suite.run("runs: header, prefixes, records", flips_in_runs, stopped)
    suite.run("one flipped byte hides no other", one_flip_hides_no_other, stopped)
    suite.run("footers: every section, the trailer", flips_in_footers, stopped)
    suite.run("index entries that point elsewhere", indexes_that_point_elsewhere, stopped)
    suite.run("files missing or cut", files_that_are_missing, stopped)
    suite.run("leftovers are notes", leftovers_are_notes, stopped)
    suite.run("journal: groups that nobody needs", flips_in_an_old_journal, stopped)
    suite.run("dump: segments, records in every codec, indexes", dump_of_segments, stopped)
    suite.run("dump: stops at damage and says where", dump_of_damage, stopped)
    suite.run("dump: eagre.meta, checkpoints, manifests", dump_of_tables, stopped)
    suite.run("dump: the metadata log", dump_of_metadata, stopped)
    suite.run("dump: the journal", dump_of_journal, stopped)
    suite.run("dump: the group log", dump_of_groups, stopped)
    suite.run("a served directory is refused", refuses_a_served_directory, stopped)
    stopped.server.close(keep=suite.failed > 0)
    suite.run("compacted segments and transactions are clean", compacted_and_transactional)
    killed = Data(killed=True)
    suite.run("kill -9 leaves a clean directory", left_clean, killed)
    suite.run("journal: groups that a start would replay", flips_in_a_live_journal, killed)
    suite.run("kill -9 while producing, three times", killed_again_and_again, killed)
    status = suite.finish()
    killed.server.close(keep=status != 0)
    return status


if __name__ == "__main__":
    sys.exit(main())
