# SPDX-License-Identifier: BSD-2-Clause
"""
Which cases run in a guest. Under emulation a start of domtrace takes seconds, so there run those that depend on the kernel: which probes,
maps, helpers and tracepoints it has, what its verifier takes, what it says of processes, mappings and clocks. What is left to the machine's
own kernel runs the same BPF programs and the same code of user/ on more binaries, or never comes to the kernel.
"""
import os
import re


class EveryBut(tuple):
    """All cases of a module but these."""


EVERY = EveryBut()

SELECTION = {
    "case_ages": EVERY,
    # One of each way to reach an allocator: static, preloaded, by operators; attached to and from its start.
    "case_allocators": ("allocators/musl, static", "allocators/jemalloc, preloaded, from its start", "allocators/tcmalloc, static",
                        "allocators/operators, jemalloc, preloaded"),
    # Those in which the kernel refuses or says something; not what options mean.
    "case_bad_input": ("bad input/a zombie", "bad input/kernel thread", "bad input/process without libc",
                       "bad input/one of two processes is missing", "bad input/no privilege", "bad input/no privilege, with a command",
                       "bad input/no BTF", "bad input/no uprobes", "bad input/command that does not exist",
                       "bad input/command that is no program", "bad input/a disk that fills up"),
    # Sockets and who is at their other end; what requests do is not the kernel's.
    "case_ctl": ("ctl/other users, silent and rude clients",),
    # The other examples take two minutes and have the options of other cases.
    "case_documents": ("documents/README, system-wide",),
    "case_domains": ("domains/every way", "domains/forked children"),
    "case_hostile": EVERY,
    "case_layers": EVERY,
    # A million calls take a minute; "random without …" are ten thousand.
    "case_libc": EveryBut(("libc/random", "libc/features")),
    # The same programs of the kernel as the command's; what is new is how they are linked.
    "case_library": (),
    # One processor: the thread at the marker and domtrace share it, and those that allocate.
    "case_markers": ("markers/beside threads that allocate", "markers/two threads at once", "markers/the program is killed"),
    "case_names": ("names/another mount namespace, raw",),
    "case_numpy": ("numpy/every path, tracemalloc off",),
    # bcc compiles for minutes, and sees what the kernel's own probes see.
    "case_oracle": (),
    "case_processes": EVERY,
    "case_programs": (),
    "case_python": ("numpy/tracemalloc on, 3 frames", "numpy/tracemalloc off"),
    "case_python_domain": ("python_domain_undone_sigterm",),
    # Layouts of interpreters are read by the same programs: the newest, and one from its first instruction on.
    "case_python_versions": ("python of the system/from its start", "python 3.13/python frames"),
    # The longest stacks, of two languages, under load.
    "case_real_programs": ("programs/whole mixed tracebacks",),
    "case_signals": ("signals/SIGKILL to domtrace", "signals/SIGKILL to domtrace while its command loads libraries",
                     "signals/SIGUSR2 clears", "signals/SIGTERM", "signals/attach and detach at work", "signals/a process that dies",
                     "run/exit statuses", "run/few privileges"),
    "case_simd": ("simd/both sections, cleared between",),
    "case_soak": EVERY,
    "case_tables": EVERY,
    "case_unwind": ("unwind/with and without frame pointers", "unwind/static", "unwind/from the first constructor to the last handler"),
    "case_verifier": EVERY,
}

# What --without can leave out, and since when Linux has it; always: it needs nothing of the kernel.
ALWAYS = (0, 0)
FEATURES = {"session": (6, 13), "multi": (6, 6), "cheap-sites": ALWAYS, "markers": ALWAYS}


def select(cases_of):
    """{module's name: its cases} → ([case that runs in guests], [what is wrong with SELECTION])"""
    wrong = [f"guests.py has {module}, which run.py has not" for module in SELECTION.keys() - cases_of.keys()]
    chosen = []
    for module, cases in cases_of.items():
        listed, names = SELECTION.get(module, ()), [name for name, _ in cases]
        if module not in SELECTION:
            wrong.append(f"guests.py does not say which cases of {module} run in guests")
        wrong += [f"guests.py has {name!r}, which is no case of {module}" for name in listed if name not in names]
        chosen += [case for case in cases if (case[0] in listed) != isinstance(listed, EveryBut)]
    return chosen, wrong


def missing_features():
    """What this kernel has not. Told by its release and not by domtrace: what is tested must not decide whether it is."""
    release = tuple(map(int, re.match(r"(\d+)\.(\d+)", os.uname().release).groups()))
    return [name for name, since in FEATURES.items() if release < since]


def run_of(name, missing):
    """What a case runs here: to leave out what the kernel has not is to leave out nothing."""
    base, _, rest = name.partition(" without ")
    features = rest.split(" and ")
    if not FEATURES.keys() >= set(features):
        return name
    left = [feature for feature in features if feature not in missing]
    return f"{base} without {' and '.join(left)}" if left else base


def without_repeats(cases):
    """The cases but for those that would run another one again."""
    missing, first_of = missing_features(), {}
    for case in cases:
        first_of.setdefault(run_of(case[0], missing), case)
    return list(first_of.values())
