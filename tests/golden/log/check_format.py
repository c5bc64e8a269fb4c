#!/usr/bin/python3
"""Reads the golden files with nothing but log/format/FORMAT.md.

The layout tables of that page are parsed and used to decode; CRCs, sizes and rules are recomputed here from its text, not from
the C code. So a table that is wrong, or bytes that changed without it, end the run with exit 1.
Prints N passed, M failed.
"""

import os
import re
import struct
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
FORMAT = os.path.join(HERE, "..", "..", "..", "log", "format", "FORMAT.md")
BLOCK = 4096
CODES = {"u8": "B", "u16": "H", "u32": "I", "u64": "Q", "i16": "h", "i32": "i", "i64": "q"}

passed = 0
failed = 0


def expect(what, found, wanted):
    global passed, failed
    if found == wanted:
        passed += 1
    else:
        failed += 1
        print(f"FAIL {what}: found {found!r}, wanted {wanted!r}")


def crc32c(data, crc=0):
    crc ^= 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def size_of(kind):
    return int(kind[1:]) if kind[0] == "b" else struct.calcsize("<" + CODES[kind])


def layouts():
    """Name -> (bytes, [(at, kind, field)]) of every layout table; the tables must have no hole."""
    found = {}
    name = None
    for line in open(FORMAT, encoding="utf-8"):
        head = re.search(r"`(\w+)`, (\d+) bytes", line)
        row = re.match(r"\| (\d+) \| (\w+) \| (\w+) \|", line)
        if head:
            name = head.group(1)
            found[name] = (int(head.group(2)), [])
        elif row and name and row.group(2) in list(CODES) + [f"b{n}" for n in range(1, 4096)]:
            found[name][1].append((int(row.group(1)), row.group(2), row.group(3)))
        elif not line.startswith("|") and line.strip():
            name = None
    for name, (total, rows) in found.items():
        at = 0
        for position, kind, field in rows:
            expect(f"{name}.{field} stands behind the field before", position, at)
            at += size_of(kind)
        expect(f"{name} has the size it says", at, total)
    return found


LAYOUTS = layouts()


def decode(name, data, at=0):
    fields = {}
    for position, kind, field in LAYOUTS[name][1]:
        raw = data[at + position:at + position + size_of(kind)]
        fields[field] = raw if kind[0] == "b" else struct.unpack("<" + CODES[kind], raw)[0]
    return fields


def load(name):
    with open(os.path.join(HERE, name), "rb") as file:
        return file.read()


def magic(text):
    return int.from_bytes(text.encode(), "little")


def batch(data, at):
    """(whole bytes, base offset, leader epoch, crc is right) of the batch at a position."""
    base, length, epoch, version, crc = struct.unpack_from(">QiiBI", data, at)
    expect("batch magic", version, 2)
    return length + 12, base, epoch, crc32c(data[at + 21:at + 12 + length]) == crc


def check_meta():
    data = load("meta.bin")
    expect("meta size", len(data), 2 * BLOCK)
    expect("two equal copies", data[:BLOCK], data[BLOCK:])
    meta = decode("meta_block", data)
    expect("meta magic", meta["magic"], magic("EAGRMETA"))
    expect("meta crc", meta["crc"], crc32c(data[:60]))
    expect("meta node", (meta["version"], meta["node_id"], meta["created_ms"]), (1, 3, 1700000000000))
    expect("node uuid", meta["node_uuid"], b"\xff" + bytes(range(1, 16)))


