"""Test vectors: what is published is proven, what is answered is judged, and nothing is passed over."""

from __future__ import annotations

import json
import math
import random
import shutil
import subprocess
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from flint import arb, arb_mat
from jsonschema import Draft202012Validator

import conformance
from conformance.cases.catalogue import FAMILIES, Case
from conformance.cases.profiles import cases
from conformance.commands.main import main
from conformance.commands.vectors import export as exporting
from conformance.commands.vectors.bounds import bounds
from conformance.commands.vectors.export import names, vector
from conformance.implementations import implementation
from conformance.judge.mistakes.loop import STEPS, Loop, State
from conformance.judge.subject import Subject
from conformance.judge.tolerance import LAMBDA
from conformance.model.exchange import line, problem_from, problem_json, trace_json
from conformance.model.problem import QUANTITIES, Problem
from conformance.model.results_file import read
from conformance.truth.balls import Enclosure, matrix, working_precision
from conformance.truth.definitions import ACTIVATIONS, ROW_WISE, loss_at

ROOT = Path(__file__).parents[2]
SCHEMAS = Path(conformance.__file__).parent / "commands/vectors/schema"
VALID = {
    n: Draft202012Validator(json.loads((SCHEMAS / f"{n}.schema.json").read_text("utf-8")))
    for n in ("vector", "answer", "index")
}
CASES = {c.id: c for c in cases("exhaustive")}
FEW = "family=square,activation=tanh"  # two cases
IDS = ["square/tanh/L3/n7/float64/w4-4", "square/tanh/L3/n7/float32/w4-4"]


def vectors(*args: Any) -> Result:
    result = CliRunner().invoke(main, ["vectors", *map(str, args)], prog_name="conformance")
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def refused(*args: Any) -> str:
    result = vectors(*args)
    assert (result.exit_code, result.stdout, result.stderr.count("\n")) == (2, "", 1), result.output
    return result.stderr.removeprefix("conformance: ").strip()


# --- the schemas ----------------------------------------------------------------------------------


def test_the_schemas_are_schemas_and_say_what_everything_is() -> None:
    for name, validator in VALID.items():
        schema: Any = validator.schema
        Draft202012Validator.check_schema(schema)
        assert schema["$id"] == f"urn:conformance:{name}:1"
        for member, of in schema.get("properties", {}).items():
            assert of.get("description"), (name, member)


@pytest.mark.slow
def test_every_file_is_as_its_schema_has_it(quick: Path) -> None:
    index = json.loads((quick / "index.json").read_text("utf-8"))
    VALID["index"].validate(index)
    assert [e["id"] for e in index["files"]] == [c.id for c in cases("quick")]
    problems = (quick / "problems.jsonl").read_text("utf-8").splitlines()
    for entry, problem in zip(index["files"], problems, strict=True):
        found = json.loads((quick / entry["file"]).read_text("utf-8"))
        VALID["vector"].validate(found)
        case = CASES[entry["id"]]
        assert found["problem"] == json.loads(problem) == problem_json(case.problem(), case.id)
        assert found["why"] == entry["why"] == FAMILIES[case.family].why
    assert {p.name for p in (quick / "schema").iterdir()} == {p.name for p in SCHEMAS.iterdir()}
    assert len(list((quick / "vectors").iterdir())) == len(index["files"])


# --- the enclosures -------------------------------------------------------------------------------


def floats(x: Any) -> Any:
    """Hexadecimal as floats, in lists of lists."""
    if isinstance(x, list):
        return [floats(y) for y in x]
    return None if x is None else float.fromhex(x)


def flat(x: Any) -> list[Any]:
    return [z for y in x for z in flat(y)] if isinstance(x, list) else [x]


def with_ones(Z: Any, bias: bool) -> Any:
    if not bias:
        return Z
    rows = [[Z[i, j] for j in range(Z.ncols())] for i in range(Z.nrows())]
    return arb_mat([[*row, arb(1)] for row in rows])


