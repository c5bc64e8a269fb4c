"""Facts about the machine that every result carries."""

import os
import platform
import subprocess
import time


def read(path, default=""):
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read().strip()
    except OSError:
        return default


def output(*command):
    try:
        return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, timeout=30, check=False).stdout.decode().strip()
    except OSError:
        return ""


def cpu_model():
    for line in read("/proc/cpuinfo").splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.processor()


def block_device(directory):
    """(model or driver, write cache) of the device below a directory."""
    source = output("findmnt", "-n", "-o", "SOURCE", "-T", directory)
    name = os.path.basename(source)
    base = output("lsblk", "-n", "-o", "PKNAME", source).splitlines()
    name = base[0] if base and base[0] else name
    queue = f"/sys/block/{name}"
    driver = os.path.basename(os.path.realpath(f"{queue}/device/driver")) if os.path.exists(f"{queue}/device/driver") else ""
    return f"{name} {read(queue + '/device/model')} {driver}".strip(), read(f"{queue}/queue/write_cache")


def has_nvme():
    return any(name.startswith("nvme") for name in os.listdir("/sys/block")) if os.path.isdir("/sys/block") else False


def facts(root, directory):
    device, cache = block_device(directory)
    return {
        "when": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "commit": output("git", "-C", root, "rev-parse", "--short", "HEAD") + ("+" if output("git", "-C", root, "status", "--porcelain") else ""),
        "cpu": cpu_model(), "cores": os.cpu_count(), "memory_kb": int(read("/proc/meminfo").split()[1]),
        "kernel": platform.release(), "system": output("lsb_release", "-ds") or platform.platform(),
        "filesystem": output("findmnt", "-n", "-o", "FSTYPE,OPTIONS", "-T", directory), "device": device, "write_cache": cache,
        "virtual": output("systemd-detect-virt") or "unknown", "nvme": has_nvme(), "governor": read("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
        "note": "loopback only, no physical NIC" + ("" if has_nvme() else ", no NVMe"),
    }
