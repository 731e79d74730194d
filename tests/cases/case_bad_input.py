# SPDX-License-Identifier: BSD-2-Clause
"""What bad input gets: one sentence on standard error that names the object, exit 1, and 2 for wrong usage."""
import os
import re
import subprocess
import time

from harness import PYTHON, Skip, checked, expect, scaled, seconds

HINT = "Try 'domtrace --help'."         # follows the sentence when the usage was wrong
BUSYBOX = "/bin/busybox"

# name, arguments, exit status, what the sentence holds. {pid}: of a workload that runs, {dead}: of a process that has
# ended, {zombie}: that nobody has waited for, {thread}: of a kernel thread, {static}: of a program without libc.so, {place}: a
# directory. The last column masks a part of /sys, or drops all privileges.
TABLE = [
    ("no such process", ["-p", "{dead}"], 1, r"\b{dead}\b"),
    ("a zombie", ["-p", "{zombie}"], 1, r"\b{zombie}\b"),
    ("kernel thread", ["-p", "{thread}"], 1, r"\b{thread}\b.*kernel thread|kernel thread.*\b{thread}\b"),
    ("process without libc", ["-p", "{static}"], 1, r"\b{static}\b"),
    ("process without Python", ["-p", "{pid}", "-d", "numpy"], 1, r"\b{pid}\b"),
    ("one of two processes is missing", ["-q", "-p", "{pid},{dead}"], 1, r"\b{dead}\b"),
    ("no privilege", ["-p", "{pid}"], 1, r"privilege.*cap_bpf", "nobody"),
    ("no privilege, with a command", ["--", "/bin/true"], 125, r"privilege.*cap_bpf", "nobody"),
    ("no BTF", ["-p", "{pid}"], 1, r"/sys/kernel/btf", "/sys/kernel/btf"),
    ("no uprobes", ["-p", "{pid}"], 1, r"uprobes", "/sys/bus/event_source/devices"),
    ("domain number too large", ["-p", "{pid}", "-d", "4294967296"], 2, r"4294967296"),
    ("empty domain", ["-p", "{pid}", "-d", ""], 2, r"domain"),
    ("pid that is no number", ["-p", "12x"], 2, r"12x"),
    ("pid 0", ["-p", "0"], 2, r"'?0'?"),
    ("negative pid", ["-p", "-5"], 2, r"-5"),
    ("empty pid", ["-p", ""], 2, r"pid"),
    ("pid list with a hole", ["-p", "{pid},,{pid}"], 2, r"{pid},,{pid}"),
    ("pid too large", ["-p", "99999999999999999999"], 2, r"99999999999999999999"),
    ("interval that is no number", ["-p", "{pid}", "-i", "often"], 2, r"often"),
    ("interval 0", ["-p", "{pid}", "-i", "0"], 2, r"interval.*0"),
    ("negative interval", ["-p", "{pid}", "-i", "-1"], 2, r"-1"),
    ("interval with a unit", ["-p", "{pid}", "-i", "1s"], 2, r"1s"),
    ("interval nan", ["-p", "{pid}", "-i", "nan"], 2, r"nan"),
    ("duration that is no number", ["-p", "{pid}", "-t", "1e"], 2, r"1e"),
    ("count 0", ["-p", "{pid}", "-i", "1", "-c", "0"], 2, r"count.*0"),
    ("count without interval", ["-p", "{pid}", "-c", "3"], 2, r"interval"),
    ("top that is no number", ["-p", "{pid}", "--top", "ten"], 2, r"ten"),
    ("limit 0", ["-p", "{pid}", "-l", "0"], 2, r"limit.*0"),
    ("limit too large", ["-p", "{pid}", "-l", "257"], 2, r"257.*256"),
    ("unknown order", ["-p", "{pid}", "--sort", "beauty"], 2, r"beauty"),
    ("unknown feature", ["-p", "{pid}", "--without", "magic"], 2, r"magic"),
    ("-p and a command", ["-p", "{pid}", "--", "/bin/true"], 2, r"-p.*command|command.*-p"),
    ("neither -p nor a command", [], 2, r"-p"),
    ("unknown option", ["--colour"], 2, r"--colour"),
    ("unknown letter", ["-Z"], 2, r"-Z"),
    ("option without its value", ["-p"], 2, r"pid"),
    ("value too much", ["--quiet=5", "-p", "{pid}"], 2, r"quiet"),
    ("sites without a process", ["sites"], 2, r"-p"),
    ("sites of a missing process", ["sites", "-p", "{dead}"], 1, r"\b{dead}\b"),
    ("output in no directory", ["-p", "{pid}", "-o", "{place}/none/file"], 1, r"none/file"),
    ("output that is a directory", ["-p", "{pid}", "-o", "{place}"], 1, r"{place}"),
    ("output in no directory, with a command", ["-o", "{place}/none/file", "--", "/bin/true"], 125, r"none/file"),
    ("command that does not exist", ["--", "{place}/none"], 127, r"{place}/none"),
    ("command that is no program", ["--", "{place}"], 126, r"{place}"),
]


