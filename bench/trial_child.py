"""The child of `kill_trials`: answers each group at once, without torch, and starts processes as layers do."""

import json
import os
import random
import subprocess
import time
from dataclasses import replace

from deconvbench.records.record import decode_record, encode_record
from deconvbench.runner.child_process import open_channel
from deconvbench.runner.messages import PROGRESS, READY, join_lines, split_lines

_MOST_S = 0.01


def main() -> None:
    """Serve the parent."""
    source, answer = open_channel()
    token = json.loads(source.readline())["token"]
    answer(f"{token} {json.dumps({'environment': {}})}")
    chance = random.Random(os.getpid())
    for line in source:
        if chance.random() < 0.1:  # one that nothing but a keeper finds
            subprocess.Popen(["sleep", "600"], start_new_session=chance.random() < 0.5)
        jobs = [decode_record(part, "job") for part in split_lines(line)]
        for _ in jobs:
            time.sleep(chance.uniform(0, _MOST_S))
            answer(f"{token} {PROGRESS} ")
        done = [encode_record(replace(job, status="ok", message="")) for job in jobs]
        answer(f"{token} {READY} {join_lines(done)}")


if __name__ == "__main__":
    main()
