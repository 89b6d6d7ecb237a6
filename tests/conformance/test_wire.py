"""`conformance wire`: other people's networks, whose convention it finds and whose lines it writes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from fast import fast

from conformance.commands.main import main
from conformance.commands.wire.lines import imported, written
from conformance.commands.wire.search import Searched
from conformance.commands.wire.wiring import judged
from conformance.tools.load import load
from conformance.tools.trouble import RefusedError

FOLDER = Path(__file__).parent / "wired"

FOUND = {
    "../../../examples/network.py:Network": (
        "columns=True, transposed=True, one_example=True, scale=\"half\", returns=(\"db\", \"dW\")",
        "net.weights, net.biases = p.W, p.b",
        '["sigmoid"], {"mean_squared_error": "sigmoid"}',
    ),
    "in_place.py:NeuralNetwork": (
        'scale="half-sum"',
        "net.W1, net.W2 = p.W; net.b1, net.b2 = p.b",
        'return {"W_new": [net.W1, net.W2], "b_new": [net.b1, net.b2]}',
        "depths = 2",
    ),
    "dicts.py:Model": (
        "columns=True, transposed=True, example_delta=True",
        '"delta": "dZ"',
        '["relu"], {"binary_cross_entropy": "sigmoid"}',
    ),
    "layers.py:Net": (
        "labels=True",
        '[x.grad_weights for x in net.layers if hasattr(x, "grad_weights")]',
        '["tanh"], {"cross_entropy": "softmax"}',
    ),
    "theta.py:Theta": (
        'transposed=True, bias="absorbed first", returns=("loss", "dW"), dtypes=("float64",)',
        "class Wired(Theta):",
        "depths = 2",
    ),
}  # fmt: skip


def wire(*words: object) -> Any:
    return CliRunner().invoke(main, ["wire", *map(str, words)])


@pytest.mark.slow
@pytest.mark.parametrize("network", FOUND)
def test_the_convention_is_found_and_what_is_written_runs(network: str, tmp_path: Path) -> None:
    output = tmp_path / "glue.py"
    done = wire(FOLDER / network, "--output", output)
    assert done.exit_code == 0, done.output
    for part in FOUND[network]:
        assert part in done.output
    assert "Wired was judged on all that it says it can do." in done.output.splitlines()[-1]
    text = output.read_text("utf-8")
    assert text.rstrip() in done.output
    theirs = FOLDER / network.partition(":")[0]
    (tmp_path / theirs.name).write_text(theirs.read_text("utf-8"), "utf-8")
    again = CliRunner().invoke(
        main, ["run", "--profile", "quick", "--jobs", "0", "--implementation", f"{output}:Wired"]
    )
    assert again.exit_code == 0, again.output


@pytest.mark.slow
def test_a_wrong_one_is_wired_and_deviates() -> None:
    """Of ∂L/∂W_1 nothing is right; the other layer tells the convention."""
    done = wire(FOLDER / "in_place.py:Wrong")
    assert done.exit_code == 1, done.output
    assert 'Convention(scale="half-sum")' in done.output
    assert "new W_1" in done.output


FOREIGN = """
import numpy as np
class Nothing:
    def __init__(self, sizes): self.weights = [np.zeros((a, b)) for a, b in zip(sizes, sizes[1:])]
    def backward(self, x, y): return "nothing"
class Raises:
    def __init__(self, sizes): raise OSError("no disk \\x1b[2J")
class Own:
    def __init__(self):
        self.W1, self.W2 = np.random.randn(2, 3), np.random.randn(3, 1)
    def forward(self, x):
        self.x, self.h = x, np.tanh(x @ self.W1)
        return self.h @ self.W2
    def backward(self, y):
        d = 2 * (self.h @ self.W2 - y) / len(y)
        return [self.x.T @ (d @ self.W2.T * (1 - self.h**2)), self.h.T @ d]
class Up(Own):  # in place, and up the gradient
    def backward(self, y):
        one, two = super().backward(y)
        self.W1 += 0.1 * one
        self.W2 += 0.1 * two
