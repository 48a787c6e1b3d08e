"""The child of `kill_trials`: answers each job at once, without torch, and starts processes as layers do."""

import json
import os
import random
import subprocess
import time
from dataclasses import replace

from deconvbench.records.record import decode_record, encode_record
from deconvbench.runner.child_process import open_channel

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
        time.sleep(chance.uniform(0, _MOST_S))
        answer(f"{token} ready {encode_record(replace(decode_record(line, 'job'), status='ok', message=''))}")


if __name__ == "__main__":
    main()
