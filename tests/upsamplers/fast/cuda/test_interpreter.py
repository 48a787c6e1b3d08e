"""The tests of this folder, run by Triton's interpreter: it has to be on before Triton is imported."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from deconvbench.upsamplers.fast.cuda.form import has_triton

FOLDER = Path(__file__).parent
ROOT = FOLDER.parents[3]


@pytest.mark.process
@pytest.mark.slow
@pytest.mark.skipif(not has_triton(), reason="needs triton, which is not installed")
@pytest.mark.parametrize("name", ["test_form.py", "test_backward.py", "test_recorders.py", "test_launching.py"])
def test_kernels_pass_in_the_interpreter(name: str) -> None:
    words = (sys.executable, "-m", "pytest", "-q", "-rs", "-p", "no:benchmark", "-p", "no:cacheprovider")
    done = subprocess.run(
        [*words, str(FOLDER / name)],
        env={**os.environ, "TRITON_INTERPRET": "1", "CUDA_VISIBLE_DEVICES": ""},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-2000:]
    assert re.search(r"^\d+ passed in ", done.stdout, re.MULTILINE), done.stdout[-2000:]