def linked(name: str, A: Any, G: Any) -> Any:
    """G ⊙ σ'(A), or G times the Jacobian of each row of softmax or log_softmax."""
    n, m = A.nrows(), A.ncols()
    if name not in ROW_WISE:
        of = [g * ACTIVATIONS[name](a).first for g, a in zip(G.entries(), A.entries(), strict=True)]
        return arb_mat(n, m, of)
    rows = []
    for i in range(n):
        s = [1 / sum((A[i, k] - A[i, j]).exp() for k in range(m)) for j in range(m)]
        by = s if name == "softmax" else [arb(1)] * m
        rows.append(
            [
                sum(G[i, j] * by[j] * ((1 if j == k else 0) - s[k]) for j in range(m))
                for k in range(m)
            ]
        )
    return arb_mat(rows)


def activated(name: str, A: Any) -> Any:
    if name not in ROW_WISE:
        return arb_mat(A.nrows(), A.ncols(), [ACTIVATIONS[name](a).value for a in A.entries()])
    rows = [[A[i, j] for j in range(A.ncols())] for i in range(A.nrows())]
    return arb_mat([ROW_WISE[name](row) for row in rows])


def exactly(p: Problem) -> dict[str, Any]:
    """Every quantity in the working precision there is: the notes' equations, on balls, with no tape."""
    L, n = p.depth, len(p.X)
    W = {l: matrix(M) for l, M in p.W.items()}
    Y, A, delta = matrix(p.Y), {}, {}
    Z: dict[int, Any] = {0: matrix(p.X)}
    for l in range(1, L + 1):
        A[l] = with_ones(Z[l - 1], p.bias) * W[l]
        Z[l] = activated(p.sigma[l], A[l])
    terms = [loss_at(p.loss, z, y) for z, y in zip(Z[L].entries(), Y.entries(), strict=True)]
    G = arb_mat(n, Y.ncols(), [t.first / n for t in terms])
    for l in range(L, 0, -1):
        delta[l] = linked(p.sigma[l], A[l], G)
        G = delta[l] * matrix(p.weights(l)).transpose()
    dW = {l: with_ones(Z[l - 1], p.bias).transpose() * delta[l] for l in delta}
    new = {l: W[l] - dW[l] * arb(p.alpha) for l in W}
    del Z[0]
    loss = sum((t.value for t in terms), arb(0)) / n
    return {"A": A, "Z": Z, "delta": delta, "dW": dW, "W_new": new, "loss": loss}


def pairs(expected: Any, exact: dict[str, Any]) -> Any:
    """(lower, upper, rounded, ball) of every number."""
    for q in QUANTITIES:
        for l, of in enumerate(expected[q], start=1):
            ball: arb_mat = exact[q][l]
            columns = (flat(floats(of[k])) for k in ("lower", "upper", "rounded"))
            yield from zip(*columns, ball.entries(), strict=True)
    loss = expected["loss"]
    yield (*(floats(loss[k]) for k in ("lower", "upper", "rounded")), exact["loss"])


EXTREME = ("underflow", "saturating", "large", "kinks", "zero-weights", "confident", "one-hot")


def proven() -> list[Case]:
    hard = [
        c
        for c in cases("standard")
        if c.family in EXTREME
        and c.activation in ("tanh", "relu", "gelu", "sigmoid", "softplus", "identity", "hardswish")
    ]
    return [c for c in cases("quick") if c.batch <= 7 and c.depth <= 3] + hard


def test_the_exact_value_lies_between_lower_and_upper_and_rounded_is_nearest() -> None:
    """At 20,000 bits, where a loss of accuracy in the tails cannot hide anything."""
    numbers = sure = 0
    for case in proven():
        expected = vector(case)["expected"]
        with working_precision(20_000):
            for low, high, nearest, ball in pairs(expected, exactly(case.problem())):
                assert arb(low) <= ball, (case.id, low, ball)
                assert ball <= arb(high), (case.id, high, ball)
                numbers += 1
                if nearest is not None:
                    sure += 1
                    for other in (math.nextafter(nearest, s) for s in (-math.inf, math.inf)):
                        assert abs(ball - arb(nearest)) <= abs(ball - arb(other)), case.id
    assert numbers > 10_000
    assert sure > 0.95 * numbers  # the others are subnormal


