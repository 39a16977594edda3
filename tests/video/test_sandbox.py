"""What a process that has shut itself in can no longer do."""

import subprocess
import sys

import pytest

from facetell.video import sandbox

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the bars are Linux's")

PREPARE = """
import ctypes, mmap, os, socket, subprocess, sys, threading, time
from facetell.video import sandbox
handle = open(sys.executable, "rb")
missing = sandbox.enter(300)
"""


def shut_in(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", PREPARE + code], capture_output=True, text=True)


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
        "os.setuid(0)",
        "os.pipe()",
        "os.memfd_create('a')",
    ],
)
def test_what_it_cannot_do(attempt: str) -> None:
    done = shut_in(f"""
try:
    {attempt}
except OSError as error:
    print("refused", error.errno)
""")
    assert done.stdout.startswith("refused"), done.stderr


def test_what_it_can_do() -> None:
    done = shut_in("""
data = handle.read(4)
results = []
threads = [threading.Thread(target=lambda: results.append(sum(range(1000)))) for _ in range(3)]
for thread in threads: thread.start()
for thread in threads: thread.join()
time.sleep(0.01)
mmap.mmap(-1, 2**20)[:3] = b"abc"
print(data[1:4], len(results), os.getuid() != 0 and os.geteuid() != 0)
""")
    assert done.stdout == "b'ELF' 3 True\n", done.stderr


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


def test_a_platform_without_them_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandbox.sys, "platform", "darwin")
    monkeypatch.setattr(sandbox, "_drop_rights", lambda: True)
    monkeypatch.setattr("resource.setrlimit", lambda *_: None)
    assert sandbox.enter(300) == [sandbox.MEMORY, sandbox.SYSTEM]
