"""
Runs the driver in this process's children and kills one at the n-th step that changes the disk or starts a program.

The driver's code is untouched but for `detach`, so that one process does the carrier's part and the worker's: its steps
are counted where they leave Python, in functions of `os` and `subprocess` and in the built-in `open`.
One line of JSON on stdin per run, one on stdout per answer. Forking is what makes hundreds of kills affordable.
"""

import importlib.util
import json
import os
import shutil  # noqa: F401  looks at the functions of os when it is imported: before they are replaced
import signal
import subprocess
import sys
import tarfile  # noqa: F401  loaded once, not in every child
import urllib.request  # noqa: F401  the same
from pathlib import Path

COUNTED = ("write", "replace", "rename", "symlink", "mkdir", "unlink", "rmdir", "fsync", "fchmod", "ftruncate")
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC


class Counter:
    """Counts steps; at the chosen one the process is gone."""

    def __init__(self, kill_at, torn):
        self.kill_at = kill_at
        self.torn = torn
        self.count = 0
        self.trace = []

    def install(self, driver):
        driver.open = self.counted_file(open)
        for name in COUNTED:
            setattr(os, name, self.counted(name, getattr(os, name)))
        os.open = self.counted_open(os.open)
        subprocess.Popen = self.counted_program(subprocess.Popen)

    def step(self, name, first, second=""):
        self.trace.append([name, place_of(first), place_of(second)])
        self.count += 1
        if self.count == self.kill_at:
            os.kill(os.getpid(), signal.SIGKILL)

    def counted(self, name, function):
        def wrapper(*args, **kwargs):
            if self.torn and name == "write" and self.count + 1 == self.kill_at:
                function(args[0], bytes(args[1])[: len(args[1]) // 2])
            if not self.torn or name == "write":
                dir_fd = kwargs.get("dir_fd")
                first = f"{place_of(dir_fd)}/{args[0]}" if dir_fd is not None else args[0]
                self.step(name, first, args[1] if name in ("replace", "rename") else "")
            return function(*args, **kwargs)

        return wrapper

    def counted_open(self, function):
        def wrapper(path, flags, *args, **kwargs):
            if flags & WRITING and not self.torn:
                self.step("open", path)
            return function(path, flags, *args, **kwargs)

        return wrapper

    def counted_file(self, function):
        def wrapper(path, mode="r", *args, **kwargs):
            if set(mode) & set("wax+") and not self.torn:
                self.step("open", path)
            return function(path, mode, *args, **kwargs)

        return wrapper

    def counted_program(self, program):
        counter = self

        class Popen(program):
            def __init__(self, argv, *args, **kwargs):
                if not counter.torn:
                    counter.step("start", argv[0])
                super().__init__(argv, *args, **kwargs)

        return Popen


def place_of(what):
    return str(Path(f"/proc/self/fd/{what}").readlink()) if isinstance(what, int) else str(what)


def load_driver(path):
    spec = importlib.util.spec_from_file_location("driver", path)
    driver = importlib.util.module_from_spec(spec)
    sys.modules["driver"] = driver
    spec.loader.exec_module(driver)
    return driver


def detach_into_this_process(driver):
    """The worker's part follows the carrier's part in one process, so that one count covers both."""

    def detach(task, _log_path):
        reader, writer = os.pipe()
        report = task()
        with os.fdopen(writer, "wb") as file:
            file.write(driver.line_of(report))
        return reader

    driver.detach = detach


def run(driver, order):
    """Return the report and the steps; None where the child was killed."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            counter = Counter(order["kill_at"], order["torn"])
            command = driver.parse_command(order["argv"])
            counter.install(driver)
            report = driver.answer(command)
            with os.fdopen(writer, "w") as file:
                json.dump({"report": report, "trace": counter.trace}, file)
            code = 0
        finally:
            os._exit(code)
    os.close(writer)
    with os.fdopen(reader) as file:
        answer = file.read()
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        return {"report": None}
    return json.loads(answer)


def main():
    driver = load_driver(sys.argv[1])
    detach_into_this_process(driver)
    for line in sys.stdin:
        print(json.dumps(run(driver, json.loads(line))), flush=True)


main()
