"""The notebooks run from top to bottom, as in Jupyter."""

from __future__ import annotations

import os
import re
import sys

import pytest


def test_first_steps(root, tmp_path, monkeypatch):
    for module in ("nbformat", "nbclient", "ipykernel", "matplotlib"):
        pytest.importorskip(module, reason="needs nbclient, ipykernel and matplotlib (the extra dev)")
    import nbclient
    import nbformat

    # What pip writes for the console script, of this checkout.
    script = tmp_path / "bin" / "modist-det"
    script.parent.mkdir()
    script.write_text(
        f"#!{sys.executable}\nfrom modist_det.app.cli import main\n\nraise SystemExit(main())\n"
    )
    script.chmod(0o755)
    monkeypatch.setenv("PATH", os.pathsep.join([str(script.parent), os.environ["PATH"]]))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(root), os.environ.get("PYTHONPATH", "")]))
    monkeypatch.setenv("MODIST_DET_OFFLINE", "1")
    notebook = nbformat.read(root / "docs/notebooks/first_steps.ipynb", as_version=4)
    assert not any(cell.get("outputs") for cell in notebook.cells)  # what it shows is not kept in git
    nbclient.NotebookClient(notebook, timeout=250, resources={"metadata": {"path": str(tmp_path)}}).execute()
    if out := os.environ.get("NOTEBOOK_OUT"):  # to be looked at
        nbformat.write(notebook, out)
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", ())]
    data = [output.data for output in outputs if "data" in output]
    assert sum("image/png" in each for each in data) == 1
    pages = [each["text/html"] for each in data if "text/html" in each]
    assert len(pages) == 1 and "<img" in pages[0]
    printed = "".join(output.text for output in outputs if output.output_type == "stream")
    assert (
        float(re.search(r"the best of the evaluations: val/top1 ([\d.]+)", printed)[1]) >= 0.5
    )  # chance: 1/3
    top = eval(outputs[-1].data["text/plain"])
    assert len(top) == 3 and top[0][1] >= top[1][1] >= top[2][1] > 0
