"""What is kept of a run that is merged."""

import json

from deconvbench.records.origin import keep_facts, strip_names


def test_hosts_users_and_folders_are_left_out() -> None:
    info = {
        "environment": {
            "node": "alices-laptop",
            "cpu": "AMD EPYC (2/4)",
            "variables": {"LD_PRELOAD": "/home/alice/lib/libjemalloc.so:/usr/lib/x.so"},
        },
        "command": ["deconvbench", "run", "--upsampler", r"C:\Users\alice\mine.py:make", "--out=~/bench/one"],
        "unknown": "alice",
    }
    kept = keep_facts(info)
    assert "alice" not in json.dumps(kept)
    assert kept["environment"] == {"cpu": "AMD EPYC (2/4)", "variables": {"LD_PRELOAD": "libjemalloc.so:x.so"}}
    assert kept["command"] == ["deconvbench", "run", "--upsampler", "mine.py:make", "--out=one"]
    assert strip_names(["2.13.0+cpu", 5, None]) == ["2.13.0+cpu", 5, None]
