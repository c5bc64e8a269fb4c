#!/usr/bin/python3
"""Turns a result set into a page, plots and a table; compares two.

  perf/report/report.py SET [--out DIR]            DIR/report.html (self-contained), DIR/*.png, DIR/table.md
  perf/report/report.py SET --before SET0          ratios with their spread; exit 1 on a regression beyond noise

SET is a directory that perf/compare or perf/scaling wrote. Flame graphs: perf/report/flame.py."""

import argparse
import base64
import html
import json
import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
import charts  # noqa: E402
from results import ResultSet, compare  # noqa: E402

STYLE = """body{font:14px/1.5 sans-serif;max-width:1000px;margin:2em auto;padding:0 1em;color:#222}table{border-collapse:collapse;margin:1em 0}
td,th{border:1px solid #ccc;padding:.3em .6em;text-align:right}td:first-child,th:first-child{text-align:left}img{max-width:100%}
.bad{color:#b00}.note{color:#666}h2{margin-top:2em;border-bottom:1px solid #ddd}"""
DATAGRAM_BYTES = 1400  # of the probe
COLUMNS = (("records/s", ("records_per_s",), "{:,.0f}"), ("MB/s", ("mb_per_s",), "{:,.1f}"), ("p50 us", ("latency", "p50_us"), "{:,.0f}"),
           ("p99 us", ("latency", "p99_us"), "{:,.0f}"), ("p99.9 us", ("latency", "p999_us"), "{:,.0f}"),
           ("server CPU s per million", ("server", "cpu_s_per_million"), "{:.2f}"), ("client CPU s per million", ("client", "cpu_s_per_million"), "{:.2f}"),
           ("bytes written per byte", ("write_amplification",), "{:.2f}"))


def cell(row, path, form):
    value = row.median(*path)
    return "–" if value is None else form.format(value)


def ratios(row, rows):
    """Of throughput against every other row; of Eagre at the Kafka door only, the others say nothing new."""
    mine = row.median("records_per_s")
    others = [(other.label, other.median("records_per_s")) for other in rows if other.peer["name"] != row.peer["name"]]
    if row.peer["name"] != "Eagre" or row.is_open or not mine:
        return ""
    return ", ".join(f"{mine / figure:.1f}x {label}" for label, figure in others if figure)


def table(rows):
    """Lines of Markdown."""
    lines = ["| broker | an acknowledgement is | " + " | ".join(name for name, _, _ in COLUMNS) + " |",
             "|---|---|" + "---|" * len(COLUMNS)]
    for row in rows:
        mark = "" if row.is_whole else " (with errors)"
        lines.append(f"| {row.name}{mark} | {charts.durability(row)} | " + " | ".join(cell(row, path, form) for _, path, form in COLUMNS) + " |")
    return lines


def limits_lines(results):
    named = {"device_synced_p50_us": "synced 4 KiB write, p50", "device_synced_p99_us": "synced 4 KiB write, p99",
             "stream_mb_per_s": "copy + CRC + direct write, one core", "ring_hop_ns": "ring hop",
             "udp_gso_m_per_s": "UDP loopback, 1,400 bytes, GSO", "udp_single_m_per_s": "UDP loopback, one at a time"}
    lines = []
    for name, text in named.items():
        limit = results.limits.get(name)
        if limit and limit.get("value") is not None:
            lines.append(f"{text}: {limit['value']:,.4g} {limit['unit']} (`{limit['command']}`)")
    return lines


def shares(results, rows):
    """Eagre as a share of the machine's limits."""
    lines = []
    stream, synced, datagrams = results.limit("stream_mb_per_s"), results.limit("device_synced_p50_us"), results.limit("udp_gso_m_per_s")
    for row in rows:
        if row.peer["name"] != "Eagre":
            continue
        speed, latency = row.median("mb_per_s"), row.median("latency", "p50_us")
        if stream and speed:
            lines.append(f"{row.name}: {speed / stream:.1%} of the bytes that one core can copy, checksum and write")
        if datagrams and speed and row.results[0]["driver"] == "native":
            lines.append(f"{row.name}: {speed / (datagrams * DATAGRAM_BYTES):.1%} of the bytes that UDP over loopback carries with GSO")
        if synced and latency:
            lines.append(f"{row.name}: p50 is {latency / synced:.1f}x a raw synced write")
    return lines


def plots(results, workload, directory):
    rows = results.of(workload)
    title = f"{workload}: "
    made = []
    if not rows[0].is_open:
        made.append(charts.bars(rows, ("records_per_s",), title + "throughput, closed loop", "records/s", directory, f"{workload}-throughput"))
    made.append(charts.percentiles(rows, title + "latency", directory, f"{workload}-latency"))
    made.append(charts.ladder(rows, title + "latency over rate", directory, f"{workload}-ladder"))
    made.append(charts.bars(rows, ("server", "cpu_s_per_million"), title + "CPU of the broker", "CPU s per million records", directory, f"{workload}-cpu"))
    made.append(charts.bars(rows, ("write_amplification",), title + "bytes written per byte of value", "ratio", directory, f"{workload}-written"))
    return [path for path in made if path]


