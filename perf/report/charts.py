"""Plots of a result set, as PNG files."""

import os

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402

COLOURS = {"Eagre": "#0b6e99", "Apache Kafka": "#7a7a7a", "Redis Streams": "#c0392b", "NATS JetStream": "#27ae60", "RabbitMQ": "#e67e22"}
HATCHES = {"device": "", "interval": "//", "page cache": "xx", "memory": ".."}


def colour(row):
    return COLOURS.get(row.peer["name"], "#555555")


def durability(row):
    return row.peer["durability_class"].split(":")[0]


def save(figure, directory, name):
    path = os.path.join(directory, f"{name}.png")
    figure.savefig(path, dpi=110, bbox_inches="tight")
    plt.close(figure)
    return path


def bars(rows, path, title, unit, directory, name):
    """Medians with the span of the rounds; hatching says what an acknowledgement means."""
    rows = [row for row in rows if row.median(*path) is not None]
    if not rows:
        return None
    figure, axes = plt.subplots(figsize=(9, 0.55 * len(rows) + 1.4))
    for place, row in enumerate(reversed(rows)):
        middle, values = row.median(*path), row.values(*path)
        axes.barh(place, middle, color=colour(row), hatch=HATCHES.get(durability(row), ""), edgecolor="white",
                  xerr=[[middle - min(values)], [max(values) - middle]], error_kw={"lw": 1})
        axes.text(middle, place, f"  {middle:,.4g}", va="center", fontsize=8)
    axes.set_yticks(range(len(rows)))
    axes.set_yticklabels([f"{row.name}\n{durability(row)}" for row in reversed(rows)], fontsize=8)
    axes.set_xlabel(unit)
    axes.set_title(title, fontsize=10)
    axes.margins(x=0.15)
    return save(figure, directory, name)


def percentiles(rows, title, directory, name):
    """Latency over 1 / (1 - share), both logarithmic: tails can be seen."""
    rows = [row for row in rows if row.curve()]
    if not rows:
        return None
    figure, axes = plt.subplots(figsize=(9, 4.5))
    for row in rows:
        shares, values = zip(*[(1 / (1 - share), us) for share, us in row.curve()])
        axes.plot(shares, values, label=f"{row.name}, {durability(row)}", color=colour(row), linestyle="-" if durability(row) == "device" else "--",
                  marker=".")
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xticks([1 / (1 - share) for share in (0.5, 0.9, 0.99, 0.999, 0.9999)])
    axes.set_xticklabels(["50 %", "90 %", "99 %", "99.9 %", "99.99 %"])
    axes.set_ylabel("us, due to acknowledged")
    axes.set_title(title, fontsize=10)
    axes.grid(True, which="both", alpha=0.2)
    axes.legend(fontsize=8)
    return save(figure, directory, name)


def ladder(rows, title, directory, name):
    rows = [row for row in rows if row.is_ladder]
    if not rows:
        return None
    figure, axes = plt.subplots(figsize=(9, 4.5))
    for row in rows:
        rates = [step[1] for step in row.steps()]
        axes.plot(rates, [step[3] for step in row.steps()], color=colour(row), marker="o", label=f"{row.name} p99")
        axes.plot(rates, [step[2] for step in row.steps()], color=colour(row), marker=".", linestyle=":", label=f"{row.name} p50")
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel("records/s reached")
    axes.set_ylabel("us, due to acknowledged")
    axes.set_title(title, fontsize=10)
    axes.grid(True, which="both", alpha=0.2)
    axes.legend(fontsize=8)
    return save(figure, directory, name)


def scaling(curve, title, directory, name):
    """A curve of perf/scaling: its first figure on the left axis; the second on the right one, or on the same when it is alike."""
    (first, first_label), *others = curve["plotted"]
    xs = [point["x"] for point in curve["points"]]
    if not xs:
        return None
    figure, axes = plt.subplots(figsize=(9, 4))
    axes.plot(xs, [point[first] for point in curve["points"]], marker="o", color=COLOURS["Eagre"], label=first_label)
    axes.set_xscale("log")
    axes.set_ylim(bottom=0)
    axes.set_xlabel(curve["axis"])
    axes.set_ylabel(first_label, color=COLOURS["Eagre"])
    axes.set_title(title, fontsize=10)
    axes.grid(True, alpha=0.2)
    for key, label in others:
        is_alike = key.rsplit("_", 1)[-1] == first.rsplit("_", 1)[-1]
        side = axes if is_alike else axes.twinx()
        side.plot(xs, [point[key] for point in curve["points"]], marker=".", linestyle="--", color="#c0392b", label=label)
        if is_alike:
            axes.legend(fontsize=8)
        else:
            side.set_yscale("log")
            side.set_ylabel(label, color="#c0392b")
    return save(figure, directory, name)