def test_exact_numbers_are_exact_as_fractions() -> None:
    """No ball is needed where every number is a fraction."""
    for case in (c for c in cases("standard") if c.family == "integers" and c.batch < 64):
        p, found = case.problem(), vector(case)
        assert found["flags"][0] == "exact"
        A = np.array([[Fraction(x) for x in r] for r in p.operand(p.X).tolist()]) @ np.array(
            [[Fraction(x) for x in r] for r in p.W[1].tolist()]
        )
        first = found["expected"]["A"][0]
        for name in ("lower", "upper", "rounded"):
            assert (np.array(floats(first[name])) == A).all()
        for of in (
            *(l for q in QUANTITIES for l in found["expected"][q]),
            found["expected"]["loss"],
        ):
            assert of["lower"] == of["upper"] == of["rounded"]
            assert set(flat(of["tolerance"])) == {"0x0.0p+0"}


def random_enclosures(count: int) -> Enclosure:
    rng = random.Random(7)
    rows = []
    for _ in range(count):
        hi = math.ldexp(rng.uniform(-1, 1), rng.choice([0, 40, 1000, -1000, -1021, -1060, -1070]))
        hi = rng.choice([hi, math.ldexp(1, rng.randint(-1074, 1000)), 0.0, -hi])
        ulp = math.ulp(hi)
        lo = rng.choice([0.0, 0.5 * ulp, -0.5 * ulp, -0.25 * ulp, rng.uniform(-0.5, 0.5) * ulp])
        rad = rng.choice([0.0, 0.0, 5e-324, abs(lo) * 2.0**-52, ulp * 2.0**-30, ulp, abs(hi)])
        rows.append((hi, lo, rad))
    return Enclosure(*(np.array(c) for c in zip(*rows, strict=True)))


@pytest.mark.parametrize("exact", [False, True])
def test_bounds_as_fractions(exact: bool) -> None:
    e = random_enclosures(20_000)
    b = bounds(e, exact)
    lost = Fraction(0) if exact else Fraction(5e-324)
    for i in range(len(e.hi)):
        middle, off = Fraction(e.hi[i]) + Fraction(e.lo[i]), Fraction(e.rad[i]) + lost
        assert Fraction(b.lower[i]) <= middle - off
        assert Fraction(b.upper[i]) >= middle + off
        if b.sure[i]:  # Fraction to float rounds to nearest, ties to even
            reach = off if exact or e.rad[i] or e.lo[i] else off / 2
            assert float(middle - reach) == float(middle + reach) == b.rounded[i]
    tight = np.nextafter(b.lower, np.inf), np.nextafter(b.upper, -np.inf)
    rad = e.rad + (0 if exact else 5e-324)
    wide = (b.upper - b.lower) > 2 * rad + 4 * np.spacing(np.abs(e.hi) + rad)
    assert not wide.any()
    assert all(np.isfinite(t).all() for t in tight)
    assert 0.3 < b.sure.mean() < 0.95


def test_beyond_the_range_nothing_is_claimed() -> None:
    most = np.finfo(float).max
    hi, lo = np.array([np.inf, -np.inf, np.nan, most]), np.zeros(4)
    b = bounds(Enclosure(hi, lo, np.array([0, 0, np.inf, 0.0])), exact=False)
    assert b.lower.tolist() == [-np.inf] * 3 + [math.nextafter(most, 0)]
    assert b.upper.tolist() == [np.inf] * 4
    assert b.sure.tolist() == [False] * 3 + [True]


def test_a_zero_is_never_negative() -> None:
    b = bounds(Enclosure(np.array([-0.0]), np.array([0.0]), np.array([0.0])), exact=True)
    assert all(math.copysign(1, x[0]) == 1 for x in b[:3])


def test_a_number_beyond_the_range_is_a_vector_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    case = CASES["typical/identity/L1/n1/float64"]
    p = case.problem()
    X, Y = p.X * 1e300, p.Y
    monkeypatch.setattr(Subject, "problem", Problem(p.W, X, Y, p.sigma, p.loss, p.bias, p.alpha))
    found = vector(case)
    VALID["vector"].validate(found)
    loss = found["expected"]["loss"]
    assert loss == {"lower": "-inf", "upper": "inf", "rounded": None, "tolerance": "inf"}


