# SPDX-License-Identifier: GPL-2.0-or-later
"""What the benchmarks share: what a job costs, a mounted image, and the table of medians.

Bytes are those of read and write calls (/proc/PID/io: rchar, wchar) and those that went to storage (read_bytes,
write_bytes). Memory is the largest resident set of any one process, mapped file pages included; Linux counts what the
process was started from too, so that less than this Python has (some 25 MiB) does not show.
"""

import json
import os
import statistics
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
os.environ["PATH"] += ":/usr/local/sbin:/usr/sbin:/sbin"


def run(*command, **more):
    subprocess.run([str(word) for word in command], check=True, stdin=subprocess.DEVNULL, **more)


class Cost:
    """What processes used: started with `start`, counted when they have ended."""

    def __init__(self):
        self.calls_read = self.calls_written = self.read = self.written = self.memory = self.cpu = 0

    def start(self, *command):
        self.log = tempfile.TemporaryFile()
        return subprocess.Popen([str(word) for word in command], stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log)

    def end(self, process, codes=(0,)):
        # The figures can be read as long as the ended process has not been waited for.
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        fields = dict(line.split(": ") for line in Path(f"/proc/{process.pid}/io").read_text().splitlines())
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode not in codes:
            self.log.seek(0)
            sys.exit(f"{process.args} ended with {process.returncode}:\n{self.log.read().decode(errors='replace')}")
        self.calls_read += int(fields["rchar"])
        self.calls_written += int(fields["wchar"])
        self.read += int(fields["read_bytes"])
        self.written += int(fields["write_bytes"])
        self.cpu += usage.ru_utime + usage.ru_stime
        self.memory = max(self.memory, usage.ru_maxrss * 1024)


class mounted:
    def __init__(self, image, cost=None):
        self.image, self.cost = image, cost or Cost()

    def __enter__(self):
        self.folder = Path(tempfile.mkdtemp())
        self.driver = self.cost.start("ntfs-3g", "-o", "no_detach", self.image, self.folder)
        while not os.path.ismount(self.folder):
            if self.driver.poll() is not None:
                sys.exit(f"ntfs-3g did not mount {self.image}")
            time.sleep(0.001)
        return self.folder

    def __exit__(self, *_):
        run("umount", self.folder)
        # After a plain umount the driver still writes: the image is done when the driver has ended.
        self.cost.end(self.driver)
        self.folder.rmdir()


# ---- descriptors, for setfattr ---------------------------------------------------------------------------

SYSTEM_SID, SERVICE_SID, ADMINISTRATORS_SID, EVERYONE_SID = (5, 18), (5, 20), (5, 32, 544), (1, 0)
FULL, READ = 0x1F01FF, 0x120089


def sid(parts):
    authority, *subs = parts
    return struct.pack(">BBHI", 1, len(subs), 0, authority) + b"".join(struct.pack("<I", sub) for sub in subs)


def allow(mask, who):
    """An entry that allows `who` what `mask` says."""
    return struct.pack("<BBHI", 0, 0, 8 + len(sid(who)), mask) + sid(who)


def descriptor(owner, *grants):
    """A self-relative, protected descriptor of the group SYSTEM."""
    entries = b"".join(allow(*grant) for grant in grants)
    dacl = struct.pack("<BBHHH", 2, 0, 8 + len(entries), len(grants), 0) + entries
    at = 20 + len(dacl)
    return struct.pack("<BBHIIII", 1, 0, 0x9404, at, at + len(sid(owner)), 0, 20) + dacl + sid(owner) + sid(SYSTEM_SID)


# ---- what is read ----------------------------------------------------------------------------------------


def forget(image):
    """Puts the file's pages out of the page cache."""
    with open(image, "rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def traced(image, *command):
    """Bytes of read and write calls on the image, from one run under strace; in one thread, because strace tells a call that
    another thread interrupts in two lines."""
    with tempfile.NamedTemporaryFile(mode="r") as log:
        subprocess.run(["strace", "-f", "-y", "-e", "trace=read,pread64,write,pwrite64", "-o", log.name, *map(str, command)],
                       stdin=subprocess.DEVNULL, capture_output=True, env={**os.environ, "RAYON_NUM_THREADS": "1"})
        counts = {"read": 0, "written": 0}
        for line in log.read().splitlines():
            call = line.split("(", 1)[0].split()[-1]
            if f"<{image}>" in line and (done := line.rsplit("=", 1)[-1].strip()).isdigit():
                counts["read" if "read" in call else "written"] += int(done)
        return counts


# ---- tables ----------------------------------------------------------------------------------------------


def human(count):
    return f"{count / (1 << 20):.2f} MiB"


def table(rounds, memory=True):
    rows = [("", *rounds)]
    figures = [
        ("wall time, median", lambda cost: cost.wall, lambda v: f"{v * 1000:.1f} ms", statistics.median),
        ("wall time, least", lambda cost: cost.wall, lambda v: f"{v * 1000:.1f} ms", min),
        ("wall time, most", lambda cost: cost.wall, lambda v: f"{v * 1000:.1f} ms", max),
        ("processor time", lambda cost: cost.cpu, lambda v: f"{v * 1000:.1f} ms", statistics.median),
        ("read by calls", lambda cost: cost.calls_read, human, statistics.median),
        ("written by calls", lambda cost: cost.calls_written, human, statistics.median),
        ("read from storage", lambda cost: cost.read, human, statistics.median),
        ("written to storage", lambda cost: cost.written, human, statistics.median),
        ("peak memory", lambda cost: cost.memory, human, max),
    ]
    for title, get, show, fold in figures if memory else figures[:-1]:
        rows.append((title, *(show(fold([get(cost) for cost in costs])) for costs in rounds.values())))
    for row in rows:
        print(f"{row[0]:<20}" + "".join(f"{cell:>16}" for cell in row[1:]))


class Results:
    """What a benchmark came to, added to the JSON file `path` when `write` is called: one object for each comparison and bound,
    {name, ours, peer, unit, ratio, goal, met}. A comparison's ratio says how many times as fast we are; a bound's is ours / goal."""

    def __init__(self, path):
        self.path, self.rows = path, []

    def compare(self, name, ours, peer, goal):
        ours, peer = (statistics.median(cost.wall for cost in costs) for costs in (ours, peer))
        ratio = peer / ours
        self.rows.append({"name": name, "ours": ours, "peer": peer, "unit": "s", "ratio": ratio, "goal": goal, "met": ratio >= goal})
        print(f"\n{name}: {ours * 1000:.1f} ms against {peer * 1000:.1f} ms, {ratio:.1f} times as fast (goal {goal})")

    def bound(self, name, ours, most, unit):
        self.rows.append({"name": name, "ours": ours, "peer": None, "unit": unit, "ratio": ours / most, "goal": most, "met": ours <= most})

    def write(self):
        if self.path is None:
            return
        old = json.loads(self.path.read_text()) if self.path.exists() else []
        names = {row["name"] for row in self.rows}
        self.path.write_text(json.dumps([*(row for row in old if row["name"] not in names), *self.rows], indent=1) + "\n")


def release_binary(given):
    """The release binary: the one named, or built now."""
    if given is not None:
        return given
    run("cargo", "build", "--release", "--quiet", "--locked", cwd=ROOT)
    return Path(os.environ.get("CARGO_TARGET_DIR") or ROOT / "target") / "release/coldfix"
