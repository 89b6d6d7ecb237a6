"""Files that let others do their work: worth nothing, or told to the grader, and to nobody else."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import pytest
from hostile import RIGHT, in_forward, on_top
from test_grading import (
    PLAIN,
    QUICK,
    _a_place_for_rubrics,  # noqa: F401   a fixture for all tests here
    graded,
    rubric,
    run,
    said,
    scores,
)

import conformance
from conformance.commands.grading import submission
from conformance.commands.grading.formats import FORMATS
from conformance.commands.grading.grade import grade
from conformance.commands.grading.submission import File, Submission
from conformance.commands.grading.suspicions import suspicions
from conformance.implementations.student import HARNESS
from conformance.tools.trouble import RefusedError

ROOT = Path(conformance.__file__).parents[1]

BORROW = """
def forward_pass(W, X, sigma):
    b = borrowed(sigma)
    f = {l + 1: s for l, s in enumerate(sigma)}
    A, Z = b.forward_pass({l + 1: w for l, w in enumerate(W)}, X, f)
    return list(A.values()), list(Z.values())


def backward_prop(W, A, Z, Y, sigma, loss):
    b = borrowed(sigma)
    one = lambda M: {l + 1: m for l, m in enumerate(M)}
    return list(b.backward_prop(one(W), one(A), dict(enumerate(Z)), Y, one(sigma), loss).values())
"""


def borrowing(code: str) -> str:
    """A file whose procedures are those of `borrowed(sigma)`."""
    return dedent(code).strip() + "\n\n" + BORROW


CHEATS = {
    "the globals of σ": borrowing(
        "def borrowed(sigma):\n    return type(sigma[0]).__call__.__globals__['refbp']"
    ),
    "a module of σ's package": borrowing("""
        import sys
        def borrowed(sigma):
            return sys.modules[type(sigma[0]).__module__.partition(".")[0] + ".algorithm"]
    """),
    "import refbp": borrowing("import refbp\ndef borrowed(sigma):\n    return refbp"),
    "import in the function": borrowing("def borrowed(sigma):\n    import refbp\n    return refbp"),
    "__import__": borrowing("def borrowed(sigma):\n    return __import__('ref' + 'bp')"),
    "importlib": borrowing(
        "import importlib\ndef borrowed(sigma):\n    return importlib.import_module('refbp')"
    ),
    "exec": borrowing("""
        def borrowed(sigma):
            exec("import ref" "bp as found", globals())
            return found
    """),
    "eval": borrowing("def borrowed(sigma):\n    return eval('__imp' 'ort__')('refbp')"),
    "gc": borrowing("""
        import gc, types
        def borrowed(sigma):
            return next(m for m in gc.get_objects() if isinstance(m, types.ModuleType)
                        and hasattr(m, "backward_prop") and m.__name__ != "student")
    """),
    "inspect": borrowing("""
        import inspect
        def borrowed(sigma):
            return next(f.frame.f_globals["refbp"] for f in inspect.stack() if "refbp" in f.frame.f_globals)
    """),
    "the frames": on_top("import sys", in_forward("""
        f = sys._getframe()
        while f:
            for x in list(f.f_locals.values()):
                if hasattr(x, "right_forward"):
                    return x.right_forward()
            f = f.f_back
        raise ValueError
    """)),
    "a frame of an exception": borrowing("""
        def borrowed(sigma):
            try:
                sigma[0](1 / 0)
            except ZeroDivisionError as e:
                return e.__traceback__.tb_frame.f_back.f_globals["refbp"]
    """),
    "a process": borrowing("""
        import subprocess, sys
        def borrowed(sigma):
            done = subprocess.run([sys.executable, "-c", "import refbp"], capture_output=True)
            if done.returncode:
                raise ImportError(done.stderr[-200:])
    """),
    "os.system": borrowing("""
        import os, sys
        def borrowed(sigma):
            if os.system(f"{sys.executable} -c 'import refbp'"):
                raise ImportError
    """),
    "torch": borrowing("import torch\ndef borrowed(sigma):\n    return torch"),
    "jax by another way": borrowing("def borrowed(sigma):\n    return __builtins__['__import__']('jax')"),
    "a pickle": borrowing("""
        import pickle
        def borrowed(sigma):
            return pickle.loads(b"crefbp.algorithm\\nbackward_prop\\n.")
    """),
    "getattr": borrowing("""
        def borrowed(sigma):
            return getattr(getattr(type(sigma[0]), "__ca" + "ll__"), "__glo" + "bals__")["refbp"]
    """),
    "what NumPy imports": borrowing("""
        import numpy as np
        def borrowed(sigma):
            return np.lib._npyio_impl.os.sys.modules["refbp.algorithm"]
    """),
    "ctypes of NumPy": borrowing("""
        import numpy as np
        def borrowed(sigma):
            return np.ctypeslib.ctypes.pythonapi.PyImport_ImportModule(b"refbp")
    """),
    "main": borrowing("import __main__\ndef borrowed(sigma):\n    return __main__.main.__globals__['refbp']"),
    "what it was given before": on_top("import os", in_forward("""
        key = os.path.expanduser("~/" + str(hash(X.tobytes())))
        if os.path.exists(key):
            import pickle
            return pickle.load(open(key, "rb"))
        os.environ["KEY"] = key
        raise ValueError
    """)).replace("    L = len(W)\n", """    import pickle
    pickle.dump((A, Z), open(os.environ["KEY"], "wb"))
    L = len(W)
