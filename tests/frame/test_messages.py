"""What a person reads: characters of a terminal, tables that fit."""

import codecs
import io

import pytest
from rich.console import Console

from bnjax.frame import messages


@pytest.mark.parametrize(
    ("text", "spelled"),
    [
        ("β-smoothness ≤ 1 × 10⁻³ … ½", "beta-smoothness <= 1 x 10-3 ... 1/2"),
        ("θ − η g · Σ λ₁", "theta - eta g . sigma lamda1"),
        ("loss █▅ ▁", "loss 85 1"),
        ("naïve 中", "naive ?"),
        ("\udc80", "?"),
    ],
)
def test_an_ascii_terminal_gets_letters_that_it_has(text, spelled):
    codecs.register_error("spelled", messages.spell)
    assert text.encode("ascii", "spelled").decode() == spelled


CLAIM = {
    "identifier": "stable-variance-batch", "sentence": "A claim of some words",
    "measured": "conv2 at equal step 17.9 [5.76, 55.7]", "published": "",
    "verdict": "not supported", "reason": "too few seeds",
}  # fmt: skip


def shown(monkeypatch, width, claims):
    console = Console(file=io.StringIO(), width=width, markup=False, highlight=False)
    monkeypatch.setattr(messages, "terminal", lambda: console)
    messages.show_claims(claims)
    return console.file.getvalue()


def test_a_narrow_terminal_gets_a_paragraph_for_each_claim(monkeypatch):
    said = shown(monkeypatch, 60, [CLAIM, {**CLAIM, "published": "4.1", "reason": ""}])
    assert said.splitlines() == [
        "stable-variance-batch: not supported",
        "  A claim of some words",
        "  measured: conv2 at equal step 17.9 [5.76, 55.7]",
        "  reason: too few seeds",
        "stable-variance-batch: not supported",
        "  A claim of some words",
        "  measured: conv2 at equal step 17.9 [5.76, 55.7]",
        "  published: 4.1",
    ]  # fmt: skip


def test_a_wide_one_gets_a_table_without_empty_columns(monkeypatch):
    said = shown(monkeypatch, 140, [CLAIM])
    assert "stable-variance-batch: A claim of some words" in said
    assert "not supported: too few seeds" in said
    assert "published" not in said
    assert "published" in shown(monkeypatch, 140, [CLAIM, {**CLAIM, "published": "4.1"}])


def test_a_table_never_breaks_what_is_whole():
    columns = {"run": ["0123456789ab"], "what": ["a long text of many words " * 5]}
    console = Console(file=io.StringIO(), width=22)
    console.print(messages.table(columns, whole=("run",)))
    assert "0123456789ab" in console.file.getvalue()
    assert max(map(len, console.file.getvalue().splitlines())) <= 22
