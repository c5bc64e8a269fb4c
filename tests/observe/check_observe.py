"""deploy/observe against promtool, metrics.def and a running server.

Goal: no rule and no panel watches something that does not exist, and every rule's cases would notice if the rule did nothing.
Method: names, labels and label values are read from the expressions; each rule in turn is made to never fire."""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "system"))

from server import ROOT, Server, Suite  # noqa: E402

OBSERVE = os.path.join(ROOT, "deploy", "observe")
suite = Suite("observe")


def check(good, text):
    if not good:
        raise AssertionError(text)


def read(*path):
    with open(os.path.join(ROOT, *path), encoding="utf-8") as source:
        return source.read()


def promtool(*words, cwd=OBSERVE):
    done = subprocess.run(["promtool", *words], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, cwd=cwd, timeout=120)
    return done.returncode, done.stdout.decode()


def needs_promtool(function):
    def run():
        return function() if shutil.which("promtool") else "skip: no promtool here: apt-get install prometheus (deploy/deps)"
    return run


def table():
    """{name: {label: words or None}} as metrics.def promises; None: any value."""
    text = read("engine", "metrics", "metrics.def")
    names = {}
    for name, label, words in re.findall(r'^METRIC\(\w+, "(\w+)", \w+, [\w |]+, "(\w*)", \w+, ("[^"]*"|\w+),', text, re.M):
        values = words.strip('"').split("|") if words.startswith('"') and words != '""' else None
        names[name] = {"tile": None, **({label: values} if label else {})}
    for name in re.findall(r'^HISTOGRAM\(\w+, "(\w+)"', text, re.M):
        for suffix in ("_bucket", "_sum", "_count"):
            names[name + suffix] = {"tile": None, "le": None}
    for name in re.findall(r'^PARTITION_METRIC\(\w+, "(\w+)"', text, re.M):
        names[name] = {"topic": None, "partition": None}
    for name in re.findall(r'^GROUP_METRIC\(\w+, "(\w+)"', text, re.M):
        names[name] = {"group": None, "topic": None, "partition": None}
    return names


def expressions():
    """Every expression of rules and panels, with where it stands."""
    for name, expression in re.findall(r"- alert: (\w+)\n\s+expr: (.+)", read("deploy", "observe", "rules.yaml")):
        yield name, expression
    for panel in json.loads(read("deploy", "observe", "dashboard.json"))["panels"]:
        for target in panel.get("targets", []):
            yield panel["title"], target["expr"]


def names_and_labels_exist():
    known = table()
    count = 0
    for where, expression in expressions():
        for name, matchers in re.findall(r"\beagre_(\w+)(?:\{([^}]*)\})?", expression):
            count += 1
            check(name in known, f"{where}: no metric eagre_{name}")
            for label, sign, value in re.findall(r'(\w+)(=~|!~|!=|=)"([^"]*)"', matchers):
                check(label == "instance" or label in known[name], f"{where}: eagre_{name} has no label {label}")
                words = known[name].get(label)
                for word in value.split("|") if words and "~" in sign else [value]:
                    check(not words or word in words, f"{where}: eagre_{name} has no {label} {word}: {words}")
    check(count > 50, f"only {count} names found")


def a_server_exports_them():
    server = Server().start()
    try:
        typed = set(re.findall(r"^# TYPE (\w+) ", server.http("/metrics"), re.M))
        check(server.stop() == 0, "the stop was not clean")
    finally:
        server.close()
    for where, expression in expressions():
        for name in re.findall(r"\b(eagre_\w+)", expression):
            base = re.sub(r"_(bucket|sum|count)$", "", name)
            check(name in typed or base in typed, f"{where}: the server does not export {name}")


def rules_are_explained():
    text = read("deploy", "observe", "rules.yaml")
    alerts = re.findall(r"- alert: (\w+)\n(.*?)(?=\n      - alert|\n  - name|\Z)", text, re.S)
    check(len(alerts) >= 20, f"{len(alerts)} rules")
    for name, body in alerts:
        check(re.search(r"severity: (page|ticket)", body), f"{name}: no severity")
        for part in ("summary", "runbook"):
            check(re.search(rf'{part}: ".{{30,}}"', body), f"{name}: no {part}")
    tests = read("deploy", "observe", "rules_test.yaml")
    for name, _ in alerts:
        check(f"name: {name} fires" in tests and f"name: {name} is quiet" in tests, f"{name}: a case is missing")


@needs_promtool
def promtool_takes_all():
    for words in (("check", "rules", "rules.yaml"), ("check", "config", "prometheus.yaml"), ("test", "rules", "rules_test.yaml")):
        status, said = promtool(*words)
        check(status == 0, f"promtool {' '.join(words)}: {said[-600:]}")


def with_all_rules(expression):
    """Names of the cases that fail when every rule is this expression; one run, because promtool takes its time."""
    text = read("deploy", "observe", "rules.yaml")
    with tempfile.TemporaryDirectory() as folder:
        shutil.copy(os.path.join(OBSERVE, "rules_test.yaml"), folder)
        with open(os.path.join(folder, "rules.yaml"), "w", encoding="utf-8") as rules:
            rules.write(re.sub(r"(- alert: \w+\n\s+expr: ).+", rf"\g<1>{expression}", text))
        said = promtool("test", "rules", "rules_test.yaml", cwd=folder)[1]
    return set(re.findall(r'expr: .*alertname=.?"(\w+?).?"', said)), set(re.findall(r"- alert: (\w+)", text)), said


@needs_promtool
def cases_notice_dead_rules():
    failed, rules, said = with_all_rules("vector(0) > 1")
    check(failed == rules, f"never fire and no case notices: {sorted(rules - failed)}; {said[:500]}")


@needs_promtool
def cases_notice_rules_that_always_fire():
    failed, rules, said = with_all_rules("vector(1) > 0")
    check(failed == rules, f"always fire and no case notices: {sorted(rules - failed)}; {said[:500]}")


def the_dashboard_can_be_loaded():
    board = json.loads(read("deploy", "observe", "dashboard.json"))
    kinds = {each["name"]: each["type"] for each in board["templating"]["list"]}
    check(kinds.get("datasource") == "datasource", f"variables {kinds}")
    ids = [panel["id"] for panel in board["panels"]]
    check(len(set(ids)) == len(ids), "two panels have one id")
    for panel in board["panels"]:
        check(panel["type"] == "row" or panel["datasource"]["uid"] == "${datasource}", f"{panel['title']}: fixed to one data source")
        check(panel["type"] == "row" or (panel["description"] and panel["targets"]), f"{panel['title']}: not explained, or empty")


def main():
    suite.run("promtool takes rules, configuration and cases", promtool_takes_all)
    suite.run("every rule is explained and has both cases", rules_are_explained)
    suite.run("cases notice a rule that never fires", cases_notice_dead_rules)
    suite.run("cases notice a rule that always fires", cases_notice_rules_that_always_fire)
    suite.run("the dashboard can be loaded", the_dashboard_can_be_loaded)
    suite.run("metrics, labels and their values exist", names_and_labels_exist)
    suite.run("a running server exports them", a_server_exports_them)
    return suite.finish()


if __name__ == "__main__":
    sys.exit(main())