def test_the_tolerance_is_that_of_the_end_to_end_gate() -> None:
    case = CASES["typical/tanh/L2/n2/float32/bias"]
    subject = Subject(case)
    within = subject.spread("", subject.amend(()))
    found = vector(case)["expected"]
    for q in QUANTITIES:
        for l, of in enumerate(found[q], start=1):
            assert floats(of["tolerance"]) == (LAMBDA * within.layers(q)[l]).tolist()
    assert floats(found["loss"]["tolerance"]) == float(LAMBDA * within.loss)


@pytest.mark.parametrize(
    ("id", "flags"),
    [
        ("typical/tanh/L1/n1/float64", []),
        ("typical/relu/L1/n1/float64", []),
        ("integers/identity/L1/n2/float64/bias", ["exact"]),
        ("kinks/relu/L1/n7/float64", ["kink", "subnormal"]),
        ("kinks/elu/L1/n7/float64", ["subnormal"]),
        ("kinks/identity>identity+mean_absolute_error/L1/n7/float64", ["kink"]),
        ("underflow/tanh>identity+mean_squared_error/L2/n7/float32", ["subnormal"]),
        ("zero-weights/leaky_relu>identity+mean_squared_error/L2/n2/float64", ["kink"]),
    ],
)
def test_flags(id: str, flags: list[str]) -> None:
    assert vector(CASES[id])["flags"] == flags


# --- export ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def quick(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("vectors") / "quick"
    done = vectors("export", folder)
    assert (done.exit_code, done.stdout) == (
        0,
        f"{len(cases('quick'))} vectors: {folder}/index.json\n",
    )
    return folder


@pytest.fixture
def few(tmp_path: Path) -> Path:
    assert (
        vectors("export", tmp_path / "few", "--profile", "standard", "--select", FEW).exit_code == 0
    )
    return tmp_path / "few"


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_names_are_safe_and_no_two_are_one() -> None:
    every = cases("exhaustive")
    found = names(every)
    assert len(found) == len(every) == len({n.lower() for n in found.values()})
    assert all(
        len(n) < 140 and n.replace("-", "").replace("_", "").isalnum() for n in found.values()
    )
    assert found[IDS[0]] == "square_tanh_L3_n7_float64_w4-4"


def test_the_same_again_is_the_same_bytes_and_what_is_stale_goes(few: Path) -> None:
    before = contents(few)
    assert vectors("export", few, "--profile", "standard", "--select", FEW).exit_code == 0
    assert contents(few) == before
    (few / "answers.jsonl").write_text("mine")
    assert (
        vectors(
            "export", few, "--profile", "standard", "--select", FEW + ",dtype=float32"
        ).exit_code
        == 0
    )
    after = contents(few)
    assert set(before) - set(after) == {"vectors/square_tanh_L3_n7_float64_w4-4.json"}
    assert after["answers.jsonl"] == b"mine"


def test_what_is_not_ours_is_left_alone(tmp_path: Path) -> None:
    expected = "Expected a new or empty one, or one with the index.json of vectors."
    full, file = tmp_path / "full", tmp_path / "file"
    full.mkdir()
    (full / "index.json").write_text('{"format": "something else"}')
    file.write_text("mine")
    for path, what in ((full, "not empty, and no folder of vectors"), (file, "no folder")):
        assert refused("export", path) == f"cannot write {path}: it is {what}. {expected}"
    (full / "index.json").write_text("no JSON")
    assert "not empty" in refused("export", full)
    assert sorted(contents(tmp_path)) == ["file", "full/index.json"]
    under = file / "below"
    assert refused("export", under) == f"cannot write {under}: Not a directory."


def test_an_index_cannot_have_other_files_removed(few: Path) -> None:
    (few.parent / "mine.json").write_text("mine")
    index = json.loads((few / "index.json").read_text("utf-8"))
    index["files"] = [{"file": "../mine.json"}, {"file": "vectors/../../mine.json"}, {"file": 3}, 4]
    (few / "index.json").write_text(json.dumps(index))
    assert vectors("export", few, "--profile", "standard", "--select", FEW).exit_code == 0
    assert (few.parent / "mine.json").read_text() == "mine"


