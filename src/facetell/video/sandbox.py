"""What a process gives up before it reads strangers' files: files, network, new processes, memory, its user's rights.

On Linux a seccomp filter (seccomp(2), a list of what is allowed) leaves nothing but computing, memory, threads and what
is open already. A platform that lacks a protection runs without it, and `enter` says which.
"""

from __future__ import annotations

import ctypes
import os
import platform
import struct
import sys
from collections.abc import Mapping

MEMORY, PROCESSOR, SYSTEM, RIGHTS = (
    "a limit on memory",
    "a limit on processor time",
    "a bar on opening files, networks and programs",
    "giving up administrator's rights",
)
ALL = ("a process of its own for reading files", MEMORY, PROCESSOR, SYSTEM, RIGHTS)

_NOBODY = 65534
_PR_SET_NO_NEW_PRIVS = 38
_SECCOMP_SET_MODE_FILTER, _FILTER_FLAG_TSYNC = 1, 1  # TSYNC: for threads that run already, too
_ALLOW, _ERRNO = 0x7FFF0000, 0x00050000
_ENOSYS = 38  # "no such call": what the C library knows how to go on from
_CLONE_THREAD = 0x10000

# name: (x86-64, aarch64). Files can be read, mapped and asked about once they are open; none can be opened, or asked
# about by its name (newfstatat, by which some C libraries ask about open ones: here they go without).
_CALLS = {
    "read": (0, 63),
    "write": (1, 64),
    "close": (3, 57),
    "fstat": (5, 80),
    "lseek": (8, 62),
    "mmap": (9, 222),
    "mprotect": (10, 226),
    "munmap": (11, 215),
    "brk": (12, 214),
    "rt_sigaction": (13, 134),
    "rt_sigprocmask": (14, 135),
    "rt_sigreturn": (15, 139),
    "sched_yield": (24, 124),
    "mremap": (25, 216),
    "madvise": (28, 233),
    "getpid": (39, 172),
    "sendto": (44, 206),
    "recvfrom": (45, 207),
    "sendmsg": (46, 211),
    "recvmsg": (47, 212),
    "exit": (60, 93),
    "fcntl": (72, 25),
    "getrlimit": (97, 163),
    "getrusage": (98, 165),
    "sysinfo": (99, 179),
    "sigaltstack": (131, 132),
    "prctl": (157, 167),  # threads give themselves a name
    "setrlimit": (160, 164),
    "gettid": (186, 178),
    "futex": (202, 98),
    "sched_getaffinity": (204, 123),
    "restart_syscall": (219, 128),
    "clock_gettime": (228, 113),
    "clock_getres": (229, 114),
    "clock_nanosleep": (230, 115),
    "exit_group": (231, 94),
    "tgkill": (234, 131),
    "set_robust_list": (273, 99),
    "preadv": (295, 69),
    "prlimit64": (302, 261),
    "getrandom": (318, 278),
    "rseq": (334, 293),
}
_FCNTL = (0, 1, 2, 3, 1030)  # duplicate, ask, and close on exec; no owner or signal, which could reach other processes
# Memory shared with nobody and memory that grows downwards are not counted by RLIMIT_DATA.
_MMAP_ANONYMOUS, _MMAP_GROWSDOWN, _MMAP_TYPE = 0x20, 0x100, 0xF
_MMAP = (1, 2, 3, 2 | _MMAP_ANONYMOUS)  # of a file: shared, private, shared (newer); of none: private
_CLONE = (56, 220)
_SECCOMP = (317, 277)
_WHOLE = 0xFFFFFFFF  # of an argument
_MACHINES = {"x86_64": (0, 0xC000003E), "aarch64": (1, 0xC00000B7)}  # column of the numbers, AUDIT_ARCH_…


def enter(memory_mb: int) -> list[str]:
    """Give up what reading does not need, for good; everything it needs must have been imported.

    Args:
        memory_mb: of the process's own memory, MiB.

    Returns:
        The protections that this platform does not offer.
    """
    missing = []
    if not _limit_memory(memory_mb):
        missing.append(MEMORY)
    if not _drop_rights():
        missing.append(RIGHTS)
    if not _filter_calls():
        missing.append(SYSTEM)
    return missing