"""),
    "what it was given before it ended": """
import os, pickle
KEPT = os.path.expanduser("~/kept")
def forward_pass(W, X, sigma):
    return pickle.load(open(KEPT, "rb"))
def backward_prop(W, A, Z, Y, sigma, loss):
    with open(KEPT, "wb") as f:
        pickle.dump((A, Z), f)
    os._exit(1)
""",
}  # fmt: skip


@pytest.mark.parametrize("name", CHEATS)
def test_a_cheat_is_worth_nothing_and_is_flagged(name: str) -> None:
    g = graded(CHEATS[name])
    assert scores(g)[:2] == [0, 0]
    assert scores(g)[2:] == ([1, 1] if CHEATS[name].endswith(RIGHT[-99:]) else [0, 0])
    assert g["flags"]
    told = [said(g), FORMATS["text"](g)]
    assert not any(flag in text for flag in g["flags"] for text in told)
    assert json.loads(FORMATS["gradescope"](g))["extra_data"]["flags"] == g["flags"]
    assert json.loads(FORMATS["json"](g))["flags"] == g["flags"]


FOUND = """
import sys, os, numpy
def borrowed(sigma):
    sys.meta_path[:] = [f for f in sys.meta_path if type(f).__name__ != "Guard"]
    for name in [n for n in sys.modules if n.partition(".")[0] == "refbp"]:
        del sys.modules[name]
    import site, glob
    packages = os.path.dirname(os.path.dirname(os.path.realpath(numpy.__file__)))
    sys.path[:0] = [packages, PLACE]
    site.addsitedir(packages)
    import refbp
    return refbp
"""


def test_what_nothing_prevents_is_flagged() -> None:
    """It looks for refbp on the disk, where other users may read it, and takes the guard away."""
    g = graded(borrowing(FOUND.replace("PLACE", repr(str(ROOT)))))
    assert {"line 1: imports sys", "line 1: imports os"} < set(g["flags"])


@pytest.mark.parametrize(
    "source", [RIGHT, PLAIN, "import numpy as np\nfrom math import exp\n" + RIGHT]
)
def test_a_file_that_does_its_own_work_has_no_flag(source: str) -> None:
    assert suspicions(source.encode()) == []


@pytest.mark.parametrize(
    ("code", "flag"),
    [
        ("import numpy.ctypeslib", "imports numpy.ctypeslib"),
        ("from numpy import load", "imports numpy.load"),
        ("from . import x", "imports ..x"),
        ("f = open", "uses open"),
        ("x.__globals__", "uses __globals__"),
        ("x.gi_frame", "uses gi_frame"),
        ("x._os", "uses _os"),
        ("np.sys", "uses sys"),
        ("np.testing._private.x", "uses _private"),
        ("np.testing.runstring(x, {})", "uses runstring"),
        ("from operator import attrgetter", "imports operator.attrgetter"),
        ("string.Formatter()", "uses Formatter"),
        ("typing.get_type_hints(x)", "uses get_type_hints"),
        ("match x:\n    case object(__globals__=g): pass", "uses __globals__"),
        ("y = __file__", "uses __file__"),
        ("y = f'{x}__globals__'", "has the text '__globals__'"),
        ("y = b'import refbp'", "has the text 'import refbp'"),
        ("y = '\\x1b[2Jrefbp'", "has the text '\\x1b[2Jrefbp'"),
        ("y = 'a' * 2 + '" + "a" * 2001 + "'", "has a text of 2,001 letters"),
        (f"y = {list(range(301))}", "has 302 numbers in it: are they answers?"),
    ],
)
def test_what_is_flagged(code: str, flag: str) -> None:
    line = 1 if "numbers" in flag else 3 if code.startswith("match") else 2
    assert suspicions(f"x = 1\n{code}\n".encode()) == [f"line {line}: {flag}"]


def test_what_is_not_flagged() -> None:
    fine = '''
    """A docstring may speak of refbp, or of __globals__."""
    import torch
    class Net:
        def __init__(self):
            super().__init__()
            self._x = 1
    if __name__ == "__main__":
        print(Net.__name__, Net.__doc__)
    '''
    assert suspicions(dedent(fine).encode(), ["torch"]) == []
    assert suspicions(b"def f(:") == suspicions(b"\x00") == []
    assert suspicions(b"x = " + b"1+" * 10**5 + b"1") == ["it is nested too deeply to be read"]
    many = suspicions("\n".join(f"import os{i}" for i in range(30)).encode())
    assert (len(many), many[-1]) == (21, "and 10 more")


def test_flags_are_told_to_whoever_grades(tmp_path: Path) -> None:
    path = tmp_path / "s.py"
    path.write_text("import os\n" + RIGHT)
    rubric(QUICK)
    done = run(path, "--rubric", os.environ["PYTEST_RUBRIC"])
    assert done.stderr == "for the grader alone: line 1: imports os\n"
    assert "imports os" not in done.stdout


def test_the_file_is_asked_by_what_is_copied_alone(tmp_path: Path) -> None:
    """All that the copied modules import of ours is copied; refbp's procedures are not."""
    for name in HARNESS:
        for node in ast.walk(ast.parse((ROOT / name).read_text())):
            if isinstance(node, ast.ImportFrom) and str(node.module).startswith(("refbp", "conf")):
                assert f"{str(node.module).replace('.', '/')}.py" in HARNESS
    assert not any("algorithm" in name or "network" in name for name in HARNESS)
    g = graded(
        """
import sys
raise ValueError(sys.flags.isolated, sys.flags.no_site, [p for p in sys.path if "packages" in p or ROOT in p])
""".replace("ROOT", repr(str(ROOT)))
    )
    assert "ValueError: (1, 1, [])" in said(g)


