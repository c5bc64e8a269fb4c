"""Corners of the Kafka protocol that client libraries do not reach, over raw sockets against a server process.

Goal: every advertised version works and errors are those of Kafka. Method: frames built and read by wire.py, whose decoder is
strict; each answer is compared with what the protocol prescribes."""

import struct
import sys
import time

from server import Server, Suite
from wire import APIS, Connection, batch, batches, check, create_topic, fetch, fetch_values, produce, produce_values, request

server = None  # the one of the placement under test
suite = Suite("protocol")
# What clients of the last ten years need to find: key: (first at most, last at least). Written down here, not taken from the table.
NEEDED = {0: (0, 9), 1: (4, 17), 2: (1, 7), 3: (0, 12), 10: (0, 4), 18: (0, 4), 19: (2, 7), 20: (1, 6), 22: (0, 5), 23: (2, 4),
          32: (1, 4), 37: (0, 3), 60: (0, 1)}


def versions(api):
    _, _, _, first, last = APIS[api]
    return range(first, last + 1)


def connect():
    return Connection(server)


def topic_id(connection, topic):
    return connection.call("METADATA", 12, topics=[{"name": topic}], allow_auto_topic_creation=0)["topics"][0]["topic_id"]


# ---- versions ----

def api_versions_too_new():
    with connect() as connection:
        connection.raw(request("API_VERSIONS", 99, correlation=7, body=b"\xff" * 9))
        data = connection.frame()
        check(struct.unpack(">ih", data[:6]) == (7, 35), f"head {data[:6].hex()}")
        check(data[6:] == struct.pack(">ihhh", 1, 18, 0, 4), f"body {data[6:].hex()}")
        found = connection.call("API_VERSIONS", 3, software_name="tests", software_version="1.0")
        check(found["error"] == 0, "the connection must live on")


def api_versions_all():
    with connect() as connection:
        for version in versions("API_VERSIONS"):
            found = connection.call("API_VERSIONS", version, **({"software_name": "t", "software_version": "1"} if version > 2 else {}))
            ranges = {r["api_key"]: (r["first"], r["last"]) for r in found["ranges"]}
            check(len(ranges) == len(found["ranges"]), "an API is listed twice")
            check(ranges == {key: (first, last) for key, _, first, _, last in APIS.values()}, f"version {version}: {ranges}")
        for key, (first, last) in NEEDED.items():
            check(key in ranges and ranges[key][0] <= first and ranges[key][1] >= last, f"key {key}: {ranges.get(key)}")
        check(not {71, 72} & set(ranges), "telemetry must not be offered")
        for name in ("bad name", "", "-x", "x-"):
            found = connection.call("API_VERSIONS", 3, software_name=name, software_version="1")
            check(found["error"] == 42, f"software name '{name}' gave {found['error']}")


def metadata_all():
    with connect() as connection:
        create_topic(connection, "meta", 3)
        one_id = topic_id(connection, "meta")
        check(one_id != bytes(16), "topic id is zero")
        for version in versions("METADATA"):
            found = connection.call("METADATA", version, topics=[{"name": "meta"}], allow_auto_topic_creation=0)
            topic = found["topics"][0]
            check(topic["error"] == 0 and topic["name"] == "meta", f"version {version}: {topic}")
            check(sorted(p["index"] for p in topic["partitions"]) == [0, 1, 2], f"version {version}: {topic}")
            check(all(p["replicas"] == p["in_sync_replicas"] == [1] and p["leader_id"] == 1 for p in topic["partitions"]), "replicas")
            check(found["brokers"] == [{"node_id": 1, "host": "127.0.0.1", "port": server.kafka_port, **({"rack": None} if version else {})}],
                  f"version {version}: {found['brokers']}")
            if version >= 1:
                check(found["controller_id"] == 1, "controller")
            if version >= 2:
                check(found["cluster_id"], "cluster id")
            if version >= 10:
                check(topic["topic_id"] == one_id, "the id must not change")
            everything = connection.call("METADATA", version, topics=None if version else [], allow_auto_topic_creation=0)
            check("meta" in [t["name"] for t in everything["topics"]], f"version {version}: all topics")
            if version:
                check(connection.call("METADATA", version, topics=[])["topics"] == [], f"version {version}: no topics")