def test_a_failure_leaves_nothing_or_what_was_there(
    few: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = contents(few)
    real = exporting.vector

    def fails(case: Case) -> Any:
        if case.dtype == "float32" and case.depth == 2:
            raise ImportError("there is no such package")
        return real(case)

    monkeypatch.setattr(exporting, "vector", fails)
    wanted = ("--profile", "standard", "--select", "activation=tanh,batch=1,family=typical")
    for folder in (few, tmp_path / "new" / "folder"):
        done = vectors("export", folder, *wanted)
        assert (done.exit_code, done.stdout) == (2, "")
        assert done.stderr.splitlines()[-1] == (
            "conformance: typical/tanh/L2/n1/float32 cannot be made: there is no such package. Install "
            "'.[conformance]', or --select others."
        )
    assert contents(few) == before
    assert not (tmp_path / "new").exists()


def test_what_there_is_not_to_export(tmp_path: Path) -> None:
    assert refused("export", tmp_path / "v", "--profile", "quik").startswith(
        "unknown profile 'quik'."
    )
    assert refused("export", tmp_path / "v", "--select", "depth").startswith("cannot read 'depth'")
    assert not (tmp_path / "v").exists()


# --- check ----------------------------------------------------------------------------------------


def answers(ids: list[str]) -> list[dict[str, Any]]:
    """refbp's."""
    refbp = implementation("refbp")
    return [{"id": i, **trace_json(refbp.run(CASES[i].problem()))} for i in ids]


def checked(folder: Path, said: list[Any], *options: str) -> Result:
    path = folder.parent / "answers.jsonl"
    path.write_text("".join(x if isinstance(x, str) else line(x) for x in said))
    return vectors("check", folder, path, *options)


@pytest.mark.slow
def test_refbps_answers_conform(quick: Path, tmp_path: Path) -> None:
    path, html, results = (tmp_path / n for n in ("answers.jsonl", "r.html", "r.json"))
    path.write_text("".join(map(line, answers([c.id for c in cases("quick")]))))
    done = vectors("check", quick, path, "--report", html, "--json", results)
    assert done.exit_code == 0, done.output
    *_, table, _, written, report, _, verdict = done.stdout.splitlines()
    count = len(cases("quick"))
    assert table.split()[:3] == [path.name, str(count), "·"]
    assert verdict == f"conforms: {count} results of {path}: all conform."
    assert (report, written) == (f"report: {html}", f"results: {results}")
    found = read(results)
    assert {g["gate"] for r in found["results"] for g in r["records"]} == {
        "step",
        "end-to-end",
        "exact",
    }
    again = CliRunner().invoke(
        main, ["report", str(results), "--html", str(tmp_path / "again.html")]
    )
    assert again.exit_code == 0
    assert html.read_bytes() == (tmp_path / "again.html").read_bytes()


def test_answers_in_a_folder(few: Path) -> None:
    folder = few.parent / "answers"
    folder.mkdir()
    for i, answer in enumerate(answers(IDS)):
        (folder / f"{i}.json").write_text(json.dumps(answer, indent=2))
    assert vectors("check", few, folder).exit_code == 0
    (folder / "2.json").write_text("{")
    done = vectors("check", few, folder)
    assert done.exit_code == 2
    assert f"could not be used: cannot read {folder}/2.json: it is not JSON (" in done.stdout


def wrong(answer: dict[str, Any], **change: Any) -> dict[str, Any]:
    return {**answer, **change}


def test_what_is_wrong_deviates(few: Path, tmp_path: Path) -> None:
    one, other = answers(IDS)
    done = checked(few, [wrong(one, loss="0x1p+3"), other], "--json", str(tmp_path / "r.json"))
    assert done.exit_code == 1
    assert done.stdout.endswith(f"\nresults: {tmp_path}/r.json\n\ndeviates: 1 deviates.\n")
    assert "conformance show" not in done.stdout  # it could not run an answer again
    (bad,) = [r for r in read(tmp_path / "r.json")["results"] if r["verdict"] == "deviates"]
    assert bad["case"] == IDS[0]
    assert bad["blame"] == [{"quantity": "loss", "layer": 3}]


def test_what_loses_digits_is_inaccurate(few: Path, tmp_path: Path) -> None:
    """tanh by exponentials, in the answer to a vector of each dtype: there is no other run to ask for."""

    def naive(s: State, l: int) -> Any:
        p, q = np.exp(s.A[l]), np.exp(-s.A[l])
        return (p - q) / (p + q)

    loop = Loop({**STEPS, "Z": naive})
    said = [{"id": i, **trace_json(loop.run(CASES[i].problem()))} for i in IDS]
    done = checked(few, said, "--json", str(tmp_path / "r.json"))
    found = {r["case"]: r["verdict"] for r in read(tmp_path / "r.json")["results"]}
    assert set(found.values()) <= {"inaccurate", "conforms"}
    assert "inaccurate" in found.values()
    assert done.exit_code == 0
    assert "Stable: np.tanh(a)." in done.stdout
    assert checked(few, said, "--strict").exit_code == 1


@pytest.mark.parametrize(
    ("change", "verdict", "message"),
    [
        ({"Z": []}, "deviates", "Z has 0 entries; expected 3, for the layers 1 to 3."),
        ({"A": [[["0x1p+0"]]] * 3}, "deviates", "A_1 has shape (1, 1); expected (7, 4)."),
        ({"version": 2}, "deviates", "the answer is of version 2; expected 1."),
        ({"gradient": 1}, "deviates", "the answer has 'gradient'; expected of A, "),
        ({"unsupported": "no tanh."}, "not-run", "not run: no tanh."),
        ({"error": "out of paper"}, "error", "it says: out of paper"),
    ],
)
def test_what_an_answer_may_be(
    change: dict[str, Any], verdict: str, message: str, few: Path, tmp_path: Path
) -> None:
    one, other = answers(IDS)
    done = checked(few, [wrong(one, **change), other], "--json", str(tmp_path / "r.json"))
    result = read(tmp_path / "r.json")["results"][0]
    assert (result["case"], result["verdict"]) == (IDS[0], verdict)
    assert result["message"].startswith(message)
    assert done.exit_code == {"not-run": 0, "deviates": 1, "error": 2}[verdict]


def test_what_is_not_answered_is_never_green(few: Path) -> None:
    one, other = answers(IDS)
    done = checked(few, [one])
    assert done.exit_code == 2
    assert done.stdout.endswith(
        "not-run: 1 results of {0}: all conform; not run: 1 of 2 cases of {0}; ".format(
            few.parent / "answers.jsonl"
        )
        + f"1 of 2 vectors have no answer ({IDS[1]}).\n"
    )
    assert checked(few, [one], "--partial").exit_code == 0
    assert checked(few, [], "--partial").exit_code == 2  # nothing ran
    both = checked(few, [wrong(other, loss="0x1p+9")])
    assert both.exit_code == 2
    assert both.stdout.endswith(
        "deviates: 1 deviates; not run: 1 of 2 cases of {}; ".format(few.parent / "answers.jsonl")
        + f"1 of 2 vectors have no answer ({IDS[0]}).\n"
    )


def test_what_could_not_be_used_is_told_and_loses_nothing_else(few: Path) -> None:
    one, other = answers(IDS)
    path = few.parent / "answers.jsonl"
    said = [one, "{no JSON}\n", "\n", {"id": "of/nothing"}, [1], {"A": 1}, other]
    done = checked(few, said)
    assert done.exit_code == 2
    assert [l.removeprefix("could not be used: ") for l in done.stdout.splitlines()[:5]] == [
        f"{path}, line 2: '{{no JSON}}' is no line of JSON (Expecting property name enclosed in double "
        "quotes: line 1 column 2 (char 1)).",
        f"{path}, line 4: there is no vector 'of/nothing' in {few}.",
        f'{path}, line 5: the answer is no object; expected {{"id": "…", …}}.',
        f'{path}, line 6: the answer has no id; expected {{"id": "…", …}}.',
        "",
    ]
    assert done.stdout.splitlines()[-1] == (
        f"not-run: 2 results of {path}: all conform; 4 of the answers and vectors could not be used."
    )
    many = checked(few, [one, other, *["{\n"] * 7])
    assert "\nand 2 more.\n" in many.stdout


def test_two_answers_to_one_vector(few: Path) -> None:
    one, other = answers(IDS)
    done = checked(few, [one, other, one], "--json", str(few.parent / "r.json"))
    path = few.parent / "answers.jsonl"
    assert done.exit_code == 2
    (result,) = [r for r in read(few.parent / "r.json")["results"] if r["verdict"] == "error"]
    assert result["message"] == (
        f"it is answered twice, at {path}, line 1 and {path}, line 3; expected one answer."
    )


def test_bytes_that_are_no_text(few: Path) -> None:
    path = few.parent / "answers.jsonl"
    one, other = answers(IDS)
    path.write_bytes(
        b"\xef\xbb\xbf" + line(one).encode() + b'{"id": "\xff"}\r\n' + line(other).encode()
    )
    done = vectors("check", few, path)
    assert done.exit_code == 2
    assert done.stdout.startswith(
        f"could not be used: {path}, line 2: it is not UTF-8 text (invalid start byte).\n"
    )
    assert "2 results" in done.stdout


def changed(path: Path, change: Callable[[Any], Any]) -> None:
    found = json.loads(path.read_text("utf-8"))
    change(found)
    path.write_text(json.dumps(found))


def test_a_vector_that_is_not_what_its_id_stands_for(few: Path) -> None:
    path = few / "vectors/square_tanh_L3_n7_float64_w4-4.json"
    before = path.read_bytes()
    for change in (
        lambda v: v["problem"]["X"][0].__setitem__(0, "0x1.0000000000001p+0"),
        lambda v: v.__setitem__("version", 2),
        lambda v: v.__delitem__("problem"),
    ):
        changed(path, change)
        done = checked(few, answers(IDS), "--partial")
        assert done.exit_code == 2
        assert done.stdout.startswith(
            f"could not be used: {path} holds other numbers than {IDS[0]} stands for; it was exported by "
            "another version: export again.\n"
        )
        path.write_bytes(before)
    path.unlink()
    done = checked(few, answers(IDS))
    assert done.stdout.startswith(
        f"could not be used: cannot read {path}: No such file or directory.\n"
    )
    assert done.exit_code == 2


def test_an_id_that_is_no_longer_there(few: Path) -> None:
    changed(few / "index.json", lambda i: i["files"][0].__setitem__("id", "square/tanh/L99"))
    one, other = answers(IDS)
    done = checked(few, [wrong(one, id="square/tanh/L99"), other])
    assert done.exit_code == 2
    assert done.stdout.startswith(
        "could not be used: there is no case square/tanh/L99 here; it was exported by another version: "
        "export again.\n"
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda i: i.__setitem__("version", 2),
         "it is of version 2; this program reads 1. Export the vectors again."),
        (lambda i: i.__setitem__("format", "x"), "it is no index of vectors (format 'conformance-vectors')."),
        (lambda i: i.__setitem__("files", []), "it is not as index.schema.json has it."),
        (lambda i: i.__delitem__("profile"), "it is not as index.schema.json has it."),
        (lambda i: i["files"][0].__setitem__("file", "../x.json"), "it is not as index.schema.json has it."),
        (lambda i: i["files"].append(i["files"][0]), f"{IDS[0]} is listed twice."),
    ],
)  # fmt: skip
def test_an_index_that_cannot_be_read(change: Any, message: str, few: Path) -> None:
    changed(few / "index.json", change)
    said = refused("check", few, few / "problems.jsonl")
    assert said == f"cannot read {few / 'index.json'}: {message}"


