"""What a process that has shut itself in can no longer do."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from facetell.video import sandbox

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the bars are Linux's")

PREPARE = """
import ctypes, fcntl, mmap, os, resource, signal, socket, subprocess, sys, threading, time
from facetell.video import sandbox
handle = open(sys.executable, "rb")
other = int(sys.argv[1])
libc = ctypes.CDLL(None, use_errno=True)

def tgkill(process, thread, number):
    if libc.tgkill(process, thread, number):
        raise OSError(ctypes.get_errno(), "refused")

missing = sandbox.enter(300)
"""


def shut_in(code: str, other: int = 0) -> subprocess.CompletedProcess[str]:
    """Run code in a process that has shut itself in and knows the number of another."""
    return subprocess.run([sys.executable, "-c", PREPARE + code, str(other)], capture_output=True, text=True)


@pytest.fixture(scope="module")
def victim() -> Iterator[int]:
    """A process of the user that the other ones become."""
    rights = {"user": 65534, "group": 65534, "extra_groups": []} if os.geteuid() == 0 else {}
    with subprocess.Popen(["sleep", "600"], **rights) as process:
        yield process.pid
        process.kill()


def test_all_protections_are_there() -> None:
    done = shut_in("print(missing)")
    assert done.stdout == "[]\n", done.stderr


@pytest.mark.parametrize(
    "attempt",
    [
        "open('/etc/passwd')",
        "os.open('/tmp/new', os.O_CREAT | os.O_WRONLY)",
        "os.listdir('/')",
        "os.remove('/tmp/new')",
        "socket.socket()",
        "socket.create_connection(('127.0.0.1', 9))",
        "os.fork()",
        "os.execv('/bin/true', ['true'])",
        "subprocess.run(['true'])",
        "os.kill(os.getppid(), 0)",
        "os.kill(other, 0)",
        "tgkill(other, other, 0)",
        "resource.prlimit(other, resource.RLIMIT_NOFILE)",
        "resource.prlimit(other, resource.RLIMIT_NOFILE, (3, 3))",
        "fcntl.fcntl(handle, fcntl.F_SETOWN, other)",
        "fcntl.fcntl(handle, fcntl.F_SETSIG, 9)",
        "fcntl.fcntl(handle, fcntl.F_SETFL, os.O_ASYNC)",
        "fcntl.lockf(handle, fcntl.LOCK_SH)",
        "os.setuid(0)",
        "os.pipe()",
        "os.memfd_create('a')",
        "os.stat('/etc/passwd')",
        "mmap.mmap(-1, 2**20, mmap.MAP_SHARED | mmap.MAP_ANONYMOUS)",
        "mmap.mmap(-1, 2**20, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | 0x100)",  # MAP_GROWSDOWN
    ],
)
def test_what_it_cannot_do(attempt: str, victim: int) -> None:
    done = shut_in(
        f"""
try:
    {attempt}
except OSError as error:
    print("refused", error.errno)
""",
        victim,
    )
    assert done.stdout.startswith("refused"), done.stderr


def test_what_it_can_do() -> None:
    done = shut_in("""
data = handle.read(4)
results = []
threads = [threading.Thread(target=lambda: results.append(sum(range(1000)))) for _ in range(3)]
for thread in threads: thread.start()
for thread in threads: thread.join()
time.sleep(0.01)
mmap.mmap(-1, 2**20, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)[:3] = b"abc"
for kind in (mmap.MAP_SHARED, mmap.MAP_PRIVATE): mmap.mmap(handle.fileno(), 4096, kind, mmap.PROT_READ)
print(data[1:4], len(results), os.getuid() != 0 and os.geteuid() != 0)
""")
    assert done.stdout == "b'ELF' 3 True\n", done.stderr


def test_what_it_can_do_to_itself() -> None:
    done = shut_in("""
caught = []
signal.signal(signal.SIGUSR1, lambda *_: caught.append("signal"))
signal.raise_signal(signal.SIGUSR1)
tgkill(os.getpid(), threading.get_native_id(), signal.SIGUSR1)
for process in (0, os.getpid()):
    resource.prlimit(process, resource.RLIMIT_NOFILE, (60, 60))
print(*caught, os.lseek(os.dup(handle.fileno()), 0, os.SEEK_END) > 0, flush=True)
os.abort()
""")
    assert done.stdout == "signal signal True\n", done.stderr
    assert -done.returncode == signal.SIGABRT


def test_threads_that_ran_before_are_shut_in_too() -> None:
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            """
import threading
from facetell.video import sandbox
gate, said = threading.Event(), []
def late():
    gate.wait()
    try:
        open("/etc/passwd")
    except OSError:
        said.append("refused")
thread = threading.Thread(target=late)
thread.start()
sandbox.enter(300)
gate.set()
thread.join()
print(*said)
""",
        ],
        capture_output=True,
        text=True,
    )
    assert done.stdout == "refused\n", done.stderr


def test_memory_is_bounded() -> None:
    done = shut_in("""
try:
    bytearray(400 * 2**20)
except MemoryError:
    print("refused")
""")
    assert done.stdout == "refused\n"


def test_processor_time_is_bounded_from_now_on() -> None:
    done = shut_in("""
sandbox.limit_processor(0.5)
while True: pass
""")
    assert -done.returncode == 24  # SIGXCPU


def test_the_users_own_limits_stay_where_they_are_lower() -> None:
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            """
import resource
from facetell.video import sandbox
resource.setrlimit(resource.RLIMIT_DATA, (2**30, 2**30))
resource.setrlimit(resource.RLIMIT_CPU, (20, 20))
missing = sandbox.enter(2000)
sandbox.limit_processor(60)
print(missing, resource.getrlimit(resource.RLIMIT_DATA)[0] >> 20, resource.getrlimit(resource.RLIMIT_CPU))
sandbox.limit_processor(5)
print(resource.getrlimit(resource.RLIMIT_CPU)[0] < 10)
""",
        ],
        capture_output=True,
        text=True,
    )
    assert done.stdout == "[] 1024 (19, 20)\nTrue\n", done.stderr


def test_a_platform_without_them_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandbox.sys, "platform", "darwin")
    monkeypatch.setattr(sandbox, "_drop_rights", lambda: True)
    monkeypatch.setattr("resource.setrlimit", lambda *_: None)
    assert sandbox.enter(300) == [sandbox.MEMORY, sandbox.SYSTEM]