def odd(): return 3
"""


@pytest.fixture
def foreign(tmp_path: Path) -> Path:
    path = tmp_path / "foreign.py"
    path.write_text(FOREIGN, "utf-8")
    return path


def test_widths_of_its_own(foreign: Path) -> None:
    done = wire(f"{foreign}:Own")
    assert done.exit_code == 0, done.output
    assert "widths = (2, 3, 1)" in done.output
    assert 'bias="none"' in done.output
    assert '["tanh"], {"mean_squared_error": "identity"}' in done.output


RIGHT = {
    "OverAll": 'scale="mean-over-all"',
    "HalfOverAll": 'scale="half-over-all"',
    "SumsAndUpdates": 'alpha=0.1, scale="sum"',
    "Momentum": "alpha=0.1",
    "Single": 'dtypes=("float32",)',
    "HalfPromotes": 'dtypes=("float64",)',
    "OptionalTargets": 'returns=("dW", "db")',
    "Property": 'returns=("dW", "db")',
    "Pairs": '"dW": [got[l - 1][0] for l in range(1, len(p.sizes))]',
    "Named": 'net.parameters[f"W{l}"] for l in range(1, len(p.sizes))',
}
WRONG = {
    "SlopeAtTheOutput": "the derivative is taken at the output instead of the pre-activation",
    "LastWeightsBelow": "L3",
    "BiasAveraged": "the bias's gradient is averaged over the batch",
    "BiasNotSummed": "db_1 has shape",
    "LossByThree": "note: its loss is the 'mean-over-all', and its gradient that of the 'mean'.",
    "LossOfTheMean": "the 1/n of the loss is missing in its gradient",
}
NEITHER = {
    "NoBiasGradient": "it has biases, and no gradient of theirs was recognised",
    "ByThree": "its gradient is 1.5 times that of the mean",
    "Asks": "EOFError",
}


def of(name: str) -> Any:
    return wire(f"{FOLDER}/variants.py:{name}")


@pytest.mark.parametrize("name", fast(RIGHT, "SumsAndUpdates"))
def test_a_right_one_conforms_by_what_is_found(name: str) -> None:
    done = of(name)
    assert done.exit_code == 0, done.output
    assert RIGHT[name] in done.output
    assert "one_example" not in done.output
    assert 'bias="none"' not in done.output


@pytest.mark.parametrize("name", fast(WRONG, "BiasNotSummed"))
def test_a_wrong_one_deviates_and_nothing_is_declared_around_the_mistake(name: str) -> None:
    """Neither one example, nor two layers, nor no bias, nor no loss: each would conform."""
    done = of(name)
    assert done.exit_code == 1, done.output
    assert WRONG[name] in done.output
    for around in ("one_example", "depths", "none"):
        assert around not in done.output.partition("def run")[0]


@pytest.mark.parametrize("name", fast(NEITHER, "ByThree", "Asks"))
def test_what_no_convention_can_say_is_told(name: str) -> None:
    done = of(name)
    assert done.exit_code == 2, done.output
    assert NEITHER[name] in done.output


@pytest.mark.slow
def test_where_the_gradient_is_that_of_another_loss_it_is_told() -> None:
    """Nobody knows which is meant."""
    done = of("WithoutSlopeAtTheOutput")
    assert "If it means the squared error, σ' is missing." in done.output


@pytest.mark.slow
def test_one_that_is_right_of_one_example_alone_is_told() -> None:
    """Its ∂L/∂W of a batch is a sum: a book's network is like that, and right."""
    done = wire(FOLDER / "../../../examples/network.py:Network")
    assert done.exit_code == 0, done.output
    assert "note: it is judged of one example at a time" in done.output


@pytest.mark.parametrize("name", ["class.py", "my net.py"])
def test_a_file_that_cannot_be_imported_is_told(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_text(FOREIGN, "utf-8")
    done = wire(f"{path}:Own")
    assert done.exit_code == 2
    assert "cannot be imported by that name" in done.output


@pytest.mark.slow
def test_one_that_goes_up_the_gradient_deviates(foreign: Path) -> None:
    """Its rate is not taken for a negative one."""
    done = wire(f"{foreign}:Up")
    assert done.exit_code == 1, done.output
    assert "it goes up the gradient" in done.output


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("Nothing", "nothing that it returned or kept is shaped like its W"),
        ("Raises", "Raises(p.sizes) raised OSError: no disk"),
        ("odd", "keeps no weights of the widths 4-5-3"),
    ],
)
def test_what_fits_nothing_is_told_with_how_far_it_came(foreign: Path, name: str, why: str) -> None:
    done = wire(f"{foreign}:{name}")
    assert done.exit_code == 2
    assert "fits no convention" in done.output
    assert why in done.output
    assert "\x1b" not in done.output


def test_a_file_that_is_there_is_not_replaced(tmp_path: Path) -> None:
    done = wire(FOLDER / "dicts.py:Model", "--output", __file__)
    assert done.exit_code == 2
    assert "is there already" in done.output


def test_what_does_not_exist_is_told() -> None:
    assert "there is no file" in wire("nowhere.py:Network").output
    assert "has no 'Mdoel'. Did you mean 'Model'?" in wire(f"{FOLDER}/dicts.py:Mdoel").output


# --- the search alone, in this process --------------------------------------------------------------

LINES = {
    **{network: parts[0] for network, parts in FOUND.items()},
    **{f"variants.py:{name}": RIGHT[name] for name in RIGHT if name != "Momentum"},
}


@pytest.mark.parametrize("network", LINES)
def test_the_lines_that_are_found(network: str) -> None:
    name = network.rpartition(":")[2]
    with np.errstate(all="ignore"):
        found = Searched(load(f"{FOLDER}/{network}"), name).best()
    assert LINES[network] in "\n".join(written(found, name))


def test_what_is_written_runs_and_conforms(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(FOLDER)
    with np.errstate(all="ignore"):
        found = Searched(load(f"{FOLDER}/dicts.py:Model"), "Model").best()
    glue = tmp_path / "glue.py"
    lines = [*imported(f"{FOLDER}/dicts.py", "Model"), *written(found, "Model")]
    glue.write_text("\n".join(lines), "utf-8")
    words = ["--network", "4-3-2-1: relu, relu, sigmoid + binary_cross_entropy", "--jobs", "0"]
    done = CliRunner().invoke(main, ["run", *words, "--implementation", f"{glue}:Wired"])
    assert done.exit_code == 0, done.output


SILENT = [n for n in NEITHER if n != "Asks"]  # pytest has standard input


@pytest.mark.parametrize("name", fast(SILENT, "ByThree"))
def test_the_search_says_why_nothing_fits(name: str) -> None:
    with np.errstate(all="ignore"), pytest.raises(RefusedError) as e:
        written(Searched(load(f"{FOLDER}/variants.py:{name}"), name).best(), name)
    assert NEITHER[name] in str(e.value)


def test_what_is_found_is_judged() -> None:
    found = judged({"network": f"{FOLDER}/variants.py:BiasNotSummed"})
    assert found["summary"]["exit_code"] == 1
    assert found["lines"][0] == "from variants import BiasNotSummed"