def test_files_that_cannot_be_read(few: Path, tmp_path: Path) -> None:
    nowhere = tmp_path / "nowhere"
    assert (
        refused("check", nowhere, few)
        == f"cannot read {nowhere}/index.json: No such file or directory."
    )
    assert refused("check", few, nowhere) == f"cannot read {nowhere}: No such file or directory."
    results = tmp_path / "r.json"
    assert "have one name" in refused("check", few, few, "--json", results, "--report", results)
    (few / "index.json").write_bytes(b"\xff")
    assert "it is not UTF-8 text" in refused("check", few, few)


# --- in C -----------------------------------------------------------------------------------------

FLAGS = ["-std=c99", "-O2", "-Wall", "-Wextra", "-Werror", "-ffp-contract=off"]
needs_cc = pytest.mark.skipif(shutil.which("cc") is None, reason="there is no C compiler (cc) here")


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    folder = tmp_path_factory.mktemp("c")

    def made(name: str, *more: str) -> Path:
        out = folder / name
        source = ROOT / "examples/c/backprop.c"
        subprocess.run(["cc", *FLAGS, *more, source, "-o", out, "-lm"], check=True)
        return out

    return made


def answered(program: Path, folder: Path, out: Path) -> Path:
    with (folder / "problems.jsonl").open() as problems, out.open("w") as f:
        subprocess.run([program], stdin=problems, stdout=f, check=True)
    return out


