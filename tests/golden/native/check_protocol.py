#!/usr/bin/python3
"""Decodes packets.hex with nothing but net/wire/PROTOCOL.md.

The layout tables of that page are parsed and used to decode, numbers of its first table are compared with those used here, and
its worked examples with the golden bytes. AES-128-GCM and CRC-32C are written out here, so nothing is shared with the C code.
Prints N passed, M failed.
"""

import os
import re
import struct
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
PROTOCOL = os.path.join(HERE, "..", "..", "..", "net", "wire", "PROTOCOL.md")
CODES = {"u8": "B", "u16": "H", "u32": "I", "u64": "Q"}
NONE = 2**64 - 1

passed = 0
failed = 0


def expect(what, found, wanted):
    global passed, failed
    if found == wanted:
        passed += 1
    else:
        failed += 1
        print(f"FAIL {what}: found {found!r}, wanted {wanted!r}")


# ---- cryptography ----

def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def double(byte):
    return ((byte << 1) ^ (0x11B if byte & 0x80 else 0)) & 0xFF


def make_sbox():
    """FIPS 197: the inverse in GF(2^8), by powers of the generator 3, then the affine map."""
    power, log, value = [0] * 255, [0] * 256, 1
    for i in range(255):
        power[i], log[value] = value, i
        value ^= double(value)
    box = [0x63]
    for byte in range(1, 256):
        inverse = power[(255 - log[byte]) % 255]
        box.append(0x63 ^ inverse)
        for shift in range(1, 5):
            box[-1] ^= ((inverse << shift) | (inverse >> (8 - shift))) & 0xFF
    return box


SBOX = make_sbox()


def aes_round_keys(key):
    words, factor = [list(key[i:i + 4]) for i in range(0, 16, 4)], 1
    for i in range(4, 44):
        word = words[i - 1]
        if i % 4 == 0:
            word = [SBOX[byte] for byte in word[1:] + word[:1]]
            word[0] ^= factor
            factor = double(factor)
        words.append([a ^ b for a, b in zip(words[i - 4], word)])
    return [sum(words[i:i + 4], []) for i in range(0, 44, 4)]


def aes(round_keys, block):
    state = [a ^ b for a, b in zip(block, round_keys[0])]
    for number in range(1, 11):
        state = [SBOX[state[4 * ((column + row) % 4) + row]]
                 for column in range(4) for row in range(4)]
        if number < 10:
            mixed = []
            for column in range(4):
                a = state[4 * column:4 * column + 4]
                for row in range(4):
                    b, c, d, e = a[row], a[(row + 1) % 4], a[(row + 2) % 4], a[(row + 3) % 4]
                    mixed.append(double(b) ^ double(c) ^ c ^ d ^ e)
            state = mixed
        state = [a ^ b for a, b in zip(state, round_keys[number])]
    return bytes(state)


def ghash(hash_key, data):
    key, sum_ = int.from_bytes(hash_key, "big"), 0
    for at in range(0, len(data), 16):
        value, product, factor = sum_ ^ int.from_bytes(data[at:at + 16], "big"), 0, key
        for bit in range(127, -1, -1):
            if value >> bit & 1:
                product ^= factor
            factor = (factor >> 1) ^ (0xE1 << 120 if factor & 1 else 0)
        sum_ = product
    return sum_.to_bytes(16, "big")