def check_journal():
    data = load("journal.bin")
    head = decode("journal_file_header", data)
    expect("journal magic", head["magic"], magic("EAGRJRNL"))
    expect("journal crc", head["crc"], crc32c(data[:60]))
    expect("journal place", (head["tile_idx"], head["file_idx"], head["file_bytes"]), (1, 2, 1 << 22))
    expect("rest of the block", data[64:BLOCK], bytes(BLOCK - 64))

    group = decode("journal_group_header", data, BLOCK)
    table = data[BLOCK:BLOCK + group["header_bytes"]]
    expect("group magic", group["magic"], magic("EGRP"))
    expect("header bytes", group["header_bytes"], -(-(64 + 96 * group["entry_count"]) // BLOCK) * BLOCK)
    expect("group crc", group["crc"], crc32c(table[64:], crc32c(table[:60])))
    expect("group place", group["block"] * BLOCK, BLOCK)
    expect("group file", group["file_sequence"] % 4, head["file_idx"])
    expect("epoch", (group["epoch"] >> 40, group["epoch"] & (1 << 40) - 1), (2, 0x3456789A | 0x12 << 32))
    expect("numbers", (group["number"], group["durable_through"], group["entry_count"]), (42, 40, 5))

    payload = data[BLOCK + group["header_bytes"]:]
    entries = [decode("journal_entry", table, 64 + 96 * i) for i in range(group["entry_count"])]
    expect("kinds", [entry["kind"] for entry in entries], [7, 5, 1, 1, 3])
    expect("OPEN", (entries[0]["partition"], entries[0]["prefix"][:16]), (5, bytes(range(16))))
    expect("EPOCH", (entries[1]["base_offset"], entries[1]["leader_epoch"]), (1000, 2))
    expect("START_OFFSET", (entries[4]["incarnation"], entries[4]["base_offset"]), (0xA2, 17))
    at = 0
    for entry in entries[2:4]:
        expect("batches tile the payload", entry["payload_position"], at)
        length, base, epoch, right = batch(payload, at)
        expect("batch crc", right, True)
        expect("prefix", payload[at:at + 21], entry["prefix"])
        expect("fields", (length, base, epoch), (entry["length"], entry["base_offset"], entry["leader_epoch"]))
        expect("crc as a number", struct.unpack(">I", entry["prefix"][17:])[0], entry["batch_crc"])
        at += length
    expect("payload bytes", group["payload_bytes"], at)
    expect("padding", payload[at:], bytes(BLOCK - at))
    expect("producer", (entries[2]["producer_id"], entries[2]["base_sequence"], entries[2]["last_offset_delta"]), (77, 12, 2))
    expect("no producer", (entries[3]["producer_id"], entries[3]["producer_epoch"]), (-1, -1))


def check_journal_bulk():
    """A group of version 2: the payload in two pieces, a reference and its mark."""
    data = load("journal_bulk.bin")
    group = decode("journal_group_header", data, BLOCK)
    table = data[BLOCK:BLOCK + group["header_bytes"]]
    expect("bulk group crc", group["crc"], crc32c(table[64:], crc32c(table[:60])))
    expect("bulk version", group["version"], 2)
    payload = data[BLOCK + group["header_bytes"]:]
    entries = [decode("journal_entry", table, 64 + 96 * i) for i in range(group["entry_count"])]
    expect("bulk kinds", [entry["kind"] for entry in entries], [1, 1, 8, 9])
    end = 0
    for entry in entries[:2]:
        at = entry["payload_position"]
        expect("behind the one before or at the next block", at in (end, -(-end // BLOCK) * BLOCK), True)
        expect("zeros between", payload[end:at], bytes(at - end))
        length, base, epoch, right = batch(payload, at)
        expect("bulk batch crc", right, True)
        expect("bulk fields", (length, base, epoch), (entry["length"], entry["base_offset"], entry["leader_epoch"]))
        end = at + length
    expect("bulk payload bytes", group["payload_bytes"], end)
    expect("bulk padding", payload[end:], bytes(-end % BLOCK))
    reference = entries[2]
    expect("reference", (reference["incarnation"], reference["payload_position"], reference["base_offset"], reference["length"]), (0xA3, 0, 1000, 200))
    expect("reference's prefix", reference["prefix"], payload[:21])
    expect("reference's producer", (reference["producer_id"], reference["base_sequence"], reference["last_offset_delta"]), (77, 12, 2))
    mark = decode("journal_mark", table, 64 + 96 * 3)
    expect("mark", (mark["kind"], mark["incarnation"], mark["run_bytes"], mark["position"]), (9, 0xA3, 4096, 12288))
    expect("mark's segment", (mark["segment_base_offset"], mark["next_offset"], mark["manifest_generation"]), (900, 1003, 7))
    expect("mark's statistics", (mark["batch_bytes"], mark["max_timestamp_offset"], mark["max_timestamp_ms"], mark["created_ms"]),
           (5000, 1000, 1700000000456, 1700000000123))
    expect("mark covers the reference", mark["next_offset"] > reference["base_offset"] + reference["last_offset_delta"], True)


def check_journal_transaction():
    """A group of version 3: a batch of a transaction and the marker that commits it."""
    data = load("journal_transaction.bin")
    group = decode("journal_group_header", data, BLOCK)
    table = data[BLOCK:BLOCK + group["header_bytes"]]
    expect("transaction group crc", group["crc"], crc32c(table[64:], crc32c(table[:60])))
    expect("transaction version", group["version"], 3)
    payload = data[BLOCK + group["header_bytes"]:]
    entries = [decode("journal_entry", table, 64 + 96 * i) for i in range(group["entry_count"])]
    expect("flags", [entry["flags"] for entry in entries], [1, 1 | 2 | 4])
    expect("coordinator epoch", [entry["partition"] for entry in entries], [0, 9])
    marker = payload[entries[1]["payload_position"]:][:entries[1]["length"]]
    expect("marker", (len(marker), batch(marker, 0)[3]), (78, True))
    expect("marker's attributes", struct.unpack(">H", marker[21:23])[0], 0x30)
    expect("marker's key", struct.unpack(">hh", marker[66:70]), (0, 1))
    expect("marker's value", struct.unpack(">hi", marker[71:77]), (0, 9))


def check_segment():
    data = load("segment.bin")
    run = decode("run_header", data)
    expect("run magic", run["magic"], magic("ERUN"))
    expect("run crc", run["crc"], crc32c(data[:60]))
    at = 64
    prefixes = b""
    bases = []
    for _ in range(run["batch_count"]):
        length, base, _, right = batch(data, at)
        expect("batch crc", right, True)
        prefixes += data[at:at + 21]
        bases.append(base)
        at += length
    expect("batch bytes", at - 64, run["batch_bytes"])
    expect("prefix crc", crc32c(prefixes), run["prefix_crc"])
    expect("offsets", (bases, run["base_offset"], run["last_offset"]), ([1000, 1003], 1000, 1003))

    block = data[-BLOCK:]
    trailer = decode("segment_trailer", block)
    expect("trailer magic", trailer["magic"], magic("EAGRSEAL"))
    expect("trailer crc", trailer["crc"], crc32c(block[:4092]))
    expect("file bytes", trailer["file_bytes"], len(data))
    expect("data bytes", trailer["data_bytes"], BLOCK)
    names = {1: "index_offset_entry", 2: "index_time_entry", 3: "aborted_entry", 4: "format_producer", 5: "format_epoch"}
    sections = {}
    end = trailer["data_bytes"]
    for i in range(trailer["section_count"]):
        section = decode("section", trailer["sections"], 32 * i)
        raw = data[section["position"]:section["position"] + section["bytes"]]
        expect("section aligned and in order", (section["position"] % 64, section["position"] >= end), (0, True))
        expect("section crc", section["crc"], crc32c(raw))
        expect("entry size", section["entry_bytes"], LAYOUTS[names[section["type"]]][0])
        sections[section["type"]] = decode(names[section["type"]], raw)
        end = section["position"] + section["bytes"]
    expect("section types", sorted(sections), [1, 2, 3, 4, 5])
    index = sections[1]
    expect("index leads to the batch", batch(data, index["position"])[1], trailer["base_offset"] + index["offset_delta"])
    expect("and back to its run", index["position"] - index["run_back"], 0)
    expect("time", (sections[2]["max_timestamp_ms"], sections[2]["offset_delta"]), (1700000000456, 3))
    expect("aborted", sections[3]["last_offset"], 1003)
    expect("producer", (sections[4]["batch_count"], struct.unpack("<iiQ", sections[4]["batches"][:16])), (1, (12, 14, 1000)))
    expect("no transaction", sections[4]["transaction_first_offset"], 2**64 - 1)
    expect("epoch", (sections[5]["epoch"], sections[5]["start_offset"]), (2, 1000))


def check_manifest():
    data = load("manifest.bin")
    head = decode("manifest_header", data)
    expect("manifest magic", head["magic"], magic("EAGRMANF"))
    expect("manifest crc", head["crc"], crc32c(data[:60]))
    expect("entries crc", head["entries_crc"], crc32c(data[64:]))
    expect("size", len(data), 64 + 64 * head["segment_count"])
    segments = [decode("manifest_segment", data, 64 + 64 * i) for i in range(head["segment_count"])]
    expect("bases", [(s["base_offset"], s["next_offset"]) for s in segments], [(0, 1000), (1000, 1004)])
    expect("names", [s["file_generation"] for s in segments], [2, 0])
    expect("trailer", segments[0]["trailer_crc"], 0x01020304)


def check_manifest_aborted():
    """Version 2: behind the entries a table tells what footers list of aborted transactions."""
    data = load("manifest_aborted.bin")
    head = decode("manifest_header", data)
    count = head["segment_count"]
    expect("manifest version", head["version"], 2)
    expect("manifest crcs", (head["crc"], head["entries_crc"]), (crc32c(data[:60]), crc32c(data[64:])))
    expect("size with the table", len(data), 64 + (64 + 16) * count)
    table = [decode("manifest_aborted", data, 64 + 64 * count + 16 * i) for i in range(count)]
    expect("aborted", [(t["first_offset"], t["count"]) for t in table], [(2 ** 64 - 1, 0), (990, 3)])


def check_checkpoint():
    data = load("checkpoint.bin")
    head = decode("checkpoint_header", data)
    body = data[128:128 + head["body_bytes"]]
    expect("checkpoint magic", head["magic"], magic("EAGRCHKT"))
    expect("checkpoint crc", head["crc"], crc32c(data[:124]))
    expect("body crc", head["body_crc"], crc32c(body))
    expect("padding", data[128 + len(body):], bytes(BLOCK - 128 - len(body)))
    expect("clean", head["flags"] & 1, 1)
    expect("replay", (head["generation"], head["journal_epoch"], head["replay_from"]), (5, 1 << 40 | 0x55, 43))
    at = 0
    partitions = []
    for _ in range(head["partition_count"]):
        partition = decode("checkpoint_partition", body, at)
        at += 128
        partition["epochs"] = [decode("format_epoch", body, at + 16 * i) for i in range(partition["epoch_count"])]
        at += 16 * partition["epoch_count"]
        partitions.append(partition)
    producers = [decode("format_producer", body, at + 128 * i) for i in range(head["producer_count"])]
    expect("body is used up", at + 128 * len(producers), len(body))
    first = partitions[0]
    expect("states", [p["state"] for p in partitions], [1, 3])
    expect("place", (first["segment_base_offset"], first["durable_position"], first["next_offset"]), (1000, 4096, 1004))
    expect("start", (first["start_offset"], first["high_watermark"], first["manifest_generation"]), (17, 1004, 7))
    expect("epochs", [(e["epoch"], e["start_offset"]) for e in first["epochs"]], [(1, 0), (2, 1000)])
    expect("producer", producers[0]["producer_id"], 77)


def check_checkpoint_transaction():
    data = load("checkpoint_transaction.bin")
    head = decode("checkpoint_header", data)
    body = data[128:128 + head["body_bytes"]]
    expect("crc of version 2", (head["crc"], head["body_crc"]), (crc32c(data[:124]), crc32c(body)))
    expect("version 2", (head["version"], head["aborted_count"]), (2, 1))
    producer = decode("format_producer", body, 128)
    expect("open", (producer["transaction_first_offset"], producer["coordinator_epoch"]), (1005, 9))
    aborted = decode("checkpoint_aborted", body, 256)
    entry = decode("aborted_entry", aborted["entry"])
    expect("aborted here", (aborted["incarnation"], entry["producer_id"], entry["first_offset"], entry["last_offset"], entry["last_stable_offset"]),
           (0xA1, 77, 1000, 1003, 1004))
    expect("body of version 2 is used up", 256 + 40, len(body))


def main():
    for check in (check_meta, check_journal, check_journal_bulk, check_journal_transaction, check_segment, check_manifest, check_manifest_aborted, check_checkpoint,
                  check_checkpoint_transaction):
        check()
    expect("number of layouts", len(LAYOUTS), 19)
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


sys.exit(main())