@pytest.mark.slow
@needs_cc
def test_the_program_in_c_conforms(compiled: Any, quick: Path, tmp_path: Path) -> None:
    path = answered(compiled("backprop"), quick, tmp_path / "answers.jsonl")
    said = [json.loads(l) for l in path.read_text().splitlines()]
    for answer in said:
        VALID["answer"].validate(answer)
    does = [a["id"] for a in said if "unsupported" not in a]
    assert {CASES[i].dtype for i in does} == {"float64", "float32"}
    assert len(does) > 30
    done = vectors("check", quick, path)
    assert done.exit_code == 0, done.stdout
    assert f"all conform; not run: {len(said) - len(does)} of {len(said)} cases of " in done.stdout


@pytest.mark.slow
@needs_cc
def test_a_fault_in_the_program_in_c_is_found_and_named(
    compiled: Any, quick: Path, tmp_path: Path
) -> None:
    path = answered(compiled("faulty", "-DFAULT"), quick, tmp_path / "answers.jsonl")
    done = vectors("check", quick, path, "--json", tmp_path / "r.json")
    assert done.exit_code == 1
    bad = [r for r in read(tmp_path / "r.json")["results"] if r["verdict"] == "deviates"]
    assert len(bad) > 20
    assert all({s["quantity"] for s in r["blame"]} == {"delta"} for r in bad)
    assert "the derivative is taken at the output" in " ".join(done.stdout.split())