def test_root_is_refused_unless_it_is_wanted(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(submission, "_as", lambda *a: False)  # no other user can read Python
    file = File("student.py", RIGHT.encode())
    with pytest.raises(
        RefusedError, match=r"^this is root, and no other user .* --isolation none if"
    ):
        grade(file, rubric())
    g = grade(file, rubric(), isolation="none")
    assert (g["score"], g["isolation"]) == (
        4, "a process of its own, as the user of the grader, with network"
    )  # fmt: skip
    (tmp_path / "s.py").write_text(RIGHT)
    done = run(tmp_path / "s.py", "--rubric", os.environ["PYTEST_RUBRIC"])
    assert (done.exit_code, done.stdout) == (2, "")
    done = run(tmp_path / "s.py", "--rubric", os.environ["PYTEST_RUBRIC"], "--isolation", "none")
    assert done.exit_code == 0


def test_no_network_where_the_system_allows_that() -> None:
    code = """
        import socket
        listening = socket.socket()
        listening.bind(("127.0.0.1", 0)); listening.listen()
        names = [name for _, name in socket.if_nameindex()]
        raise ValueError(f"networks: {names}")
    """
    g = graded(in_forward(code))
    user = None if os.geteuid() else 61000
    if not submission._as(user, [*submission.OFFLINE, "true"], {"PATH": os.environ["PATH"]}):
        pytest.skip("this system gives a process no network of its own (unshare --user --net)")
    assert "without network" in g["isolation"]
    assert "ValueError: networks: ['lo']" in said(g)


def test_without_root_it_runs_as_the_same_user_and_says_so(tmp_path: Path) -> None:
    if os.geteuid() == 0:
        code = f"import os; os.setgid(65000); os.setuid(65000); import sys; sys.path[:0] = {sys.path!r}; "
        python = f"/usr/bin/python3.{sys.version_info.minor}"
        if not Path(python).exists():
            pytest.skip("this is root, and there is no Python that others may run")
    else:
        code, python = "import sys; ", sys.executable
    code += "from conformance.commands.main import main; main()"
    done = subprocess.run(
        [python, "-c", code, "grade", str(ROOT / "examples" / "student.py")],
        capture_output=True, text=True, cwd="/", env={"PATH": os.environ["PATH"]},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "as the user of the grader" in done.stdout


def test_the_file_goes_when_it_is_graded() -> None:
    with Submission.of(File("student.py", RIGHT.encode()), rubric()) as s:
        folder = s.path.parent
        assert {p.name for p in folder.iterdir()} == {"harness", "home", "student.py"}
    assert not folder.exists()
