"""What the documentation shows is run."""

import doctest
import pathlib
import re

import pytest

import dia

FOLDER = pathlib.Path(__file__).parent.parent


def test_examples_of_docstrings():
    failed = attempted = 0
    for function in (dia.subtract, dia.detect, dia.forced_photometry, dia.align):
        for test in doctest.DocTestFinder().find(function, globs={"dia": dia}):
            runner = doctest.DocTestRunner()
            runner.run(test)
            failed, attempted = failed + runner.failures, attempted + runner.tries
    assert attempted > 0 and failed == 0


@pytest.mark.parametrize("page", ["TUTORIAL.md", "README.md"])
def test_blocks_of_python(page, tmp_path, monkeypatch):
    pytest.importorskip("matplotlib")
    pytest.importorskip("astropy")
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```python\n(.*?)```", (FOLDER / page).read_text("utf-8"), re.DOTALL)
    assert blocks
    names = {}
    for block in blocks:
        exec(compile(block, page, "exec"), names)
