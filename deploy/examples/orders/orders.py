#!/usr/bin/python3
"""Order events for the main job: makes a file of keyed JSON lines, and checks that what was read back is what was sent.

  orders.py make FILE COUNT      one "key<TAB>json" line per event, the same for the same COUNT
  orders.py verify FILE READ     READ holds `eagre consume --json` lines of all partitions; every event must be there once, and the
                                 events of each customer in the order in which they were sent
"""

import json
import random
import sys

STATUSES = ["placed", "paid", "packed", "shipped", "delivered"]
ITEMS = ["lamp", "book", "kettle", "chair", "cable", "mug", "tent", "clock", "radio", "scarf"]
CITIES = ["Lyon", "Graz", "Porto", "Turku", "Ghent", "Split", "Cork", "Brno", "Vigo", "Umeå"]


def events(count):
    """Orders move through their states; customers are unevenly busy, as real ones are."""
    chance = random.Random(20260817)
    open_orders = []
    next_order = 1
    for number in range(count):
        if open_orders and chance.random() < 0.7:
            place = chance.randrange(len(open_orders))
            order = open_orders[place]
            order["step"] += 1
            if order["step"] == len(STATUSES) - 1:
                open_orders[place] = open_orders[-1]
                open_orders.pop()
        else:
            items = [{"sku": chance.choice(ITEMS), "quantity": chance.randint(1, 4), "cents": chance.randint(199, 49999)}
                     for _ in range(chance.randint(1, 3))]
            order = {"id": next_order, "customer": int(chance.paretovariate(1.2) * 37) % 50000, "step": 0, "items": items,
                     "city": chance.choice(CITIES)}
            next_order += 1
            if len(open_orders) < 5000:
                open_orders.append(order)
        event = {"event": number, "order": order["id"], "customer": order["customer"], "status": STATUSES[order["step"]],
                 "ms": 1760000000000 + number * 7}
        if order["step"] == 0:
            event["items"] = order["items"]
            event["ship_to"] = order["city"]
            event["total_cents"] = sum(i["quantity"] * i["cents"] for i in order["items"])
        yield f"customer-{order['customer']}", json.dumps(event, ensure_ascii=False, separators=(",", ":"))


def make(path, count):
    with open(path, "w", encoding="utf-8") as out:
        for key, value in events(count):
            out.write(f"{key}\t{value}\n")


def fail(text):
    print(f"orders: {text}", file=sys.stderr)
    return 1


def verify(sent_path, read_path):
    sent = {}
    count = 0
    with open(sent_path, encoding="utf-8") as lines:
        for line in lines:
            key, value = line.rstrip("\n").split("\t", 1)
            sent.setdefault(key, []).append(value)
            count += 1
    position = dict.fromkeys(sent, 0)
    offsets = {}
    read = 0
    with open(read_path, encoding="utf-8") as lines:
        for line in lines:
            row = json.loads(line)
            key = row["key"]
            due = offsets.get(row["partition"], 0)
            if row["offset"] != due:
                return fail(f"partition {row['partition']}: offset {row['offset']} where {due} was due")
            offsets[row["partition"]] = due + 1
            if key not in sent or position[key] == len(sent[key]):
                return fail(f"{key}: an event more than was sent")
            if row["value"] != sent[key][position[key]]:
                return fail(f"{key}: event {position[key]} differs")
            position[key] += 1
            read += 1
    if read != count:
        return fail(f"{read} of {count} events came back")
    print(f"  every one of {count} events came back, once, in order for each of {len(sent)} customers "
          f"({len(offsets)} partitions, offsets without a gap)")
    return 0


if __name__ == "__main__":
    if len(sys.argv) == 4 and sys.argv[1] == "make":
        make(sys.argv[2], int(sys.argv[3]))
    elif len(sys.argv) == 4 and sys.argv[1] == "verify":
        sys.exit(verify(sys.argv[2], sys.argv[3]))
    else:
        sys.exit(__doc__)