def kernel_thread():
    """A thread of the kernel (PF_KTHREAD, include/linux/sched.h), if this pid namespace shows one."""
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as file:
                flags = int(file.read().rpartition(")")[2].split()[6])
        except OSError:
            continue
        if flags & 0x00200000:
            return pid
    raise Skip("no kernel thread is visible in this pid namespace")


def dead():
    child = subprocess.Popen(["/bin/true"])
    child.wait()
    return str(child.pid)


def zombie(place):
    process = place.start(["/bin/true"])
    deadline = time.monotonic() + seconds(10)
    while open(f"/proc/{process.pid}/stat", encoding="ascii").read().rpartition(")")[2].split()[0] != "Z":
        expect(time.monotonic() < deadline, "no zombie came to be")
        time.sleep(0.01)
    return str(process.pid)


def static(place):
    if not os.path.exists(BUSYBOX):
        raise Skip(f"{BUSYBOX} is not installed (package busybox-static)")
    process = place.start([BUSYBOX, "sleep", "1000"])
    time.sleep(seconds(0.2))
    with open(f"/proc/{process.pid}/maps", encoding="utf-8") as file:
        if "libc.so" in file.read():
            raise Skip(f"{BUSYBOX} is not static here (package busybox-static)")
    return str(process.pid)


OBJECTS = {
    "pid": lambda place: str(place.start([place.workload("alloc_random")]).told()["pid"]),
    "dead": lambda place: dead(),
    "zombie": zombie,
    "thread": lambda place: kernel_thread(),
    "static": static,
    "place": lambda place: place.directory,
}


def fill(words, place):
    """The words with the objects that they name."""
    names = {name for name in OBJECTS if any("{" + name + "}" in word for word in words)}
    values = {name: OBJECTS[name](place) for name in names}
    filled = []
    for word in words:
        for name, value in values.items():
            word = word.replace("{" + name + "}", value)
        filled.append(word)
    return filled


def run_with(place, circumstance, arguments):
    """domtrace as nobody, or with a part of /sys out of sight."""
    argv, options = [place.domtrace, *arguments], {}
    if circumstance == "nobody":
        options = {"user": 65534, "group": 65534, "extra_groups": []}
    elif circumstance:
        argv = ["/usr/bin/unshare", "-m", "/bin/sh", "-c", 'mount -t tmpfs tmpfs "$0" && exec "$@"', circumstance, *argv]
    done = subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          timeout=seconds(60), check=False, **options)
    return done.returncode, done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace")


def refused(place, arguments, status, says, circumstance=None):
    *arguments, says = fill([*arguments, says], place)
    ended, output, stderr = run_with(place, circumstance, arguments)
    lines = stderr.splitlines()
    if status == 2 and lines[1:] == [HINT]:
        lines.pop()
    said = f"{' '.join(arguments)!r}: exit {ended}, standard error {stderr!r}"
    expect(ended == status, f"{said}: the exit status is to be {status}")
    expect(len(lines) == 1, f"{said}: not one sentence")
    expect(lines[0].startswith("domtrace: "), f"{said}: it does not say who speaks")
    expect(re.search(says, lines[0]), f"{said}: it does not say {says}")
    expect(not output, f"{said}: there is output: {output!r}")


FULL = """
mount -t tmpfs -o size=48k tmpfs "$0/disk" || exit 99
"$@"
status=$?
cp "$0/disk/file" "$0/written" || exit 98
exit $status
"""


def full_disk(place):
    """A disk that fills up: what was written stays whole, each snapshot after it is named, the target runs on, exit 1."""
    script = "import time\nkeep = []\nfor i in range(10**9):\n keep.append(bytearray(2000 + i))\n time.sleep(0.001)\n"
    target = place.start([PYTHON, "-c", script])
    time.sleep(seconds(0.5))
    os.mkdir(place.path("disk"))
    done = subprocess.run(
        ["/usr/bin/unshare", "-m", "/bin/sh", "-c", FULL, place.directory, place.domtrace, "-p", str(target.pid),
         "-o", place.path("disk/file"), "-i", "0.1", "-t", str(scaled(6, 25))],
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, timeout=seconds(120), check=False)
    stderr = done.stderr.decode()
    lost = [int(number) for number in re.findall(r"^domtrace: snapshot (\d+) .*/disk/file.*No space left", stderr, re.MULTILINE)]
    expect(done.returncode == 1, f"exit status {done.returncode}: {stderr}")
    written = len(checked(place.path("written")))
    expect(lost and lost == list(range(written + 1, written + 1 + len(lost))), f"{written} are written, {lost} said to be lost")
    expect(target.child.poll() is None, "the target has ended")


def cases():
    for name, *row in TABLE:
        yield f"bad input/{name}", lambda place, row=row: refused(place, *row)
    yield "bad input/a disk that fills up", full_disk
