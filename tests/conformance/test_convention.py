"""Conventions: each is judged in its own terms, and a scale that is another one's deviates."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np
import pytest
from fast import fast

import conformance
from conformance import Convention, Trace
from conformance.implementations import MalformedError, NotRunError
from conformance.implementations.convention import ConventionError, Given
from conformance.model.problem import SCALES, Problem
from conformance.model.results_file import read, write_results

ACTIVATIONS = {
    "tanh": (np.tanh, lambda a: 1 - np.tanh(a) ** 2),
    "identity": (lambda a: a, np.ones_like),
}


class Net:
    """tanh, identity and the squared error, written for whatever convention it is asked for."""

    name = "net"

    def __init__(self, factor: float = 1.0, **convention: Any) -> None:
        self.convention = Convention(**convention)
        self.factor = factor

    def run(self, p: Given) -> Any:
        c, one = self.convention, p.X.dtype.type(1)
        X, Y = (np.atleast_2d(M) for M in (p.X, p.Y))
        X, Y = (M.T if c.columns and not c.vectors else M for M in (X, Y))
        n, L = len(X), len(p.W)
        W = [M.T if c.transposed else M for M in p.W]
        if c.bias == "absorbed first":
            W, b = [M[1:] for M in W], [M[:1] for M in W]
        elif c.bias == "absorbed":
            W, b = [M[:-1] for M in W], [M[-1:] for M in W]
        else:
            b = [np.reshape(v, (1, -1)) for v in p.b] or [
                np.zeros((1, M.shape[1]), p.dtype) for M in W
            ]
        A: list[Any] = []
        Z = [X]
        for M, v, s in zip(W, b, p.sigma, strict=True):
            A.append(Z[-1] @ M + v)
            Z.append(ACTIVATIONS[s][0](A[-1]))
        sums = {"mean": n, "half": 2 * n, "sum": 1, "half-sum": 2}
        sums |= {"mean-over-all": n * Y.shape[1], "half-over-all": 2 * n * Y.shape[1]}
        loss = ((Z[-1] - Y) ** 2).sum() / p.X.dtype.type(sums[c.scale])
        G = 2 * (Z[-1] - Y) / p.X.dtype.type(sums[c.scale]) * p.X.dtype.type(self.factor)
        after = n if c.example_delta and c.scale not in ("sum", "half-sum") else 1
        G = G * p.X.dtype.type(after)
        delta: list[Any] = [None] * L
        for l in reversed(range(L)):
            delta[l] = G * ACTIVATIONS[p.sigma[l]][1](A[l])
            G = delta[l] @ W[l].T
        dW = [z.T @ d / (one * after) for z, d in zip(Z, delta, strict=False)]
        db = [d.sum(axis=0, keepdims=True) / (one * after) for d in delta]

        def laid(M: Any, v: Any) -> Any:
            whole = {"absorbed": [M, v], "absorbed first": [v, M]}.get(c.bias, [M])
            return np.vstack(whole).T if c.transposed else np.vstack(whole)

        rows = [[M.T if c.columns else M for M in of] for of in (A, Z[1:], delta)]
        if c.vectors and c.one_example:
            rows = [[M.ravel() for M in of] for of in rows]
        found = dict(zip(("A", "Z", "delta"), rows, strict=True))
        found |= {"dW": [laid(*of) for of in zip(dW, db, strict=True)], "loss": loss}
        if c.bias == "separate":
            found["db"] = [v.T if c.columns else v for v in db]
        return found


def network(dtype: str = "float64", bias: bool = True, n: int = 7) -> Problem:
    rng = np.random.default_rng(11)
    shapes = [(4, 3), (3, 3), (3, 2)]
    W = {l: rng.normal(size=(a + bias, b)).astype(dtype) for l, (a, b) in enumerate(shapes, 1)}
    X, Y = (rng.normal(size=(n, d)).astype(dtype) for d in (4, 2))
    sigma = {1: "tanh", 2: "tanh", 3: "identity"}
    return Problem(W, X, Y, sigma, "mean_squared_error", bias, 0.1)


def judged(net: Any, bias: bool = True, dtype: str = "float64", n: int = 7) -> Any:
    return conformance.check_problem(network(dtype, bias, n), net)


LAYOUTS = [
    {"columns": c, "transposed": t, "bias": b}
    for c, t, b in product(
        (False, True), (False, True), ("separate", "absorbed", "absorbed first", "none")
    )
]


@pytest.mark.parametrize(
    "layout", fast(LAYOUTS, *LAYOUTS[::5]), ids=lambda d: "-".join(str(v) for v in d.values())
)
def test_every_layout_is_judged_in_its_own_terms(layout: dict[str, Any]) -> None:
    each = product(SCALES, (False, True), (("float64", True), ("float32", False)))
    for scale, example_delta, (dtype, bias) in each:
        net = Net(scale=scale, example_delta=example_delta, **layout)
        found = judged(net, bias and layout["bias"] != "none", dtype)
        assert found["summary"]["verdict"] == "conforms", found["summary"]["message"]


@pytest.mark.parametrize("vectors", [False, True])
@pytest.mark.parametrize("columns", [False, True])
def test_one_example_at_a_time(vectors: bool, columns: bool) -> None:
    found = judged(Net(one_example=True, vectors=vectors, columns=columns, scale="half"))
    assert found["summary"]["verdict"] == "conforms", found["summary"]["message"]
    assert {"row", "repeat"} <= {r["gate"] for of in found["results"] for r in of["records"]}


@pytest.mark.parametrize("declared", SCALES)
@pytest.mark.parametrize("made", SCALES)
def test_another_scale_than_the_declared_one_deviates(declared: str, made: str) -> None:
    """One layer, three examples, two outputs: all five differ."""
    rng = np.random.default_rng(3)
    p = Problem({1: rng.normal(size=(3, 2))}, rng.normal(size=(3, 3)), rng.normal(size=(3, 2)),
                {1: "identity"}, "mean_squared_error", False, 0.1)  # fmt: skip
    sums = {"mean": 3, "half": 6, "sum": 1, "half-sum": 2, "mean-over-all": 6, "half-over-all": 12}
    net = Net(scale=declared, factor=sums[declared] / sums[made])
    found = conformance.check_problem(p, net)
    assert found["summary"]["verdict"] == (
        "conforms" if sums[declared] == sums[made] else "deviates"
    )


def test_a_wrong_scale_by_one_rounding_too_many_is_seen() -> None:
    found = judged(Net(factor=1 + 1e-12))
    assert found["summary"]["verdict"] == "deviates"


def test_the_name_of_a_mistake_is_found_in_another_convention_too() -> None:
    """Twice the gradient, of a loss that is declared to be a sum."""
    found = judged(Net(scale="sum", columns=True, factor=2))
    texts = {f["text"] for r in found["results"] for f in r["diagnosis"]}
    assert any("factor 2" in t for t in texts), texts


class Partly(Net):
    """Returns what it has."""

    def __init__(self, kept: tuple[str, ...], change: Any = None, **convention: Any) -> None:
        super().__init__(**convention)
        self.kept, self.change = kept, change

    def run(self, p: Given) -> Any:
        found = {k: v for k, v in super().run(p).items() if k in self.kept}
        return found if self.change is None else self.change(found, p)


def test_Z_without_its_last_layer() -> None:
    def fused(found: dict[str, Any], p: Given) -> Any:
        return {**found, "Z": found["Z"][:-1]}

    found = judged(Partly(("A", "Z", "delta", "dW", "db"), fused))
    (row,) = found["implementations"]
    assert found["summary"]["exit_code"] == 0, found["summary"]["message"]
    assert "Z of the last layer" in row["reason"]
    assert all(r["not_returned"] == ["W_new", "loss", "Z_L"] for r in found["results"])
    assert not any(
        r["quantity"] == "Z" and r["layer"] == 3 for of in found["results"] for r in of["records"]
    )


FORMS: dict[str, Any] = {
    "None for Z": lambda f, p: {**f, "Z": None},
    "with Z_0": lambda f, p: {**f, "Z": [p.X, *f["Z"]]},
    "lists of lists": lambda f, p: {k: [M.tolist() for M in v] for k, v in f.items()},
    "dicts from 1": lambda f, p: {k: dict(enumerate(v, 1)) for k, v in f.items()},
    "dicts from 0": lambda f, p: {k: dict(enumerate(v)) for k, v in f.items()},
    "numbered": lambda f, p: {f"{k}{l}": M for k, v in f.items() for l, M in enumerate(v, 1)},
    "None before": lambda f, p: {k: [None, *v] for k, v in f.items()},
    "a Trace": lambda f, p: Trace(**{k: dict(enumerate(v, 1)) for k, v in f.items() if k != "db"}),
}


@pytest.mark.parametrize("form", FORMS)
def test_what_it_returns_may_have_many_forms(form: str) -> None:
    kept = ("Z", "delta", "dW", "db")
    bias = "none" if form == "a Trace" else "separate"
    net = Partly(kept if bias == "separate" else kept[:3], FORMS[form], bias=bias)
    found = judged(net, bias=form != "a Trace")
    assert found["summary"]["exit_code"] == 0, found["summary"]["message"]


def test_tensors_of_torch() -> None:
    torch = pytest.importorskip("torch")
    change: Any = lambda f, p: {k: [torch.from_numpy(M) for M in v] for k, v in f.items()}  # noqa: E731
    assert judged(Partly(("dW", "db"), change))["summary"]["exit_code"] == 0


def test_tuples_and_names_of_its_own() -> None:
    change: Any = lambda f, p: (f["db"], "what not", f["dW"])  # noqa: E731
    net = Partly(("dW", "db"), change, returns=("db", "_", "dW"))
    assert judged(net)["summary"]["exit_code"] == 0
    change = lambda f, p: {"grad": f["dW"], "grad_b": f["db"], "epoch": 3}  # noqa: E731
    net = Partly(("dW", "db"), change, returns={"dW": "grad", "db": "grad_b"})
    assert judged(net)["summary"]["exit_code"] == 0


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda f, p: f["dW"], 'it returned a list; expected a Trace, a dict, or Convention(returns=("dW", "db"))'),
        (lambda f, p: {"grads": f["dW"]}, "it returned a dict of grads; expected some of A, Z, delta"),
        (lambda f, p: {"dW": f["dW"]}, 'it returned dW without db; expected both, or bias="none".'),
        (lambda f, p: {**f, "dW": f["dW"][:1]}, "dW has 1 layers; expected 3, one a layer."),
        (lambda f, p: {**f, "dW": [M.T for M in f["dW"]]}, "dW_1 has shape (3, 4); expected (4, 3), by its convention."),
        (lambda f, p: {**f, "db": ["x"] * 3}, "db_1 is no array of numbers"),
        (lambda f, p: {**f, "dW": 3.0}, "dW is a float; expected a list of 3, one a layer."),
        (lambda f, p: {**f, "db": [v[:, :-1] for v in f["db"]]}, "db_1 has shape (1, 2); expected (1, 3), by its convention."),
    ],
)  # fmt: skip
def test_what_has_another_form_is_told(change: Any, why: str) -> None:
    found = judged(Partly(("dW", "db"), change))
    assert {r["verdict"] for r in found["results"]} == {"deviates"}
    assert all(why in r["message"] for r in found["results"]), found["results"][0]["message"]


def test_a_tuple_of_another_length_is_told() -> None:
    change: Any = lambda f, p: (f["db"],)  # noqa: E731
    found = judged(Partly(("dW", "db"), change, returns=("db", "dW")))
    assert "it returned 1 of them; expected 2: db, dW." in found["results"][0]["message"]


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"bias": "apart"}, "unknown bias 'apart'. Did you mean"),
        ({"scale": "means"}, "unknown scale 'means'. Did you mean 'mean'?"),
        ({"dtypes": ("float16",)}, "unknown dtypes 'float16'"),
        ({"returns": ("dw",)}, "unknown returns 'dw'. "),
        ({"returns": "dW"}, "expected a tuple of names"),
        ({"dtypes": ()}, "dtypes is empty"),
    ],
)
def test_a_convention_that_is_none_is_refused(options: dict[str, Any], why: str) -> None:
    with pytest.raises(ConventionError) as e:
        Convention(**options)
    assert why in str(e.value)


def problem(**more: Any) -> Problem:
    of: dict[str, Any] = {
        "W": {1: np.ones((3, 2))}, "X": np.ones((4, 2)), "Y": np.eye(2)[[0, 1, 1, 0]],
        "sigma": {1: "tanh"}, "loss": "mean_squared_error", "bias": True, "alpha": 0.1,
    }  # fmt: skip
    return Problem(**{**of, **more})


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"dtypes": ("float32",)}, "it computes in float32"),
        ({"bias": "none"}, "it has no bias"),
        ({"returns": ("dW",)}, "no gradient of the biases"),
    ],
)
def test_what_it_does_not_have_is_not_run(options: dict[str, Any], why: str) -> None:
    with pytest.raises(NotRunError, match=why):
        Convention(**options).problem(problem())


def test_labels_are_the_places_of_the_ones() -> None:
    p = replace(problem(), loss="cross_entropy")
    given = Convention(labels=True).given(p)
    assert given.Y.tolist() == [0, 1, 1, 0]
    with pytest.raises(NotRunError, match="it takes classes"):
        Convention(labels=True).problem(replace(p, Y=np.full((4, 2), 0.5)))


def test_labels_are_of_the_losses_that_have_classes_or_of_those_that_are_named() -> None:
    """Else the squared error of the same code, which takes Y as it is, would be given classes."""
    p = problem()
    assert p.loss == "mean_squared_error"
    assert Convention(labels=True).given(p).Y.tolist() == p.Y.tolist()
    assert Convention(labels=(p.loss,)).given(p).Y.tolist() == [0, 1, 1, 0]
    with pytest.raises(ConventionError):
        Convention(labels="cross_entropy")


def test_a_bias_gradient_of_another_dtype_is_named() -> None:
    p = problem()
    c = Convention(returns=("dW", "db"))
    dW, db = np.zeros(p.weights(1).shape), np.zeros((1, p.W[1].shape[1]), "f")
    with pytest.raises(MalformedError, match="db_1 has dtype float32; expected float64"):
        c.trace(p, ([dW], [db]))


def test_its_own_rate() -> None:
    assert Convention(alpha=0.25).problem(problem()).alpha == 0.25


def test_what_it_is_given_may_be_written_to() -> None:
    p = problem()
    given = Convention().given(p)
    given.W[0][:] = 7
    given.X[:] = 7
    assert p.W[1].max() == p.X.max() == 1


def test_a_scalar_loss_may_be_a_number() -> None:
    p = problem()
    assert (
        Convention().trace(p, {"dW": [np.ones((2, 2))], "db": [np.ones(2)], "loss": 1.5}).loss
        == 1.5
    )
    with pytest.raises(MalformedError, match="db_1 has shape"):
        Convention().trace(p, {"dW": [np.ones((2, 2))], "db": [np.ones((2, 1, 1))]})


def test_an_object_whose_convention_is_none_is_not_run() -> None:
    class Odd:
        name, convention = "odd", {"columns": True}

        def run(self, p: Any) -> Any: ...

    found = judged(Odd())
    assert "expected a conformance.Convention" in found["implementations"][0]["reason"]
    assert found["summary"]["exit_code"] == 2


def test_a_problem_of_ones_own_has_the_scale_of_the_notes() -> None:
    with pytest.raises(conformance.ProblemError, match="a Convention of the implementation's"):
        conformance.check_problem(problem(scale="sum"), "refbp")


class Unordered(Net):
    """Right, with the last digits of ∂L/∂W another time by time."""

    deterministic: Any = False
    times = 0

    def run(self, p: Given) -> Any:
        self.times += 1
        found = super().run(p)
        found["dW"] = [np.nextafter(M, M + self.times // 2 % 2) for M in found["dW"]]
        return found


def test_what_is_not_deterministic_may_say_so() -> None:
    found = judged(Unordered())
    (result,) = found["results"]
    (repeat,) = [r for r in result["records"] if r["gate"] == "repeat"]
    assert found["summary"]["verdict"] == "conforms", found["summary"]["message"]
    assert (repeat["error"] > 0, repeat["tolerance"], repeat["ratio"]) == (True, "inf", 0.0)
    held = Unordered()
    held.deterministic = True
    found = judged(held)
    assert found["summary"]["verdict"] == "deviates"
    assert "not the same the second time" in found["results"][0]["message"]


def test_what_is_not_deterministic_is_judged_each_time(tmp_path: Any) -> None:
    class Wrong(Unordered):
        def run(self, p: Given) -> Any:
            found = super().run(p)
            found["delta"] = [d * (1 + 1e-9) for d in found["delta"]]
            return found

    found = judged(Wrong())
    assert found["summary"]["verdict"] == "deviates"
    write_results(tmp_path / "results.json", judged(Unordered()))
    assert read(tmp_path / "results.json")["summary"]["verdict"] == "conforms"


# --- what it says that it can do -------------------------------------------------------------------


class Able(Net):
    def __init__(self, **convention: Any) -> None:
        super().__init__(**convention)
        self.activations: Any = ("tanh",)
        self.losses: Any = {"mean_squared_error": ("identity", "tanh")}


def counted(net: Any) -> tuple[int, str]:
    found = conformance.run(net, jobs=0)
    of = found["summary"]["verdicts"]["net"]
    assert of["conforms"] == sum(of.values()), found["summary"]["message"]
    return of["conforms"], found["summary"]["message"]


@pytest.mark.parametrize(
    "options",
    fast(
        [
            {},
            {"dtypes": ("float64",)},
            {"one_example": True},
            {"one_example": True, "dtypes": ("float64",)},
            {"bias": "none", "dtypes": ("float32",)},
        ],
        {"one_example": True, "dtypes": ("float64",)},
    ),
    ids=str,
)
def test_networks_are_made_for_what_it_can_do(options: dict[str, Any]) -> None:
    n, message = counted(Able(**options))
    assert n >= 60
    assert message.endswith("net was judged on all that it says it can do.")


@pytest.mark.slow
def test_fixed_widths_and_depths() -> None:
    net = Able()
    net.widths = (3, 4, 2)  # type: ignore[attr-defined]
    assert counted(net)[0] >= 60
    net = Able()
    net.depths = 2  # type: ignore[attr-defined]
    assert counted(net)[0] >= 60


def test_what_was_not_judged_is_told() -> None:
    net = Able()
    net.activations = ("tanh", "mish")
    found = conformance.run(net, select="activation=tanh,family=typical", jobs=0)
    assert "of what net says that it can do, not judged: mish" in found["summary"]["message"]


@pytest.mark.parametrize(
    ("of", "value", "why"),
    [
        ("activations", ["tahn"], "unknown activation 'tahn'. Did you mean 'tanh'?"),
        ("losses", ["mse"], "unknown loss 'mse'"),
        ("activations", 3, "expected a tuple of names"),
        ("widths", (3,), "expected (d_0, …, d_L)"),
        ("widths", "3-4", "expected (d_0, …, d_L)"),
        ("depths", (0,), "expected numbers of layers"),
    ],
)
def test_what_there_is_not_is_told(of: str, value: Any, why: str) -> None:
    net = Able()
    setattr(net, of, value)
    found = conformance.run(net, jobs=0)
    assert why in found["implementations"][0]["reason"]
    assert found["summary"]["exit_code"] == 2
