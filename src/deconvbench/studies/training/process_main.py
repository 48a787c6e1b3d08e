"""The child process that trains one run after another.

It reads a job a line, answers with a line for each step and one for the end, and dies with its parent. Whatever a
training run raises becomes its status; only what stops every run (a full disk) is reported as such.
"""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TextIO

import torch

from deconvbench.errors import DeconvbenchError, SurroundingsError
from deconvbench.runner.child_process import die_with_parent, open_channel
from deconvbench.runner.worker_main import classify_failure
from deconvbench.studies.training.images import load_images
from deconvbench.studies.training.settings import TrainingSettings
from deconvbench.studies.training.training import THREADS, TrainingRun
from deconvbench.upsamplers import load_upsampler

Answer = Callable[[dict[str, Any]], None]


def serve(source: TextIO, answer: Answer) -> None:
    """Read jobs until `source` ends, and train each.

    Parameters
    ----------
    source : text stream
        First an object with ``parent, images, smallest, root, sources, code_version``, then a `TrainingSettings` a
        line.
    answer : callable
        Sends an object to the parent: ``{"step", "text"}`` along the way; ``{"status", "message"}`` at the end;
        ``{"stop"}`` where nothing can be trained any more.
    """
    options = json.loads(source.readline())
    die_with_parent(options["parent"])
    torch.set_num_threads(THREADS)
    try:
        for path in options["sources"]:
            load_upsampler(path)
        folder = None if options["images"] is None else Path(options["images"])
        images = load_images(folder, smallest=options["smallest"])
    except DeconvbenchError as error:
        answer({"stop": str(error)})
        return
    root = Path(options["root"])
    for line in source:
        settings = TrainingSettings(**json.loads(line))
        try:
            run = TrainingRun(settings, images, root, code_version=options["code_version"])
            result = run.run(lambda step, text: answer({"step": step, "text": text}))
            status, message = result["status"], result["message"]
        except SurroundingsError as error:
            answer({"stop": str(error)})
            return
        except Exception as error:  # noqa: BLE001 -- the boundary that keeps one run's failure from ending the others
            status, message = classify_failure(error)
        answer({"status": status, "message": message})


def main() -> None:
    """Serve the parent on standard input and output; whatever layers print goes to standard error."""
    send = open_channel()
    serve(sys.stdin, lambda content: send(json.dumps(content)))


if __name__ == "__main__":
    main()
