"""Result sets: reading, medians over rounds, and what counts as noise."""

import json
import os
import statistics


class ResultSet:
    def __init__(self, path):
        file = path if path.endswith(".json") else os.path.join(path, "set.json")
        with open(file, encoding="utf-8") as stream:
            document = json.load(stream)
        if document.get("format") != 1:
            raise SystemExit(f"{file}: format {document.get('format')} is not known here")
        self.path, self.machine, self.limits, self.absent = path, document["machine"], document["limits"], document["absent"]
        self.scaling = document.get("scaling", {})  # {curve: {axis, plotted, points, failed}} of perf/scaling
        self.rows = [Row(workload, label, group) for (workload, label), group in grouped(document["results"]).items()]

    def workloads(self):
        return list(dict.fromkeys(row.workload for row in self.rows))

    def of(self, workload):
        return [row for row in self.rows if row.workload == workload]

    def limit(self, name):
        value = (self.limits.get(name) or {}).get("value")
        return value if isinstance(value, (int, float)) else None


def grouped(results):
    groups = {}
    for result in results:
        groups.setdefault((result["workload"]["name"], result["peer"]["label"]), []).append(result)
    return groups


class Row:
    """All rounds of one peer with one workload."""

    def __init__(self, workload, label, results):
        self.workload, self.label, self.results = workload, label, results
        self.peer, self.settings = results[0]["peer"], results[0]["workload"]
        self.is_whole = all(result["exit"] == 0 for result in results)
        self.is_ladder = any(len(result["runs"]) > 1 for result in results)
        self.is_open = results[0]["runs"][0]["loop"] == "open"

    @property
    def name(self):
        """With the driver, where one peer is reached in several ways."""
        return f"{self.label} ({self.results[0]['driver']})"

    def values(self, *keys):
        """One figure of each round, by its path in a run; of a ladder the last good step counts."""
        found = []
        for result in self.results:
            value = best_step(result["runs"])
            for key in keys:
                value = value.get(key) if value is not None else None
            if value is not None:
                found.append(value)
        return found

    def median(self, *keys):
        values = self.values(*keys)
        return statistics.median(values) if values else None

    def spread(self, *keys):
        """Half the distance between the least and the most, as a share of the median."""
        values = self.values(*keys)
        middle = self.median(*keys)
        return (max(values) - min(values)) / 2 / middle if values and middle else 0.0

    def curve(self):
        """[(share, us)]: medians over the rounds, point by point."""
        curves = [run["latency"]["curve_us"] for run in (best_step(result["runs"]) for result in self.results) if run["latency"]]
        if not curves:
            return []
        return [(points[0][0], statistics.median(us for _, us in points)) for points in zip(*curves)]

    def steps(self):
        """Of a ladder: [(rate asked, rate reached, p50 us, p99 us)] of the first round."""
        return [(run["rate"], run["records_per_s"], run["latency"]["p50_us"], run["latency"]["p99_us"])
                for run in self.results[0]["runs"] if run["latency"]]


def best_step(runs):
    """A ladder ends with the step that failed; the one before it is what was held."""
    return runs[-2] if len(runs) > 1 else runs[-1]


# (what, path in a run, whether more is better)
COMPARED = (("records/s", ("records_per_s",), True), ("p50 us", ("latency", "p50_us"), False), ("p99 us", ("latency", "p99_us"), False),
            ("server CPU s per million", ("server", "cpu_s_per_million"), False))
NOISE_FLOOR = 0.10  # on shared machines less says nothing


def compare(before, after):
    """[(workload, label, what, before, after, ratio, noise, is_regression)] of what both sets have."""
    lines = []
    old = {(row.workload, row.label): row for row in before.rows}
    for row in after.rows:
        former = old.get((row.workload, row.label))
        if former is None:
            continue
        for what, path, more_is_better in COMPARED:
            if what == "records/s" and row.is_open:
                continue  # it is what was asked for
            first, second = former.median(*path), row.median(*path)
            if not first or not second:
                continue
            ratio = second / first
            noise = max(NOISE_FLOOR, 2 * max(former.spread(*path), row.spread(*path)))
            worse = 1 - ratio if more_is_better else ratio - 1
            lines.append((row.workload, row.label, what, first, second, ratio, noise, worse > noise))
    return lines
