"""Completion and manual pages, which the program writes from its own table of verbs.

Goal: what --help says can be completed in bash and zsh and stands in a page that man, groff and mandoc read without a warning, and the
install target leaves all of it. Method: the generated scripts are run by the shells themselves; options are read from --help."""

import os
import re
import subprocess
import sys
import tempfile

from server import Suite, binary
from wire import check

suite = Suite("pages")


def eagre(*words):
    return subprocess.run([binary(), *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=60, check=True).stdout.decode()


def has(program):
    return subprocess.run(["which", program], stdout=subprocess.DEVNULL, check=False).returncode == 0


def verbs():
    """{verb: its options}, as --help tells them; those that all verbs have are not among them."""
    table, verb = {}, None
    for line in eagre("help").splitlines():
        found = re.match(r"  eagre ([a-z]+(?: (?:create|list|describe|delete|alter|trim|reset-offsets|abort))?)\b", line)
        if found:
            verb = found.group(1)
            table.setdefault(verb, [])
        found = re.match(r"      --(\S+)", line)
        if found and verb:
            table[verb].append("--" + found.group(1))
    return {verb: options for verb, options in table.items() if verb not in ("serve", "version", "help")}


def bash(*words):
    """What bash offers for the last word."""
    script = (eagre("completion", "bash") + "\nCOMP_WORDS=(\"$@\"); COMP_CWORD=$(($# - 1)); _eagre; printf '%s\\n' \"${COMPREPLY[@]}\"")
    done = subprocess.run(["bash", "--norc", "-c", script, "bash", "eagre", *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          timeout=20, cwd="/")
    check(done.returncode == 0 and not done.stderr, f"bash {words}: {done.stderr.decode()}")
    return done.stdout.decode().split()


def bash_completes():
    table = verbs()
    check(len(table) >= 15, f"only {sorted(table)} in --help")
    first = bash("")
    check({verb.split()[0] for verb in table} <= set(first) and "serve" in first, f"first words {first}")
    check(bash("top") == ["topic"], f"{bash('top')}")
    check(set(bash("topic", "")) == {verb.split()[1] for verb in table if verb.startswith("topic ")}, f"{bash('topic', '')}")
    for verb, options in table.items():
        offered = bash(*verb.split(), "--")
        check(set(options) <= set(offered) and "--help" in offered, f"{verb}: {offered} without {set(options) - set(offered)}")
    check("--journal.file_bytes" in bash("serve", "--jou"), "a setting is not offered")
    check(bash("produce", "t", "--codec", "z") == ["zstd"], f"{bash('produce', 't', '--codec', 'z')}")
    check(bash("topic", "create", "t", "--durability", "") == ["device", "memory"], "values")
    check("/tmp" in bash("verify", "--data", "/tm"), "directories")
    check("--server" not in bash("verify", "--"), "verify talks to no server")


ZSH = r"""
compadd() { shift; print -l -- "$@" }
_arguments() { for word in "$@"; do print -r -- "$word"; done }
compdef() { : }
source $1
words=("${@:2}")
CURRENT=$#words
_eagre
"""


def zsh(*words):
    with tempfile.NamedTemporaryFile("w", suffix="_eagre") as script:
        script.write(eagre("completion", "zsh"))
        script.flush()
        done = subprocess.run(["zsh", "-f", "-c", ZSH, "zsh", script.name, "eagre", *words], stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, timeout=20)
    check(done.returncode == 0 and not done.stderr, f"zsh {words}: {done.stderr.decode()}")
    return done.stdout.decode().splitlines()


def zsh_completes():
    if not has("zsh"):
        return "skip: no zsh here"
    check("topic" in zsh("") and "serve" in zsh(""), f"{zsh('')}")
    check(set(zsh("group", "")) == {"list", "describe", "reset-offsets", "delete"}, f"{zsh('group', '')}")
    for verb, options in verbs().items():
        offered = "\n".join(zsh(*verb.split(), "--"))
        for option in options:
            check(re.search(rf"\*{re.escape(option)}(=|\[)", offered), f"{verb}: {option} is not offered")
    check(any(":codec:(none gzip snappy lz4 zstd)" in line for line in zsh("produce", "--")), "values of --codec")


def pages_are_clean():
    with tempfile.TemporaryDirectory() as folder:
        eagre("man", "--all", folder)
        names = sorted(os.listdir(folder))
        want = {"eagre-" + verb.replace(" ", "-") + ".1" for verb in verbs()} | {"eagre.1", "eagre-serve.1"}
        check(set(names) == want, f"{names} where {sorted(want)} were due")
        for name in names:
            for lint in (["mandoc", "-Tlint", "-W", "warning"], ["man", "--warnings", "-l"], ["groff", "-man", "-ww", "-z"]):
                if not has(lint[0]):
                    continue
                done = subprocess.run([*lint, os.path.join(folder, name)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=60)
                said = done.stderr.decode() + (done.stdout.decode() if lint[0] == "mandoc" else "")
                check(done.returncode == 0 and not said.strip(), f"{lint[0]} {name}: {said[:300]}")
        for verb, options in verbs().items():
            with open(os.path.join(folder, "eagre-" + verb.replace(" ", "-") + ".1"), encoding="ascii") as page:
                text = page.read().replace("\\-", "-").replace("\\fB", "")
            for option in options:
                check(option in text, f"{verb}: {option} is not in its page")
    check(eagre("man", "topic", "trim").startswith(".TH EAGRE-TOPIC-TRIM 1"), "eagre man topic trim")


def install_leaves_them():
    build = os.path.dirname(os.path.realpath(binary()))
    if not os.path.exists(os.path.join(build, "share", "man", "man1", "eagre.1")):
        return f"skip: {build} has no pages: cmake --build it with target eagre_pages"
    with tempfile.TemporaryDirectory() as prefix:
        done = subprocess.run(["cmake", "--install", os.path.join(build, "engine", "app"), "--prefix", prefix], stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, timeout=120)
        check(done.returncode == 0, done.stdout.decode()[-500:])
        for path in ("bin/eagre", "share/man/man1/eagre.1", "share/man/man1/eagre-verify.1", "share/bash-completion/completions/eagre",
                     "share/zsh/site-functions/_eagre"):
            check(os.path.getsize(os.path.join(prefix, path)) > 0, f"{path} is empty")


def main():
    suite.run("bash completes verbs, options and values", bash_completes)
    suite.run("zsh completes verbs, options and values", zsh_completes)
    suite.run("manual pages are whole and clean", pages_are_clean)
    suite.run("the install target leaves them", install_leaves_them)
    return suite.finish()


if __name__ == "__main__":
    sys.exit(main())
