"""Files that mean no good, what they get for it, and what their owner is told."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent, indent
from typing import NamedTuple

RIGHT = (Path(__file__).parents[2] / "examples" / "student.py").read_text(encoding="utf-8")
FORWARD = "    A, Z = [], [X]\n"
BACKWARD = "    L = len(W)\n"
UPDATE = "\n\ndef update(W, dW, alpha):\n    return [w - alpha * d for w, d in zip(W, dW)]\n"
ALL, NOTHING, NO_BACKWARD, NO_FORWARD = [1, 1, 1, 1], [0, 0, 0, 0], [1, 1, 0, 0], [0, 0, 1, 1]
SECONDS = 2  # for one network, where it would take for ever
HANGS = ("loops when imported", "loops", "sleeps through signals", "stops itself")


class Hostile(NamedTuple):
    """A file; its points for A, Z, δ, ∂L/∂W of 1 each; what its owner is told."""

    source: str
    points: list[int]
    told: str


def with_(old: str, new: str) -> str:
    """The right file with something else in it."""
    assert RIGHT.count(old) == 1, old
    return RIGHT.replace(old, new)


def in_forward(code: str) -> str:
    """The right file with something more at the beginning of forward_pass."""
    return with_(FORWARD, indent(dedent(code).strip(), "    ") + "\n" + FORWARD)


def in_backward(code: str) -> str:
    """The right file with something more at the beginning of backward_prop."""
    return with_(BACKWARD, indent(dedent(code).strip(), "    ") + "\n" + BACKWARD)


def on_top(code: str, source: str = RIGHT) -> str:
    """A file with something more at its beginning."""
    return dedent(code).strip() + "\n" + source


def _where_answers_are_written(data: str) -> str:
    return f"""
    import os
    for f in range(3, 20):
        try:
            os.write(f, {data})
        except OSError:
            pass
    """


HOSTILE = {
    "returns NaN": Hostile(
        with_("Z[l].T @ delta[l]", "float('nan') * W[l]"), [1, 1, 1, 0], "It holds NaN or infinity"
    ),
    "returns 1e308": Hostile(
        with_("Z[l].T @ delta[l]", "1e308 + W[l]"), [1, 1, 1, 0], "∂L/∂W_1 is wrong"
    ),
    "prints megabytes": Hostile(in_forward("print('x' * 10**7)"), ALL, "xxx"),
    "prints a hundred megabytes": Hostile(in_forward("print('x' * 10**8)"), ALL, "xxx"),
    "writes more than a file may hold": Hostile(
        in_forward("open('big', 'wb').write(bytes(10**8))"), NO_FORWARD, "File too large"
    ),
    "changes W": Hostile(in_backward("W[0] += 1"), ALL, "wrote to its input: W_1"),
    "changes the list": Hostile(in_backward("Z.append(Z.pop(0))"), [1, 1, 0.5, 0], "δ_1 is wrong"),
    "exits when imported": Hostile(
        on_top("import sys; sys.exit(0)"), NOTHING, "cannot be imported: SystemExit"
    ),
    "exits": Hostile(
        in_backward("import sys; sys.exit(0)"), NO_BACKWARD, "backward_prop raised SystemExit"
    ),
    "ends at once when imported": Hostile(
        on_top("import os; os._exit(0)"),
        NOTHING,
        "importing student.py ended its process (exit code 0)",
    ),
    "ends at once": Hostile(
        in_backward("import os; os._exit(0)"),
        NO_BACKWARD,
        "backward_prop ended its process (exit code 0)",
    ),
    "raises": Hostile(
        in_backward("raise KeyError('k')"), NO_BACKWARD, "backward_prop raised KeyError: 'k'"
    ),
    "raises what cannot be shown": Hostile(
        in_backward("""
            class E(Exception):
                def __str__(self):
                    raise self
            raise E
        """),
        NO_BACKWARD,
        "backward_prop ended its process",
    ),
    "says much when it raises": Hostile(
        in_backward("raise ValueError('y' * 10**7)"), NO_BACKWARD, "yyyy"
    ),
    "recurses": Hostile(
        in_backward("return backward_prop(W, A, Z, Y, sigma, loss)"), NO_BACKWARD, "RecursionError"
    ),
    "loops when imported": Hostile(
        on_top("while True: pass"),
        NOTHING,
        f"importing student.py gave no answer in {SECONDS + 1} s",
    ),
    "loops": Hostile(
        in_backward("while True: pass"), NO_BACKWARD, f"backward_prop gave no answer in {SECONDS} s"
    ),
    "sleeps through signals": Hostile(
        in_backward("""
            import signal, time
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            time.sleep(600)
        """),
        NO_BACKWARD,
        f"gave no answer in {SECONDS} s",
    ),
    "stops itself": Hostile(
        in_backward("import os, signal; os.kill(os.getpid(), signal.SIGSTOP)"),
        NO_BACKWARD,
        f"gave no answer in {SECONDS} s",
    ),
    "eats memory": Hostile(in_backward("x = bytearray(2**40)"), NO_BACKWARD, "MemoryError"),
    "crashes": Hostile(
        in_backward("import ctypes; ctypes.string_at(0)"),
        NO_BACKWARD,
        "backward_prop ended its process (exit code 139)",
    ),
    "forges an answer by printing": Hostile(
        in_forward("""print('{"A": [], "troubles": []}')"""), ALL, "troubles"
    ),
    "forges answers where they are written": Hostile(
        on_top(_where_answers_are_written("""b'{"A": [[["0x0p0"]]]}\\n' * 99""")),
        NOTHING,
        "wrote more than one line",
    ),
    "forges one answer": Hostile(
        in_forward(
            dedent(_where_answers_are_written("""b'{"A": [[["0x0p0"]]], "Z": [[[1]]]}\\n'"""))
            + "os._exit(0)"
        ),
        NOTHING,
        "A is missing",
    ),
    "writes nonsense where answers are written": Hostile(
        on_top(_where_answers_are_written("b'[' * 50000 + b'\\n'")), NOTHING, "is no line of JSON"
    ),
    "never ends its answer": Hostile(
        on_top("""
            import os
            for f in range(3, 20):
                try:
                    while True:
                        os.write(f, b"[" * 50000)
                except OSError:
                    pass
        """),
        NOTHING,
        "its answer is longer than",
    ),
    "closes everything": Hostile(
        in_backward("import os; os.closerange(0, 99)"),
        NO_BACKWARD,
        "backward_prop ended its process",
    ),
    "imports refbp": Hostile(on_top("import refbp"), NOTHING, "refbp may not be used here"),
    "imports torch": Hostile(on_top("import torch"), NOTHING, "torch may not be used here"),
    "imports the truth": Hostile(
        in_backward("from conformance.truth.network import Network"),
        NO_BACKWARD,
        "conformance may not be used here",
    ),
    "changes NumPy": Hostile(
        on_top("""
            import numpy as np
            np.isfinite = np.array = np.asarray = lambda *a, **k: 0
        """),
        NOTHING,
        "missing",
    ),
    "changes what is built in": Hostile(
        on_top("import builtins; builtins.isinstance = lambda *a: True"), NOTHING, "missing"
    ),
    "reads its parent's memory": Hostile(
        in_backward("import os; open(f'/proc/{os.getppid()}/mem', 'rb').read(10)"),
        NO_BACKWARD,
        "Error",
    ),
    "kills its parent": Hostile(
        in_backward("import os, time; os.kill(os.getppid(), 9); time.sleep(99)"),
        NO_BACKWARD,
        "backward_prop",
    ),
    "kills its group": Hostile(
        in_backward("import os; os.killpg(0, 9)"),
        NO_BACKWARD,
        "backward_prop ended its process (signal SIGKILL)",
    ),
    "forks a little bomb": Hostile(
        in_backward("""
            import os, time
            for _ in range(10):
                if not os.fork():
                    time.sleep(99)
        """),
        ALL,
        "",
    ),
    "forks, and both answer": Hostile(in_backward("import os; os.fork()"), ALL, ""),
    "deletes itself": Hostile(
        on_top(
            "import os, contextlib\nwith contextlib.suppress(OSError): os.remove(__file__)",
            in_backward("os._exit(1)"),
        ),
        NO_BACKWARD,
        "backward_prop ended its process (exit code 1)",
    ),
    "is a folder afterwards": Hostile(
        on_top(
            "import os, contextlib as c\n"
            "with c.suppress(OSError): os.remove(__file__); os.mkdir(__file__)",
            in_backward("os._exit(1)"),
        ),
        NO_BACKWARD,
        "backward_prop ended its process (exit code 1)",
    ),
    "removes its folder": Hostile(
        on_top(
            "import os, shutil; shutil.rmtree(os.path.dirname(__file__), True)",
            in_backward("os._exit(1)"),
        ),
        NO_BACKWARD,
        "backward_prop ended its process (exit code 1)",
    ),
    "says it in colours": Hostile(
        in_backward(r"""
            raise ValueError("\x1b[31mred\x1b]0;title\x07 \u202eback <b>bold</b> `x`\x00")
        """),
        NO_BACKWARD,
        "ValueError: red back <b>bold</b> `x` (line",
    ),
    "returns an array of its own kind": Hostile(
        with_("Z[l].T @ delta[l]", "__import__('numpy').matrix(W[l])"),
        [1, 1, 1, 0],
        "∂L/∂W_1 is wrong",
    ),
    "returns a list of its own kind": Hostile(
        in_backward("""
            class Own(list):
                def __len__(self):
                    raise SystemExit
            return Own(), Own()
        """),
        NO_BACKWARD,
        "backward_prop ended its process",
    ),
    "has no backward_prop": Hostile(
        RIGHT.replace("def backward_prop", "def backwards"),
        NO_BACKWARD,
        "backward_prop is not defined in student.py",
    ),
    "is empty": Hostile("", NOTHING, "forward_pass is not defined in student.py"),
    "is no Python": Hostile("def forward_pass(:\n", NOTHING, "cannot be imported: SyntaxError"),
    "is no text": Hostile("\x00\udcff", NOTHING, "cannot be imported"),
}

APART = {  # as another user; FOLDER is that of the grade
    "kills all it can": Hostile(in_backward("import os; os.kill(-1, 9)"), ALL, ""),
    "kills every process by number": Hostile(
        in_backward("""
            import os
            for p in os.listdir("/proc"):
                if p.isdigit() and int(p) != os.getpid():
                    try:
                        os.kill(int(p), 9)
                    except OSError:
                        pass
        """),
        ALL,
        "",
    ),
    "forks a bomb": Hostile(
        in_backward("import os\nwhile True: os.fork()"), NO_BACKWARD, "BlockingIOError"
    ),
    "starts threads without end": Hostile(
        in_backward("""
            import threading, time
            while True:
                threading.Thread(target=time.sleep, args=(9,), daemon=True).start()
        """),
        NO_BACKWARD,
        "can't start new thread",
    ),
    "writes to the grade": Hostile(
        in_backward("open('FOLDER/grade.json', 'w')"), NO_BACKWARD, "PermissionError"
    ),
    "writes to its own file": Hostile(
        in_backward("open(__file__, 'w')"), NO_BACKWARD, "PermissionError"
    ),
    "reads what is root's": Hostile(
        in_backward("open('FOLDER/secret')"), NO_BACKWARD, "PermissionError"
    ),
    "reads the memory of others": Hostile(
        in_backward("""
            import glob, os
            read = 0
            for p in glob.glob("/proc/[0-9]*/mem"):
                try:
                    if os.stat(p).st_uid != os.getuid():
                        open(p, "rb")
                        read += 1
                except OSError:
                    pass
            assert read == 0
        """),
        ALL,
        "",
    ),
    "becomes root": Hostile(
        in_backward("import os; os.setuid(0)"), NO_BACKWARD, "backward_prop raised"
    ),
    "has our group": Hostile(
        in_backward("import os; assert 0 not in (os.getgid(), *os.getgroups())"), ALL, ""
    ),
}