def metadata_by_id():
    with connect() as connection:
        one_id = topic_id(connection, "meta")
        found = connection.call("METADATA", 12, topics=[{"topic_id": one_id, "name": None}, {"topic_id": b"\x11" * 16, "name": None}],
                                allow_auto_topic_creation=1)
        check(found["topics"][0]["name"] == "meta" and found["topics"][0]["error"] == 0, str(found["topics"][0]))
        check(found["topics"][1]["error"] == 100 and not found["topics"][1]["name"], str(found["topics"][1]))


def metadata_bad_names():
    with connect() as connection:
        for name in ("a b", ".", "..", "x" * 250, "ä", ""):
            found = connection.call("METADATA", 9, topics=[{"name": name}], allow_auto_topic_creation=1)
            check(found["topics"][0]["error"] == 17, f"'{name[:10]}' gave {found['topics'][0]['error']}")
        found = connection.call("METADATA", 9, topics=[{"name": "not-there"}], allow_auto_topic_creation=0)
        check(found["topics"][0]["error"] == 3, str(found["topics"][0]))


def metadata_creates():
    with connect() as connection:
        end = time.monotonic() + 5
        while time.monotonic() < end:
            found = connection.call("METADATA", 9, topics=[{"name": "made-by-asking"}], allow_auto_topic_creation=1)
            if found["topics"][0]["error"] == 0:
                return
            check(found["topics"][0]["error"] in (3, 5), str(found["topics"][0]))
        raise AssertionError("never created")


def produce_all():
    with connect() as connection:
        create_topic(connection, "versions")
        for i, version in enumerate(versions("PRODUCE")):
            found = produce(connection, "versions", batch([b"v%d" % version]), version=version)
            check(found["error"] == 0 and found["base_offset"] == i, f"version {version}: {found}")
            check(found["log_append_time_ms"] == -1, f"version {version}: {found}")


def produce_old_closed():
    for version in (0, 1, 2, 13):
        with connect() as connection:
            connection.raw(request("PRODUCE", version, body=bytes(32)))
            connection.closed_within(5)


def fetch_all():
    count = len(versions("PRODUCE"))
    with connect() as connection:
        one_id = topic_id(connection, "versions")
        for version in versions("FETCH"):
            found = fetch(connection, one_id if version >= 13 else "versions", 0, version=version)
            values = [value for one in batches(found["records"]) for value in one[5]]
            check(values == [b"v%d" % v for v in versions("PRODUCE")], f"version {version}: {values}")
            check(found["high_watermark"] == found["last_stable_offset"] == count, f"version {version}: {found}")
            check(found.get("preferred_read_replica", -1) == -1, "preferred replica")


def fetch_unknown():
    with connect() as connection:
        found = fetch(connection, b"\x22" * 16, 0, version=13)
        check(found["error"] == 100, f"unknown id gave {found['error']}")
        check(found["records"] == b"", "records must be empty, not null")
        check(fetch(connection, "not-there", 0)["error"] == 3, "unknown topic")
        check(fetch(connection, "versions", 0, partition=9)["error"] == 3, "unknown partition")


def fetch_session():
    """Sessions are declined: id 0 and all partitions; an incremental request of one is told that there is none."""
    with connect() as connection:
        values = fetch_values("versions", 0)
        found = connection.call("FETCH", 11, **{**values, "session_id": 0, "session_epoch": 0})
        check(found["session_id"] == 0 and found["error"] == 0 and len(found["topics"]) == 1, str(found["session_id"]))
        found = connection.call("FETCH", 11, **{**values, "session_id": 77, "session_epoch": 5})
        check(found["error"] == 70 and found["topics"] == [] and found["session_id"] == 0, str(found))


def fetch_epochs():
    with connect() as connection:
        values = fetch_values("versions", 0)
        partition = values["topics"][0]["partitions"][0]
        epoch = connection.call("METADATA", 9, topics=[{"name": "versions"}])["topics"][0]["partitions"][0]["leader_epoch"]
        for given, error in ((epoch, 0), (epoch + 1, 75)) + (((epoch - 1, 74),) if epoch > 0 else ()):
            partition["current_leader_epoch"] = given
            found = connection.call("FETCH", 12, **values)["topics"][0]["partitions"][0]
            check(found["error"] == error, f"epoch {given} beside {epoch} gave {found['error']}")