def counter_mode(round_keys, nonce, data, first=2):
    stream = b"".join(aes(round_keys, nonce + struct.pack(">I", first + i)) for i in range((len(data) + 15) // 16))
    return bytes(a ^ b for a, b in zip(data, stream))


def gcm_open(key, nonce, clear, sealed, tag):
    round_keys = aes_round_keys(key)

    def padded(data):
        return data + bytes(-len(data) % 16)
    lengths = struct.pack(">QQ", 8 * len(clear), 8 * len(sealed))
    sum_ = ghash(aes(round_keys, bytes(16)), padded(clear) + padded(sealed) + lengths)
    if bytes(a ^ b for a, b in zip(sum_, aes(round_keys, nonce + b"\0\0\0\1"))) != tag:
        raise ValueError("tag")
    return counter_mode(round_keys, nonce, sealed)


def next_key(key, salt):
    return counter_mode(aes_round_keys(key), salt + struct.pack("<Q", 2**64 - 1), bytes(16))


# ---- the document ----

def read_document():
    """Layout tables as name -> (bytes, [(at, type, field)]), numbers, frame types, worked examples."""
    tables, numbers, types, examples = {}, {}, {}, []
    name = example = None
    for line in open(PROTOCOL, encoding="utf-8"):
        if example is not None:
            if line.startswith("```"):
                examples.append(example)
                example = None
            else:
                example[2].append(line.split("|")[0])
            continue
        fence = re.match(r"```(golden|opened) (\S+)", line)
        if fence:
            example = (fence.group(1), fence.group(2), [])
        head = re.match(r"`(\w+)`, (?:body )?(\d+) bytes", line)
        row = re.match(r"\| (\d+) \| (u8|u16|u32|u64|b\d+|text|rest) \| (\w+) \|", line)
        if head:
            name = head.group(1)
            tables[name] = (int(head.group(2)), [])
        elif row and name:
            tables[name][1].append((int(row.group(1)), row.group(2), row.group(3)))
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        if line.startswith("|") and len(cells) == 4 and not name:
            numbers.update({cells[0]: cells[1], cells[2]: cells[3]})
        if line.startswith("|") and len(cells) == 9 and cells[0].isdigit():
            types.update({int(cells[i]): cells[i + 1] for i in (0, 3, 6)})
    return tables, numbers, types, examples


def size_of(kind):
    if kind in ("text", "rest"):
        return 2 if kind == "text" else 0
    return int(kind[1:]) if kind[0] == "b" else struct.calcsize(CODES[kind])


TABLES, NUMBERS, TYPES, EXAMPLES = read_document()


def check_tables():
    for name, (total, rows) in TABLES.items():
        at = 0
        for place, kind, field in rows:
            expect(f"{name}.{field} place", place, at)
            at += size_of(kind)
        fixed = sum(size_of(kind) for _, kind, _ in rows if kind != "text")
        expect(f"{name} bytes", fixed, total)
    expect("tables", len(TABLES), 21)


def decode(name, data):
    fields, at = {}, 0
    for _, kind, field in TABLES[name][1]:
        if kind == "rest":
            value, at = data[at:], len(data)
        elif kind == "text":
            size = struct.unpack_from("<H", data, at)[0]
            value, at = data[at + 2:at + 2 + size], at + 2 + size
        elif kind[0] == "b":
            value, at = data[at:at + size_of(kind)], at + size_of(kind)
        else:
            value, at = struct.unpack_from("<" + CODES[kind], data, at)[0], at + size_of(kind)
        if field != "zero":
            fields[field] = value
        elif value != 0:
            raise ValueError(f"{name}: zero is not zero")
    if at != len(data):
        raise ValueError(f"{name}: {len(data) - at} bytes left over")
    return fields


# ---- the protocol ----

def decode_body(name, body):
    if name == "PADDING":
        return {"bytes": len(body)}
    if name == "COMMIT":
        return [decode(name, body[at:at + 16]) for at in range(0, len(body), 16)]
    fields = decode(name, body)
    if "partition" in fields:
        fields["partition"] = tuple(decode("partition", fields["partition"]).values())
    if "piece" in fields:
        piece = decode("piece", fields["piece"] + fields["bytes"])
        fields["piece"] = (piece["total_bytes"], piece["index"], piece["count"])
    if "entries" in fields:
        entries = fields["entries"]
        fields["entries"] = [tuple(decode("partition", entries[at:at + 16]).values()) for at in range(0, len(entries), 16)]
    return fields


def decode_frames(data):
    frames = []
    while data:
        header = decode("frame_header", data[:4])
        end = 4 + header["body_bytes"]
        if end > len(data):
            raise ValueError("frame leaves its packet")
        name = TYPES[header["type"]]
        frames.append((name, header["flags"], decode_body(name, data[4:end])))
        data = data[end:]
    return frames


def open_packet(data, keys):
    """Header fields, clear part behind the header, frames (still bytes)."""
    header = decode("header", data[:24])
    kind, flags = header["kind"] & 15, header["flags"]
    if header["kind"] >> 4 != 1 or kind not in (1, 2, 3, 4) or flags > 7 or header["length"] != len(data):
        raise ValueError("header")
    if (flags & 2 and kind != 4) or (kind == 1 and len(data) < 1200) or (kind == 2 and (flags or len(data) != 56)):
        raise ValueError("handshake")
    if kind == 2:
        return header, data[24:], b""
    clear = 24 + (8 if flags & 2 else 0) + (32 if kind == 1 else 0)
    if flags & 4:
        if crc32c(data[:-4]) != struct.unpack("<I", data[-4:])[0]:
            raise ValueError("CRC")
        return header, data[24:clear], data[clear:-4]
    key, salt = keys
    key = next_key(key, salt) if flags & 1 else key
    nonce = salt + struct.pack("<Q", header["packet_number"])
    return header, data[24:clear], gcm_open(key, nonce, data[:clear], data[clear:-16], data[-16:])


# ---- what packets.hex holds ----

def control(message, name):
    length, kind, zero = struct.unpack_from("<IBB", message)
    expect(f"control {name} prefix", (length, kind, zero), (len(message) - 4, ["JOIN", "GRANT", "REFUSED", "LEAVE"].index(name) + 1, 0))
    return decode(name, message[6:]) if name != "LEAVE" else message[6:]


def check_control(golden):
    join = control(golden["control-join"], "JOIN")
    expect("JOIN", join, {"version": 1, "auth": 0, "tile": 255, "datagram_bytes_max": 1400, "user": b"tide",
                          "secret": b"bore", "client": b"example"})
    expect("REFUSED", control(golden["control-refused"], "REFUSED"), {"code": 58, "text": b"user or secret is wrong"})
    expect("LEAVE", control(golden["control-leave"], "LEAVE"), b"")
    grant = control(golden["control-grant"], "GRANT")
    expect("GRANT", {name: grant[name] for name in ("session", "epoch", "auth", "tile", "window", "datagram_bytes_max",
                                                    "idle_ms", "broker_id", "ip", "port_count")},
           {"session": 0xE29600, "epoch": 7, "auth": 0, "tile": 0, "window": 256, "datagram_bytes_max": 1400,
            "idle_ms": 10000, "broker_id": 1, "ip": bytes(16), "port_count": 2})
    expect("GRANT ports", struct.unpack("<2H", grant["ports"]), (9095, 9096))
    return {"client": (grant["client_key"], grant["client_salt"]), "server": (grant["server_key"], grant["server_salt"])}


def check_handshake(golden, keys):
    cookie = bytes(range(0xA0, 0xC0))
    for name, number, wanted in (("hello-first", 1, bytes(32)), ("hello-cookie", 2, cookie)):
        header, found, frames = open_packet(golden[name], keys["client"])
        expect(f"{name} header", (header["kind"], header["flags"], header["packet_number"], header["ack"]), (0x11, 0, number, 1))
        expect(f"{name} bytes", len(golden[name]), 1200)
        expect(f"{name} cookie", found, wanted)
        expect(f"{name} frames", decode_frames(frames), [("PADDING", 0, {"bytes": 1200 - 56 - 16 - 4})])
    header, found, _ = open_packet(golden["retry"], None)
    expect("retry", (len(golden["retry"]), header["kind"], header["flags"], header["packet_number"], header["ack"], found),
           (56, 0x12, 0, 0, 0, cookie))
    header, _, frames = open_packet(golden["ready"], keys["server"])
    expect("ready header", (header["kind"], header["packet_number"]), (0x13, 1))
    expect("ready frames", decode_frames(frames), [("ACK", 0, {"largest_packet": 2, "delay_us": 0, "credit": 257, "sack": b""})])


PARTITION = (0x1122334455667788, 3, 1)


def check_batch_bytes(what, batch):
    length, _, magic, crc = struct.unpack_from(">iibI", batch, 8)
    expect(f"{what} length, magic, CRC", (length + 12, magic, crc), (len(batch), 2, crc32c(batch[21:])))
    expect(f"{what} producer, epoch, sequence, records", struct.unpack_from(">qhii", batch, 43), (4711, 0, 0, 1))
    expect(f"{what} value", batch[-6:], b"eagre\0")


def check_data(golden, keys):
    for name, key in (("data", keys["client"]), ("plain-data", None)):
        header, sequence, frames = open_packet(golden[name], key)
        expect(f"{name} numbers", (header["packet_number"], header["ack"], sequence), (3, 1, struct.pack("<Q", 1)))
        (frame,) = decode_frames(frames)
        check_batch_bytes(name, frame[2].pop("batch"))
        expect(f"{name} frame", frame, ("DATA", 0, {"request": 9, "partition": PARTITION}))
    header, _, frames = open_packet(golden["commit"], keys["server"])
    expect("commit ack", header["ack"], 2)
    expect("commit frames", decode_frames(frames),
           [("ACK", 0, {"largest_packet": 3, "delay_us": 80, "credit": 258, "sack": b""}),
            ("COMMIT", 0, [{"request": 9, "status": 0, "flags": 1, "base_offset": 41}])])
    header, _, frames = open_packet(golden["ping-next-key"], keys["client"])
    expect("next key", decode_frames(frames), [("PING", 0, {"token": 0x0123456789ABCDEF})])
    message = b""
    for index in range(2):
        _, sequence, frames = open_packet(golden[f"plain-data-frag-{index}"], None)
        (frame,) = decode_frames(frames)
        message += frame[2].pop("bytes")
        expect(f"frag {index}", (frame, sequence),
               (("DATA_FRAG", 0, {"request": 10, "partition": PARTITION, "piece": (73, index, 2)}), struct.pack("<Q", 2 + index)))
    check_batch_bytes("frags", message)


def check_frames(golden):
    _, _, frames = open_packet(golden["plain-client"], None)
    expect("client's frames", decode_frames(frames),
           [("PADDING", 0, {"bytes": 3}), ("PING", 0, {"token": 1}),
            ("RESOLVE", 0, {"request": 11, "partition_first": 2, "topic": b"orders"}),
            ("FETCH", 0, {"request": 12, "partition": PARTITION, "offset": 41, "max_bytes": 65536}),
            ("SUBSCRIBE", 0, {"subscription": 13, "partition": PARTITION, "offset": 42, "credit_bytes": 1000000}),
            ("CREDIT", 1, {"subscription": 13, "credit_bytes": 2000000}),
            ("CALL", 0, {"request": 14, "status": 0, "piece": (4, 0, 1), "bytes": b"call"})])
    _, _, frames = open_packet(golden["plain-server"], None)
    found = decode_frames(frames)
    check_batch_bytes("fetched", found[4][2].pop("bytes"))
    sack = struct.pack("<3Q", 5, 0, 1 << 63)
    resolved = {"request": 11, "status": 0, "is_durable": 1, "topic_id": b"\xaa\xbb" + bytes(14), "partition_count": 4,
                "batch_bytes_max": 1048576, "partition_first": 2, "entry_count": 2, "entries": [PARTITION, (1, 2, 3)]}
    expect("server's frames", found,
           [("ACK", 0, {"largest_packet": 8, "delay_us": 1000, "credit": 300, "sack": sack}), ("PING", 1, {"token": 1}),
            ("COMMIT", 0, [{"request": 10, "status": 87, "flags": 0, "base_offset": NONE},
                           {"request": 9, "status": 0, "flags": 3, "base_offset": 41}]),
            ("RESOLVED", 0, resolved),
            ("FETCHED", 0, {"request": 12, "status": 0, "high_watermark": 42, "start_offset": 10, "piece": (73, 0, 1)}),
            ("FETCHED", 1, {"request": 13, "status": 1, "high_watermark": 0, "start_offset": 0, "piece": (0, 0, 1), "bytes": b""}),
            ("ANSWER", 0, {"request": 14, "status": 0, "piece": (6, 0, 1), "bytes": b"answer"})])
    _, _, frames = open_packet(golden["plain-close"], None)
    expect("close", decode_frames(frames), [("CLOSE", 0, {"code": 1, "text": b"the server stops"})])


def check_damage(golden, keys):
    """Any bit of a packet changed: nobody takes it."""
    for name, key in (("ready", keys["server"]), ("plain-close", None)):
        taken = 0
        for bit in range(8 * len(golden[name])):
            damaged = bytearray(golden[name])
            damaged[bit // 8] ^= 1 << bit % 8
            try:
                open_packet(bytes(damaged), key or (bytes(16), bytes(4)))
                taken += 1
            except ValueError:
                pass
        expect(f"damaged {name}", taken, 0)


def check_document(golden, keys):
    wanted = {"version": "1", "header": "24 bytes", "sequence": "8 bytes", "tag (AEAD) / CRC (auth none)": "16 / 4 bytes",
              "HELLO, at least": "1,200 bytes", "RETRY, exactly": "56 bytes", "cookie": "32 bytes"}
    expect("numbers", {name: NUMBERS.get(name) for name in wanted}, wanted)
    expect("frame types", sorted(TYPES), list(range(15)))
    for how, name, lines in EXAMPLES:
        found = bytes.fromhex("".join("".join(lines).split()))
        if how == "golden":
            expect(f"example {name}", found.hex(), golden[name].hex())
        else:
            _, clear, frames = open_packet(golden[name], keys["server" if name in ("ready", "commit") else "client"])
            expect(f"example {name}, opened", found.hex(), (golden[name][:24] + clear + frames).hex())
    expect("examples", len(EXAMPLES) >= 4, True)


def main():
    golden = {}
    for line in open(os.path.join(HERE, "packets.hex"), encoding="ascii"):
        if not line.startswith("#"):
            name, text = line.split()
            golden[name] = bytes.fromhex(text)
    check_tables()
    keys = check_control(golden)
    check_handshake(golden, keys)
    check_data(golden, keys)
    check_frames(golden)
    check_damage(golden, keys)
    check_document(golden, keys)
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


sys.exit(main())
