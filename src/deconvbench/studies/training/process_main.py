"""The child process that trains one run after another, or scores it again.

It reads a job a line, answers with a line for each step and one for the end, and dies with its parent. Whatever a
training run raises becomes its status; only what stops every run (a full disk) is reported as such.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, TextIO

import torch

from deconvbench.errors import DeconvbenchError, SurroundingsError, UsageError
from deconvbench.runner.child_process import open_channel
from deconvbench.runner.process_state import read_process_state
from deconvbench.runner.worker_main import classify_failure
from deconvbench.studies.training.images import load_images
from deconvbench.studies.training.rescoring import score_again
from deconvbench.studies.training.settings import TrainingSettings
from deconvbench.studies.training.training import THREADS, TrainingRun
from deconvbench.upsamplers import load_upsampler
from deconvbench.upsamplers.sources import name_changed_sources


def serve(source: TextIO, send: Callable[[str], None]) -> None:
    """Read jobs until `source` ends, and train each.

    Parameters
    ----------
    source : text stream
        First an object with ``token, images, smallest, root, sources, digests, code_version``, and ``is_scoring``
        where runs are to be scored again instead of trained; then a `TrainingSettings` in each line.
    send : callable
        Sends a line to the parent: the token and an object. That is ``{"step", "text"}`` along the way;
        ``{"status", "message", "is_spent"}`` at the end, spent where a layer left the process changed; and
        ``{"stop"}`` where nothing can be trained any more.
    """
    options = json.loads(source.readline())
    token = options["token"]  # by which the parent knows its answers

    def answer(content: dict[str, Any]) -> None:
        send(f"{token} {json.dumps(content)}")

    torch.set_num_threads(THREADS)
    state = read_process_state()
    try:
        for path in options["sources"]:
            load_upsampler(path)
            state.settle_imports()
        if changed := name_changed_sources(options["sources"], options["digests"]):
            raise UsageError(f"--upsampler: changed since the training began: {'; '.join(changed)}")
        folder = None if options["images"] is None else Path(options["images"])
        images = load_images(folder, smallest=options["smallest"])
    except DeconvbenchError as error:
        answer({"stop": str(error)})
        return
    root = Path(options["root"])
    for line in source:
        settings = TrainingSettings(**json.loads(line))
        try:
            if options.get("is_scoring"):
                result = score_again(settings, images, root, options["code_version"])
                answer({"step": settings.steps, "text": "scored again"})
            else:
                run = TrainingRun(settings, images, root, code_version=options["code_version"])
                result = run.run(lambda step, text: answer({"step": step, "text": text}))
            status, message = result["status"], result["message"]
        except SurroundingsError as error:
            answer({"stop": str(error)})
            return
        except BaseException as error:  # noqa: BLE001 -- one run's failure must not end the others
            status, message = classify_failure(error)
        is_spent = bool(state.restore().lasting) or status == "crashed"
        answer({"status": status, "message": message, "is_spent": is_spent})


def main() -> None:
    """Serve the parent on standard input and output; whatever layers print goes to standard error."""
    serve(*open_channel())


if __name__ == "__main__":
    main()