def list_offsets(connection, topic, timestamp, version, partition=0):
    found = connection.call("LIST_OFFSETS", version, replica_id=-1, topics=[
        {"name": topic, "partitions": [{"index": partition, "current_leader_epoch": -1, "timestamp_ms": timestamp}]}])
    return found["topics"][0]["partitions"][0]


def list_offsets_all():
    with connect() as connection:
        create_topic(connection, "times")
        for base, size in ((1000, 10), (5000, 10), (3000, 10)):  # stamps base .. base + 9; the last batch is older
            produce(connection, "times", batch([b"x"] * size, timestamp=1600000000000 + base * 1000))
            time.sleep(0.01)
        stamps = {offset: 1600000000000 + (1000, 5000, 3000)[offset // 10] * 1000 for offset in range(30)}
        for version in versions("LIST_OFFSETS"):
            cases = {-2: (0, -1), -1: (30, -1), stamps[0]: (0, None), stamps[10]: (10, None), stamps[10] + 10**9: (-1, -1)}
            if version >= 7:
                cases[-3] = (19, None)
            for timestamp, (offset, stamp) in cases.items():
                found = list_offsets(connection, "times", timestamp, version)
                check(found["error"] == 0 and found["offset"] == offset, f"version {version}, time {timestamp}: {found}, due {offset}")
                check(stamp is None or found["timestamp_ms"] == stamp, f"version {version}, time {timestamp}: {found}")
        found = list_offsets(connection, "times", -3, 7)
        check(found["timestamp_ms"] >= stamps[10], str(found))
        check(list_offsets(connection, "times", -3, 6)["error"] == 35, "max timestamp in version 6")
        check(list_offsets(connection, "times", -4, 7)["error"] == 35, "earliest local in version 7")
        check(list_offsets(connection, "not-there", -1, 7)["error"] == 3, "unknown topic")
        create_topic(connection, "times-empty")
        found = list_offsets(connection, "times-empty", -3, 7)
        check((found["error"], found["offset"], found["timestamp_ms"]) == (0, -1, -1), str(found))


def find_coordinator_all():
    """Groups (kind 0) and transactions (kind 1) have one: this broker, as soon as their log is made."""
    here = (0, 1, "127.0.0.1", server.kafka_port)
    with connect() as connection:
        end = time.monotonic() + 10
        for kind in (0, 1):
            while connection.call("FIND_COORDINATOR", 1, key="a", key_type=kind)["error"] != 0:
                check(time.monotonic() < end, f"no coordinator of kind {kind} after 10 s")
                time.sleep(0.05)
        for version in versions("FIND_COORDINATOR"):
            for kind in (0, 1) if version >= 1 else (0,):
                values = {"keys": ["a", "b"]} if version >= 4 else {"key": "a"}
                found = connection.call("FIND_COORDINATOR", version, key_type=kind, **values)
                for one in found["coordinators"] if version >= 4 else [found]:
                    told = (one["error"], one["node_id"], one["host"], one["port"])
                    check(told == here, f"version {version}, kind {kind}: {one}")
                check(version < 4 or [c["key"] for c in found["coordinators"]] == ["a", "b"], str(found))


def init_producer_id_all():
    with connect() as connection:
        seen = set()
        for version in versions("INIT_PRODUCER_ID"):
            found = connection.call("INIT_PRODUCER_ID", version, transactional_id=None, transaction_timeout_ms=60000)
            check(found["error"] == 0 and found["producer_epoch"] == 0 and found["producer_id"] >= 0, f"version {version}: {found}")
            check(found["producer_id"] not in seen, "a producer id came twice")
            seen.add(found["producer_id"])
        found = connection.call("INIT_PRODUCER_ID", 4, transactional_id="", transaction_timeout_ms=60000)
        check(found["error"] == 42, f"empty transactional id gave {found['error']}")


def leader_epoch_all():
    with connect() as connection:
        epoch = connection.call("METADATA", 9, topics=[{"name": "versions"}])["topics"][0]["partitions"][0]["leader_epoch"]
        for version in versions("OFFSET_FOR_LEADER_EPOCH"):
            for asked, want in ((epoch, (0, epoch, len(versions("PRODUCE")))), (epoch + 9, None)):
                found = connection.call("OFFSET_FOR_LEADER_EPOCH", version, replica_id=-1, topics=[{"name": "versions", "partitions": [
                    {"index": 0, "current_leader_epoch": -1, "leader_epoch": asked}]}])["topics"][0]["partitions"][0]
                check(want is None or (found["error"], found["leader_epoch"], found["end_offset"]) == want, f"version {version}: {found}")
                check(found["error"] == 0, f"version {version}: {found}")


def describe_configs_all():
    with connect() as connection:
        create_topic(connection, "configured", retention_ms="12345678")
        for version in versions("DESCRIBE_CONFIGS"):
            found = connection.call("DESCRIBE_CONFIGS", version, resources=[{"type": 2, "name": "configured", "keys": None},
                                                                           {"type": 2, "name": "configured", "keys": ["retention.ms"]},
                                                                           {"type": 2, "name": "not-there", "keys": None},
                                                                           {"type": 4, "name": "1", "keys": None}], include_synonyms=1)
            whole, one, missing, broker = found["results"]
            entries = {entry["name"]: entry for entry in whole["configs"]}
            check(entries["retention.ms"]["value"] == "12345678" and entries["retention.ms"]["source"] == 1, str(entries["retention.ms"]))
            check(entries["cleanup.policy"]["value"] == "delete" and entries["cleanup.policy"]["source"] != 1, str(entries["cleanup.policy"]))
            check([entry["name"] for entry in one["configs"]] == ["retention.ms"], f"version {version}: {one}")
            check(missing["error"] == 3, f"version {version}: {missing}")
            check(broker["error"] == 0 and broker["configs"], f"version {version}: {broker['error']}")


def describe_cluster_all():
    with connect() as connection:
        for version in versions("DESCRIBE_CLUSTER"):
            found = connection.call("DESCRIBE_CLUSTER", version, endpoint_type=1)
            check(found["error"] == 0 and found["controller_id"] == 1 and found["cluster_id"], f"version {version}: {found}")
            check([(b["node_id"], b["port"]) for b in found["brokers"]] == [(1, server.kafka_port)], f"version {version}: {found}")
        check(connection.call("DESCRIBE_CLUSTER", 1, endpoint_type=2)["error"] == 114, "controllers' endpoint")


def create_topics_all():
    with connect() as connection:
        for version in versions("CREATE_TOPICS"):
            for only in (1, 0):
                name = f"created-{version}"
                found = connection.call("CREATE_TOPICS", version, topics=[{"name": name, "partition_count": 2, "replication_factor": 1}],
                                        timeout_ms=5000, validate_only=only)["topics"][0]
                check(found["error"] == 0, f"version {version}: {found}")
                error = connection.call("METADATA", 9, topics=[{"name": name}], allow_auto_topic_creation=0)["topics"][0]["error"]
                check(error == (3 if only else 0), f"version {version}, validate only {only}: then {error}")
            found = connection.call("CREATE_TOPICS", version, topics=[{"name": name, "partition_count": 2, "replication_factor": 1}],
                                    timeout_ms=5000, validate_only=1)["topics"][0]
            check(found["error"] == 36, f"version {version}: twice gave {found['error']}")


def create_topics_refused():
    cases = {"partition count": ({"partition_count": 0}, 37), "name": ({"name": "a/b"}, 17),
             "config": ({"configs": [{"name": "no.such", "value": "1"}]}, 40),
             "value": ({"configs": [{"name": "retention.ms", "value": "soon"}]}, 40)}
    with connect() as connection:
        for what, (change, error) in cases.items():
            topic = {"name": "refused", "partition_count": 1, "replication_factor": 1, **change}
            found = connection.call("CREATE_TOPICS", 7, topics=[topic], timeout_ms=5000)["topics"][0]
            check(found["error"] == error, f"{what}: {found['error']} where {error} was due")
        same = {"name": "same", "partition_count": 1, "replication_factor": 1}
        found = connection.call("CREATE_TOPICS", 7, topics=[same, same], timeout_ms=5000)["topics"]
        check({t["error"] for t in found} == {42}, f"one name twice: {found}")


def create_partitions_all():
    with connect() as connection:
        create_topic(connection, "grows", 1)
        for i, version in enumerate(versions("CREATE_PARTITIONS")):
            for only, count, error in ((1, i + 2, 0), (0, i + 2, 0), (0, i + 1, 37)):
                found = connection.call("CREATE_PARTITIONS", version, topics=[{"name": "grows", "partition_count": count, "assignments": None}],
                                        timeout_ms=5000, validate_only=only)["topics"][0]
                check(found["error"] == error, f"version {version}, to {count}: {found}")
                now = len(connection.call("METADATA", 9, topics=[{"name": "grows"}])["topics"][0]["partitions"])
                check(now == (i + 1 if only else i + 2), f"version {version}: {now} partitions")


def delete_topics_all():
    with connect() as connection:
        for version in versions("DELETE_TOPICS"):
            create_topic(connection, "deleted")
            values = {"topics": [{"name": "deleted"}]} if version >= 6 else {"names": ["deleted"]}
            found = connection.call("DELETE_TOPICS", version, timeout_ms=5000, **values)["topics"][0]
            check(found["error"] == 0 and found["name"] == "deleted", f"version {version}: {found}")
            check(connection.call("DELETE_TOPICS", version, timeout_ms=5000, **values)["topics"][0]["error"] == 3, "twice")
        one_id = create_topic(connection, "deleted")["topic_id"]
        by_id = {"topics": [{"name": None, "topic_id": one_id}]}
        check(connection.call("DELETE_TOPICS", 6, timeout_ms=5000, **by_id)["topics"][0]["error"] == 0, "by id")
        check(connection.call("DELETE_TOPICS", 6, timeout_ms=5000, **by_id)["topics"][0]["error"] == 100, "by id, twice")
        second = create_topic(connection, "deleted")["topic_id"]
        check(second != one_id, "the next topic of that name must have a new id")


# ---- order and waiting ----

def pipelined_in_order():
    """Fast and slow requests of one connection; the answers come in the order of the questions."""
    with connect() as connection:
        create_topic(connection, "ordered")
        asked = []
        whole = b""
        for i in range(60):
            kind = i % 6
            api, version, values = [
                ("PRODUCE", 9, produce_values("ordered", batch([b"o" * 100] * 5))), ("METADATA", 9, {"topics": [{"name": "ordered"}]}),
                ("FETCH", 12, fetch_values("ordered", 10**6)), ("LIST_OFFSETS", 7, {"replica_id": -1, "topics": []}),
                ("API_VERSIONS", 0, {}), ("PRODUCE", 9, produce_values("ordered", batch([b"p"]), acks=0))][kind]
            whole += request(api, version, values, 1000 + i)
            if kind != 5:  # acks=0 has no answer
                asked.append((api, version, 1000 + i))
        connection.raw(whole)
        offsets = []
        for api, version, correlation in asked:
            found = connection.receive(api, version, correlation)
            if api == "PRODUCE":
                offsets.append(found["topics"][0]["partitions"][0]["base_offset"])
        check(offsets == [6 * i for i in range(10)], f"offsets {offsets}")


def fetch_is_woken():
    with connect() as reader, connect() as writer:
        create_topic(writer, "parked")
        worst = 0
        for i in range(20):
            reader.send("FETCH", 12, **fetch_values("parked", i, wait_ms=10000))
            time.sleep(0.03)
            begin = time.monotonic()
            check(produce(writer, "parked", batch([b"wake"]))["error"] == 0, "produce")
            found = reader.receive("FETCH", 12)["topics"][0]["partitions"][0]
            worst = max(worst, time.monotonic() - begin)
            check([one[0] for one in batches(found["records"])] == [i], f"round {i}: {found}")
        check(worst < 0.1, f"woken after {worst * 1000:.0f} ms")


def fetch_waits_for_min_bytes():
    with connect() as reader, connect() as writer:
        create_topic(writer, "minimum")
        data = batch([b"m" * 1000])
        reader.send("FETCH", 12, **fetch_values("minimum", 0, wait_ms=10000, min_bytes=3 * len(data)))
        for _ in range(2):
            produce(writer, "minimum", data)
        reader.socket.settimeout(0.3)
        try:
            reader.frame()
            raise AssertionError("answered before min_bytes were there")
        except TimeoutError:
            pass
        reader.socket.settimeout(10)
        begin = time.monotonic()
        produce(writer, "minimum", data)
        found = reader.receive("FETCH", 12)["topics"][0]["partitions"][0]
        check(len(batches(found["records"])) == 3, f"{len(batches(found['records']))} batches")
        check(time.monotonic() - begin < 0.1, "late")


def fetch_deadline():
    with connect() as connection:
        create_topic(connection, "nothing")
        for wait in (0, 200, 700):
            begin = time.monotonic()
            found = fetch(connection, "nothing", 0, wait_ms=wait)
            took = (time.monotonic() - begin) * 1000
            check(found["error"] == 0 and found["records"] == b"", str(found))
            check(wait - 5 <= took < wait + 100, f"wait of {wait} ms took {took:.0f} ms")


def fetch_deadline_gives_what_is_there():
    with connect() as connection:
        create_topic(connection, "little")
        produce(connection, "little", batch([b"one"]))
        found = fetch(connection, "little", 0, wait_ms=300, min_bytes=100000)
        check(found["error"] == 0 and len(batches(found["records"])) == 1, str(found))


def fetch_out_of_range():
    with connect() as connection:
        for offset in (10**9, -1):
            begin = time.monotonic()
            found = fetch(connection, "little", offset, wait_ms=5000)
            check(found["error"] == 1 and found["records"] == b"", f"offset {offset}: {found}")
            check(time.monotonic() - begin < 1, "an error must not wait")


def fetch_limits():
    """The first batch comes whole whatever the limits say; the rest respects them."""
    with connect() as connection:
        create_topic(connection, "limits", 2)
        data = batch([b"l" * 10000])
        for partition in (0, 1):
            for _ in range(10):
                produce(connection, "limits", data, partition)
        found = fetch(connection, "limits", 0, max_bytes=1)
        check(len(batches(found["records"])) == 1 and len(found["records"]) == len(data), f"{len(found['records'])} bytes")
        found = fetch(connection, "limits", 0, max_bytes=3 * len(data) + 100)
        check(len(found["records"]) <= 3 * len(data) + 100 and len(batches(found["records"])) == 3, f"{len(found['records'])} bytes")
        values = fetch_values("limits", 0, max_bytes=10)
        values["topics"][0]["partitions"].append(dict(values["topics"][0]["partitions"][0], index=1))
        first, second = connection.call("FETCH", 12, **values)["topics"][0]["partitions"]
        check(len(first["records"]) == len(data) and second["records"] == b"", "only the first partition has a free batch")


def fetch_within_batch():
    with connect() as connection:
        create_topic(connection, "within")
        produce(connection, "within", batch([b"%d" % i for i in range(10)]))
        found = batches(fetch(connection, "within", 7)["records"])
        check(found[0][0] == 0 and found[0][4] == 10, "the batch that contains the offset must come whole")


# ---- producing ----

def log_append_time():
    with connect() as connection:
        create_topic(connection, "stamped", message_timestamp_type="LogAppendTime")
        begin = time.time() * 1000
        found = produce(connection, "stamped", batch([b"a", b"b"], timestamp=1500000000000))
        end = time.time() * 1000
        stamp = found["log_append_time_ms"]
        check(found["error"] == 0 and begin - 1 <= stamp <= end + 1, f"{found}, now {end:.0f}")
        stored = batches(fetch(connection, "stamped", 0)["records"])[0]
        check(stored[2] & 8 and stored[3] == stamp and stored[5] == [b"a", b"b"], f"stored {stored}")


def bad_acks():
    with connect() as connection:
        found = produce(connection, "little", batch([b"x"]), acks=2)
        check(found["error"] == 21, str(found))


def new_producer(connection):
    found = connection.call("INIT_PRODUCER_ID", 4, transactional_id=None, transaction_timeout_ms=60000)
    return found["producer_id"], found["producer_epoch"]


def idempotent_send(connection, producer, sequence, count=3, topic="idempotent"):
    found = produce(connection, topic, batch([b"i%d" % (sequence + i) for i in range(count)], producer=(*producer, sequence)))
    return found["error"], found["base_offset"]


def idempotent():
    """Duplicates of the last five batches get their first offset, gaps 45 without harm, before and after kill -9 and a stop."""
    with connect() as connection:
        create_topic(connection, "idempotent")
        producer = new_producer(connection)
        for i in range(7):
            check(idempotent_send(connection, producer, 3 * i) == (0, 3 * i), f"batch {i}")
    for how in (None, "kill", "stop"):
        if how == "kill":
            server.kill()
            server.start()
        elif how == "stop":
            check(server.stop() == 0, "stop")
            server.start()
        with connect() as connection:
            for i in range(2, 7):
                found = idempotent_send(connection, producer, 3 * i)
                check(found == (0, 3 * i), f"after {how}: duplicate of batch {i} gave {found}")
            check(idempotent_send(connection, producer, 30)[0] == 45, f"after {how}: a gap")
            check(idempotent_send(connection, producer, 0)[0] in (45, 46), f"after {how}: a duplicate that is too old")
            check(idempotent_send(connection, producer, 18, 2)[0] == 45, f"after {how}: same first, other last sequence")
            found = fetch(connection, "idempotent", 0)
            check(found["high_watermark"] == 21, f"after {how}: {found['high_watermark']} records")
    with connect() as connection:
        check(idempotent_send(connection, producer, 21) == (0, 21), "the next in sequence goes on")
        newer = (producer[0], producer[1] + 1)
        check(idempotent_send(connection, newer, 5)[0] == 45, "a new epoch must begin at 0")
        check(idempotent_send(connection, newer, 0) == (0, 24), "a new epoch at 0")
        check(idempotent_send(connection, producer, 24)[0] == 47, "the older epoch is fenced")


def producer_ids_after_kill():
    with connect() as connection:
        before = {new_producer(connection)[0] for _ in range(5)}
    server.kill()
    server.start()
    with connect() as connection:
        after = {new_producer(connection)[0] for _ in range(5)}
    check(not before & after and len(before | after) == 10, f"{before} and {after}")


def leader_epoch_grows():
    """An unclean start increments the epoch; the old epoch ends where the new one began."""
    with connect() as connection:
        create_topic(connection, "epochs")
        produce(connection, "epochs", batch([b"a"]))
        old = connection.call("METADATA", 9, topics=[{"name": "epochs"}])["topics"][0]["partitions"][0]["leader_epoch"]
    server.kill()
    server.start()
    with connect() as connection:
        new = connection.call("METADATA", 9, topics=[{"name": "epochs"}])["topics"][0]["partitions"][0]["leader_epoch"]
        check(new > old, f"epoch {new} after {old}")
        produce(connection, "epochs", batch([b"b"]))
        found = connection.call("OFFSET_FOR_LEADER_EPOCH", 4, replica_id=-1, topics=[{"name": "epochs", "partitions": [
            {"index": 0, "current_leader_epoch": new, "leader_epoch": old}]}])["topics"][0]["partitions"][0]
        check((found["error"], found["leader_epoch"], found["end_offset"]) == (0, old, 1), str(found))
        stored = batches(fetch(connection, "epochs", 0)["records"])
        check([one[1] for one in stored] == [old, new], f"batches carry epochs {[one[1] for one in stored]}, due {[old, new]}")


def memory_durability():
    with connect() as connection:
        create_topic(connection, "volatile", eagre_durability="memory")
        for i in range(100):
            found = produce(connection, "volatile", batch([b"%d" % i]))
            check(found["error"] == 0 and found["base_offset"] == i, str(found))
        check(len(batches(fetch(connection, "volatile", 0)["records"])) == 100, "records")
    check(server.stop() == 0, "stop")
    server.start()
    with connect() as connection:
        check(len(batches(fetch(connection, "volatile", 0)["records"])) == 100, "a clean stop keeps them")


TESTS = [api_versions_too_new, api_versions_all, metadata_all, metadata_by_id, metadata_bad_names, metadata_creates, produce_all,
         produce_old_closed, fetch_all, fetch_unknown, fetch_session, fetch_epochs, list_offsets_all, find_coordinator_all,
         init_producer_id_all, leader_epoch_all, describe_configs_all, describe_cluster_all, create_topics_all, create_topics_refused,
         create_partitions_all, delete_topics_all, pipelined_in_order, fetch_is_woken, fetch_waits_for_min_bytes, fetch_deadline,
         fetch_deadline_gives_what_is_there, fetch_out_of_range, fetch_limits, fetch_within_batch, log_append_time, bad_acks, idempotent,
         producer_ids_after_kill, leader_epoch_grows, memory_durability]


def main():
    """All of it with gate and log on one thread, and on threads of their own."""
    global server
    for cores in ("gate+log", "gate/log"):
        server = Server("--cores", cores)
        server.start()
        failed = suite.failed
        for test in TESTS:
            suite.run(f"{cores}: {test.__name__.replace('_', ' ')}", test)
            if not server.alive():
                print(f"the server ended:\n{server.log_tail()}")
                server.start()
        server.close(keep=suite.failed > failed)
    return suite.finish()


if __name__ == "__main__":
    sys.exit(main())