def html_table(lines):
    cells = [[part.strip() for part in line.strip("|").split("|")] for line in lines]
    head = "".join(f"<th>{html.escape(part)}</th>" for part in cells[0])
    body = "".join("<tr>" + "".join(f"<td>{html.escape(part)}</td>" for part in row) + "</tr>" for row in cells[2:])
    return f"<table><tr>{head}</tr>{body}</table>"


def image(path):
    with open(path, "rb") as file:
        return f'<img alt="{html.escape(os.path.basename(path))}" src="data:image/png;base64,{base64.b64encode(file.read()).decode()}">'


def section(results, workload, directory):
    rows = results.of(workload)
    parts = [f"<h2>{html.escape(workload)}</h2>", f"<p class=note>{html.escape(json.dumps(rows[0].settings))}</p>", html_table(table(rows))]
    loop = "open loop: latency counts from the moment a record was due" if rows[0].is_open else \
        "closed loop: latency only of what could be sent, not comparable with an open loop"
    parts.append(f"<p>{loop}; {len(rows[0].results)} rounds, medians; bars show the span of the rounds.</p>")
    for row in rows:
        text = ratios(row, rows)
        if text:
            parts.append(f"<p>{html.escape(row.name)}: {html.escape(text)} (records/s)</p>")
    parts += [f"<p>{html.escape(line)}</p>" for line in shares(results, rows)]
    parts += [image(path) for path in plots(results, workload, directory)]
    return parts


def scaling_table(curve):
    """Lines of Markdown: every figure of every point, and the points without."""
    keys = [key for key in (curve["points"] or [{}])[0] if key != "x"]
    lines = [f"| {curve['axis']} | " + " | ".join(key.replace("_", " ") for key in keys) + " |", "|---|" + "---|" * len(keys)]
    for point in curve["points"]:
        lines.append(f"| {point['x']:,} | " + " | ".join(f"{point[key]:,.4g}" for key in keys) + " |")
    return lines


def scaling_section(name, curve, directory):
    parts = [f"<h2>Scaling: {html.escape(name)}</h2>", html_table(scaling_table(curve))]
    made = charts.scaling(curve, f"Eagre, durable: {curve['axis']}", directory, f"scaling-{name}")
    parts += [image(made)] if made else []
    return parts + [f"<p class=bad>{failed['x']:,}: {html.escape(failed['why'])}</p>" for failed in curve["failed"]]


def page(results, directory):
    facts = "; ".join(f"{key} {value}" for key, value in results.machine.items() if value not in ("", None))
    parts = [f"<title>Eagre beside others</title><style>{STYLE}</style><h1>Eagre beside others</h1>", f"<p class=note>{html.escape(facts)}</p>"]
    if results.limits:
        limits = "".join(f"<li>{html.escape(line)}</li>" for line in limits_lines(results))
        parts.append(f"<h2>Limits of this machine, same run</h2><ul>{limits}</ul>")
    for workload in results.workloads():
        parts += section(results, workload, directory)
    for name, curve in results.scaling.items():
        parts += scaling_section(name, curve, directory)
    if results.absent:
        parts.append("<h2>Absent</h2><ul>" + "".join(f"<li>{html.escape(name)}: {html.escape(why)}</li>" for name, why in results.absent.items()) + "</ul>")
    peers = {row.label: row for row in results.rows}
    parts.append("<h2>What was measured</h2><ul>" * bool(peers) + "".join(
        f"<li>{html.escape(label)}: {html.escape(row.peer['version'])}; {html.escape(row.peer['config'])}; driver {row.results[0]['driver']}: "
        f"{html.escape(row.results[0]['label'])}; <code>{html.escape(row.results[0]['command'])}</code></li>" for label, row in peers.items()) + "</ul>" * bool(peers))
    return '<!doctype html><html lang="en"><meta charset="utf-8">' + "\n".join(parts) + "</html>\n"


def write(results, directory):
    os.makedirs(directory, exist_ok=True)
    with open(os.path.join(directory, "report.html"), "w", encoding="utf-8") as file:
        file.write(page(results, directory))
    with open(os.path.join(directory, "table.md"), "w", encoding="utf-8") as file:
        for workload in results.workloads():
            file.write(f"**{workload}**\n\n" + "\n".join(table(results.of(workload))) + "\n\n")
        for name, curve in results.scaling.items():
            file.write(f"**{name}**\n\n" + "\n".join(scaling_table(curve)) + "\n\n")
        file.write("".join(f"Absent: {name}: {why}\n" for name, why in results.absent.items()))
    print(f"{directory}/report.html, {directory}/table.md and the plots beside them")


def tell_comparison(before, after):
    lines = compare(before, after)
    worse = 0
    for workload, label, what, first, second, ratio, noise, is_regression in lines:
        worse += is_regression
        print(f"{workload}  {label}  {what}: {first:,.4g} -> {second:,.4g}  {ratio:.2f}x (noise {noise:.0%}){'  REGRESSION' if is_regression else ''}")
    print(f"{len(lines) - worse} of {len(lines)} figures held or better, {worse} worse beyond noise")
    return worse == 0 and bool(lines)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("set")
    parser.add_argument("--before")
    parser.add_argument("--out")
    options = parser.parse_args()
    results = ResultSet(options.set)
    if options.before:
        sys.exit(0 if tell_comparison(ResultSet(options.before), results) else 1)
    write(results, options.out or options.set)


if __name__ == "__main__":
    main()