def allowed_memory(memory_mb: int) -> int:
    """Of so many MiB, those that this process's user allows it."""
    import resource

    if sys.platform != "linux":  # elsewhere the limit can be set, but is not kept
        return memory_mb
    limits = resource.getrlimit(resource.RLIMIT_DATA)[1], resource.getrlimit(resource.RLIMIT_AS)[0]
    return min([memory_mb, *(limit // 2**20 for limit in limits if limit != resource.RLIM_INFINITY)])


def limit_processor(seconds: float) -> None:
    """From now on this process may use so much processor time more, or what its user allows; it ends by SIGXCPU."""
    import resource

    usage = resource.getrusage(resource.RUSAGE_SELF)
    soft = int(usage.ru_utime + usage.ru_stime + seconds) + 1
    hard = resource.getrlimit(resource.RLIMIT_CPU)[1]
    if hard != resource.RLIM_INFINITY:
        soft = min(soft, hard - 1)  # at the hard limit it would be SIGKILL
    resource.setrlimit(resource.RLIMIT_CPU, (soft, hard))


def _limit_memory(memory_mb: int) -> bool:
    import resource

    for kind in (resource.RLIMIT_CORE, resource.RLIMIT_FSIZE):
        resource.setrlimit(kind, (0, 0))
    if sys.platform != "linux":
        return False
    most = allowed_memory(memory_mb) * 2**20
    resource.setrlimit(resource.RLIMIT_DATA, (most, most))
    return True


def _drop_rights() -> bool:
    if os.geteuid() != 0:
        return True
    try:
        os.setgroups([])
        os.setgid(_NOBODY)
        os.setuid(_NOBODY)
    except OSError:
        return False
    return True


def _filter_calls() -> bool:
    if sys.platform != "linux" or platform.machine() not in _MACHINES:
        return False
    column, architecture = _MACHINES[platform.machine()]
    own = os.getpid()  # a user's other processes are not to be signalled, nor their limits changed
    only = {
        "tgkill": (0, _WHOLE, (own,)),
        "prlimit64": (0, _WHOLE, (0, own)),
        "fcntl": (1, _WHOLE, _FCNTL),
        "mmap": (3, _MMAP_TYPE | _MMAP_ANONYMOUS | _MMAP_GROWSDOWN, _MMAP),
    }
    calls = {numbers[column]: only.get(name) for name, numbers in _CALLS.items()}
    code = program(calls, _CLONE[column], architecture)
    buffer = ctypes.create_string_buffer(code)
    header = struct.pack("HP", len(code) // 8, ctypes.addressof(buffer))  # struct sock_fprog, padded as C does
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_NO_NEW_PRIVS, *map(ctypes.c_ulong, (1, 0, 0, 0))):
        return False
    numbers = (_SECCOMP[column], _SECCOMP_SET_MODE_FILTER, _FILTER_FLAG_TSYNC)
    return not libc.syscall(*map(ctypes.c_long, numbers), header)


def program(calls: Mapping[int, tuple[int, int, tuple[int, ...]] | None], clone: int, architecture: int) -> bytes:
    """The filter as BPF instructions of 8 bytes: these calls, and `clone` for threads; anything else does not exist.

    Args:
        calls: number -> the place of an argument, which bits of it count, and the values that these may have;
            None: whatever its arguments.
        clone: number of that call.
        architecture: AUDIT_ARCH_… of the machine.
    """
    load, equal, both, give = 0x20, 0x15, 0x54, 0x06  # LD|W|ABS, JMP|JEQ|K, ALU|AND|K, RET|K
    steps = [
        (load, 0, 0, 4),  # seccomp_data.arch
        (equal, 1, 0, architecture),
        (give, 0, 0, _ERRNO | _ENOSYS),
        (load, 0, 0, 0),  # seccomp_data.nr
    ]
    for number, only in calls.items():
        allowed = [(give, 0, 0, _ALLOW)]
        if only is not None:
            place, bits, values = only
            allowed = [
                (load, 0, 0, 16 + 8 * place),  # seccomp_data.args, the lower half: the kernel takes no more of an int
                (both, 0, 0, bits),
                *((equal, len(values) - at, 0, value) for at, value in enumerate(values)),
                (give, 0, 0, _ERRNO | _ENOSYS),
                *allowed,
            ]
        steps += [(equal, 0, len(allowed), number), *allowed]
    steps += [
        (equal, 0, 4, clone),
        (load, 0, 0, 16),  # seccomp_data.args[0], the flags
        (both, 0, 0, _CLONE_THREAD),
        (equal, 0, 1, _CLONE_THREAD),
        (give, 0, 0, _ALLOW),
        (give, 0, 0, _ERRNO | _ENOSYS),
    ]
    return b"".join(struct.pack("HBBI", *step) for step in steps)