@needs_cc
def test_the_program_in_c_is_an_implementation(compiled: Any) -> None:
    name = f"cmd:{compiled('backprop')}"
    found = conformance.run(name, select="activation=mish", jobs=0)
    assert found["summary"]["exit_code"] == 2  # it has no mish: nothing ran
    found = conformance.run(name, profile="standard", select="family=trained-digits", jobs=0)
    assert found["summary"]["message"] == f"6 results of {name}: all conform."


@needs_cc
@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[]", "expected { at '[]"),
        ("{}", "expected \" at '}"),
        ('{"id": "it', "expected the end of a string at '"),
        ('{"id":"it","dtype":"float64","sigma":["relu"],"loss":"mean_squared_error","bias":true,'
         '"alpha":1,"W":[[[1],[2]]],"X":[[1,2]],"Y":[[1]]}', "expected a problem that is whole, and whose "
         "shapes fit"),
        ('{"weights":1}', "expected a member of a problem at '1}"),
    ],
)  # fmt: skip
def test_the_program_in_c_refuses_what_is_no_problem(text: str, said: str, compiled: Any) -> None:
    done = subprocess.run([compiled("backprop")], input=text, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"backprop: line 1: {said}")


# --- the documentation ----------------------------------------------------------------------------


def test_the_vector_in_the_documentation_is_one() -> None:
    text = (ROOT / "docs/vectors.md").read_text("utf-8")
    (shown,) = [b for b in text.split("```json\n")[1:] if b.startswith('{\n "version"')]
    found = json.loads(shown.partition("```")[0])
    VALID["vector"].validate(found)
    assert found == vector(CASES[found["id"]])
    assert problem_from(found["problem"]).depth == 1
