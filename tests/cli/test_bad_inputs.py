# ruff: noqa: E501 -- an input is a line
"""What goes wrong at the command line, as a list: each input, and what its one line must name.

Every input ends with exit code 2, one line on standard error, nothing on standard output and nothing written.
"""

import json
import math
import os
import shlex
from pathlib import Path
from typing import Any

import pytest

from deconvbench.__main__ import main
from deconvbench.studies.training import workflow as training_workflow
from deconvbench.studies.validation import workflow as validation_workflow
from deconvbench.workflows import commits as workflows_commits
from deconvbench.workflows import run as workflows_run
from deconvbench.workflows import selftest as workflows_selftest
from tests.cli.conftest import GRID

LONG = "x" * 5000
DEEP = "(" * 3000
# a name in UTF-8 that is none: how Python hands over bytes that are not text
NO_TEXT = "caf\udce9"

# by command: the line as a shell would split it, and what standard error must name
LINES: dict[str, list[tuple[str, str]]] = {
    "deconvbench": [
        ("bench", "No such command 'bench'"),
        ("rnu", "run"),
        ("Run", "Run"),
        ("run-", "run-"),
        ("''", "No such command ''"),
        ("--verson", "--version"),
        ("-x", "-x"),
        ("--version=1", "--version"),
        ("compare_commits", "compare-commits"),
        (LONG, "No such command"),
        (NO_TEXT, "No such command"),
        ("--preset smoke", "--preset"),
    ],
    "run": [
        (
            "run --preset quik",
            "'quik' is not one of smoke, quick, article, full, fast, selftest (did you mean 'quick'?)",
        ),
        ("run --preset ''", "--preset: '' is not one of smoke"),
        ("run --preset QUICK", "--preset: 'QUICK'"),
        ("run --preset ../smoke", "--preset: '../smoke'"),
        ("run --preset smoke.toml", "--preset: 'smoke.toml'"),
        ("run --preset --grid", "--preset: '--grid'"),
        ("run --preset", "--preset"),
        (f"run --preset {LONG}", "--preset: 'xxx"),
        ("run --preset smoke --preset quik", "--preset: 'quik'"),
        ("run --preset 'smoke '", "--preset: 'smoke '"),
        ("run --preset 'smo\nke'", r"--preset: 'smo\nke'"),
        ("run --presett smoke", "No such option: --presett"),
        ("run --grid twice.toml", "twice.toml: axes.height: 8 is given twice"),
        ("run --grid name.toml", "name.toml: axes.upsampler: 'deconv' is unknown; known are"),
        ("run --grid empty.toml", "empty.toml: no case is left"),
        ("run smoke", "smoke"),
        ("run --grid none.toml", "--grid: cannot read 'none.toml': No such file"),
        ("run --grid folder", "--grid: cannot read 'folder': Is a directory"),
        ("run --grid file/grid.toml", "Not a directory"),
        (f"run --grid {LONG}.toml", "File name too long"),
        ("run --grid 'a\0b.toml'", r"a\x00b.toml"),
        ("run --grid 'no\nne.toml'", r"no\nne.toml"),
        (f"run --grid {NO_TEXT}.toml", "caf"),
        ("run --grid", "--grid"),
        ("run --grid base.json", "base.json: not TOML"),
        ("run --preset smoke --grid zero.toml", "--preset: 'smoke' and --grid 'zero.toml' are mutually exclusive"),
        ("run --grid zero.toml --grid torn.toml", "torn.toml: not TOML"),
        ("run --set height=0", "--set height: 0 is not a whole number of at least 1"),
        ("run --set height=-1", "--set height: -1 is not"),
        ("run --set height=1.5", "--set height: '1.5' is not"),
        ("run --set height=1e3", "--set height: '1e3' is not"),
        ("run --set height=nan", "--set height: 'nan' is not"),
        ("run --set height=inf", "--set height: 'inf' is not"),
        ("run --set height=True", "--set height: 'True' is not"),
        ("run --set height=0x10", "--set height: '0x10' is not"),
        ("run --set height=1_000", "--set height: '1_000' is not"),
        ("run --set height=٨", "--set height: '٨' is not"),
        ("run --set height=8²", "--set height: '8²' is not"),
        ("run --set height=+8", "--set height: '+8' is not"),
        ("run --set height=--8", "--set height: '--8' is not"),
        ("run --set height=8,", "--set height: '' is not"),
        ("run --set height=,8", "--set height: '' is not"),
        ("run --set height=8,8", "--set height: 8 is given twice"),
        ("run --set height=8,08", "--set height: 8 is given twice"),
        ("run --set height=8;16", "--set height: '8;16' is not"),
        ("run --set 'height=8 16'", "--set height: '8 16' is not"),
        (
            "run --set height=9223372036854775808",
            "--set height: 9223372036854775808 is too large; at most 2147483647",
        ),
        (f"run --set height={'9' * 3999}", "--set height: 999"),
        (f"run --set height={'9' * 9999}", "--set height: '999"),
        ("run --set threads=0", "--set threads: 0 is not"),
        ("run --set batch=-0", "--set batch: 0 is not"),
        ("run --set hight=8", "--set hight: unknown axis; the axes are upsampler, kernel_size"),
        ("run --set heigth=8", "did you mean 'height'?"),
        ("run --set HEIGHT=8", "--set HEIGHT: unknown axis"),
        ("run --set =8", "--set"),
        ("run --set height", "--set: 'height' is not of the form AXIS=VALUE,VALUE"),
        ("run --set height=", "--set: 'height=' is not of the form"),
        ("run --set ''", "--set: '' is not of the form"),
        ("run --set height:8", "--set: 'height:8' is not of the form"),
        ("run --set 'height =8'", "--set height : unknown axis"),
        ("run --set height==8", "--set height: '=8' is not"),
        ("run --set height=8=8", "--set height: '8=8' is not"),
        ("run --set replicates=2", "--set replicates: unknown axis"),
        ("run --set", "--set"),
        ("run --set dtype=int8", "--set dtype: 'int8' is not one of float32, float64, bfloat16, float16"),
        ("run --set dtype=float", "did you mean 'float"),
        ("run --set dtype=", "--set: 'dtype='"),
        ("run --set step=training", "--set step: 'training' is not one of forward, train"),
        ("run --set execution=jit", "--set execution: 'jit'"),
        ("run --set memory_format=nhwc", "--set memory_format: 'nhwc'"),
        ("run --set upsampler=deconv", "--set upsampler: 'deconv' is unknown; known are"),
        ("run --set upsampler=nearest_cnv", "did you mean 'nearest_conv'?"),
        ("run --set upsampler=nearest-conv", "--set upsampler: 'nearest-conv' is not a name"),
        ("run --set upsampler=Transposed", "--set upsampler: 'Transposed' is not a name"),
        ("run --set upsampler=../x", "--set upsampler: '../x' is not a name"),
        ("run --set upsampler=8", "--set upsampler: '8' is not a name"),
        ("run --set kernel_size=none", "--set kernel_size: 'none' is not"),
        ("run --set kernel_size=0", "--set kernel_size: 0 is not a whole number of at least 1"),
        ("run --set device=gpu", "--set device: 'gpu' is not cpu"),
        (
            f"run --set height={','.join(map(str, range(1, 2000)))} --set width={','.join(map(str, range(1, 20000)))}",
            "combinations, before constraints; at most 4,000,000 are allowed",
        ),
        ("run --set height=1000000 --set width=1000000", "of memory"),
        ("run --preset article --set height=2000000 --set threads=1", "of memory"),
        ("run -k nothing_like_it", "-k: 'nothing_like_it' matches none of the"),
        ("run -k '('", "-k: '(' is not an expression of words"),
        ("run -k ')'", "-k: ')' is not an expression"),
        ("run -k 'nearest and'", "-k: 'nearest and' is not an expression"),
        ("run -k 'not'", "-k: 'not' is not an expression"),
        ("run -k 'a b'", "-k: 'a b' is not an expression"),
        ("run -k 'a == b'", "-k: 'a == b' is not an expression"),
        ("run -k 'f(x)'", "-k: 'f(x)' is not an expression"),
        ("run -k ' '", "-k: ' ' is not an expression"),
        ("run -k '\"a\"'", "-k: "),
        ("run -k 'a if b else c'", "-k: 'a if b else c' is not an expression"),
        ("run -k 'lambda: 0'", "-k: "),
        (f"run -k '{DEEP}'", "-k: '((("),
        (f"run -k '{'not ' * 2000}x'", "-k: 'not not"),
        (f"run -k {LONG}", "-k: 'xxx"),
        ("run -k '\nx\n('", "-k: "),
        ("run -k", "-k"),
        ("run --device gpu", "--device: 'gpu' is not cpu, cuda, mps or xpu"),
        ("run --device cpu,", "--device: '' is not cpu"),
        ("run --device ,", "--device: '' is not cpu"),
        ("run --device cpu,cpu", "--device: 'cpu' is given twice"),
        ("run --device CPU", "--device: 'CPU' is not cpu"),
        ("run --device cpu:0", "--device: 'cpu:0' is not cpu"),
        ("run --device cuda:", "--device: 'cuda:' is not cpu"),
        ("run --device cuda:x", "--device: 'cuda:x' is not cpu"),
        ("run --device cuda:-1", "--device: 'cuda:-1' is not cpu"),
        ("run --device cuda:٣", "--device: 'cuda:٣' is not cpu"),
        ("run --device cuda:99999999999999999999", "--device: 'cuda:9999"),
        ("run --device cuda:77", "cuda:77"),
        ("run --device xpu", "xpu"),
        ("run --upsampler numpy", "--upsampler: 'numpy' is not of the form pkg.mod:factory"),
        ("run --upsampler ''", "--upsampler: '' is not of the form"),
        ("run --upsampler :", "--upsampler: ':' is not of the form"),
        ("run --upsampler numpy:", "--upsampler: 'numpy:' is not of the form"),
        ("run --upsampler mine.py:build", "--upsampler: cannot import 'mine.py'"),
        ("run --upsampler ./mine:build", "--upsampler: './mine:build' is not of the form"),
        ("run --upsampler no.such:thing", "--upsampler: cannot import 'no.such'"),
        ("run --upsampler numpy:thing", "--upsampler: 'numpy' has no 'thing'"),
        ("run --upsampler numpy:pi", "'pi' is float, not a function or class"),
        ("run --upsampler tests.faulty_upsamplers:not_callable", "'not_callable' is int, not a function or class"),
        (
            "run --upsampler tests.faulty_upsamplers:built_already",
            "is a ConvTranspose2d that is built already, not a",
        ),
        ("run --upsampler torn:factory", "--upsampler: cannot import 'torn': SyntaxError"),
        ("run --upsampler leaves:factory", "--upsampler: cannot import 'leaves': SystemExit"),
        ("run --upsampler raises:factory --preset smoke", "cannot import 'raises': ZeroDivisionError"),
        ("run --replicates 0", "--replicates: 0 is not a whole number of at least 1"),
        ("run --replicates -3", "--replicates: -3 is not"),
        ("run --replicates many", "'--replicates'"),
        ("run --replicates 1.5", "'--replicates'"),
        ("run --replicates nan", "'--replicates'"),
        ("run --replicates ''", "'--replicates'"),
        ("run --replicates 1e3", "'--replicates'"),
        (f"run --replicates {'9' * 30}", "--replicates: 99999"),
        (f"run --replicates {'9' * 9999}", "'--replicates'"),
        ("run --replicates 100000", "measurements ("),
        ("run --replicates", "--replicates"),
        ("run --timeout -1", "--timeout: -1.0 is not a number of seconds above 0"),
        ("run --timeout 0", "--timeout: 0.0 is not"),
        ("run --timeout nan", "--timeout: nan is not"),
        ("run --timeout inf", "--timeout: inf is not"),
        ("run --timeout -inf", "--timeout: -inf is not"),
        ("run --timeout 1e400", "--timeout: inf is not"),
        ("run --timeout 1e10", "--timeout: 10000000000.0 is too long; at most 1000000 seconds"),
        ("run --timeout 5min", "'--timeout'"),
        ("run --precision 0", "--precision: '0' is not a share"),
        ("run --precision 100%", "--precision: '100%' is not a share"),
        ("run --precision -2%", "--precision: '-2%' is not a share"),
        ("run --precision nan", "--precision: 'nan' is not a share"),
        ("run --precision two", "--precision: 'two' is not a share"),
        ("run --precision ''", "--precision: '' is not a share"),
        ("run --precision 2%%", "--precision: '2%%' is not a share"),
        ("run --precision ٢%", "--precision: '٢%' is not a share"),
        ("run --precision 1e-999", "--precision: '1e-999' is not a share"),
        ("run --seed -1", "--seed: -1 is not a whole number of at least 0"),
        (
            "run --seed 18446744073709551615",
            "--seed: 18446744073709551615 is too large; at most 9223372036854775807",
        ),
        ("run --seed x", "'--seed'"),
        ("run --seed 1.5", "'--seed'"),
        ("run --preset smoke --out file", "--out: 'file' is a file, not a folder"),
        ("run --preset smoke --out file/below", "--out: cannot make 'file/below': Not a directory"),
        (f"run --preset smoke --out {LONG}", "cannot be a path: File name too long"),
        ("run --preset smoke --out 'a\0b'", r"a\x00b"),
        ("run --resume --out none", "run folder: 'none' does not exist"),
        ("run --resume --out file", "run folder: 'file' is a file, not a folder"),
        ("run --resume --out folder", "run folder: 'folder' has no run.json"),
        (f"run --resume --out {LONG}", "cannot be a path: File name too long"),
        ("run --resume", "results/runs"),
        ("run --resume-anyway", "results/runs"),
        (
            "run --resume --preset smoke --out folder",
            "--resume: takes grid, seed and settings from the run folder",
        ),
        ("run --resume --seed 1 --out folder", "--resume: takes grid, seed and settings"),
        ("run --resume --set height=8", "--resume: takes grid, seed and settings"),
        ("run --resume=yes", "--resume"),
        ("run --json", "--json"),
    ],
    "grid": [
        ("grid --grid torn.toml", "torn.toml: not TOML"),
        ("grid --grid axis.toml", "axis.toml: axes.hight: unknown axis; the axes are upsampler, kernel_size"),
        ("grid --grid zero.toml", "zero.toml: axes.height: 0 is not a whole number of at least 1"),
        ("grid --preset article --set height=512,1024 -k nothing_like_it", "matches none of the"),
        ("grid -k '('", "-k: '(' is not an expression of words"),
        ("grid --upsampler torn:factory", "--upsampler: cannot import 'torn': SyntaxError: "),
        ("grid --set", "--set"),
        ("grid --preset nosuch", "--preset: 'nosuch' is not one of"),
        (
            "grid --upsamplers --upsampler raises:factory",
            "cannot import 'raises': ZeroDivisionError: division by zero (",
        ),
        ("grid --upsamplers --upsampler no.such:thing", "--upsampler: cannot import 'no.such'"),
        ("grid --timeout 3", "--timeout"),
        ("grid --out x", "--out"),
        ("grid --json=1", "--json"),
        ("grid --preset article --set height=512 -k nothing", "-k: 'nothing' matches none"),
        ("grid --replicates 1000000000000", "--replicates: 1000000000000 is too large; at most 100000"),
        ("grid --set width=0", "--set width: 0 is not"),
        ("grid folder", "folder"),
    ],
    "report": [
        ("report none", "run folder: 'none' does not exist"),
        ("report file", "run folder: 'file' is a file, not a folder"),
        ("report base.json", "run folder: 'base.json' is a file, not a folder"),
        ("report folder", "run folder: 'folder' has no run.json"),
        ("report gone", "run folder: 'gone'"),
        ("report file/below", "run folder: 'file/below' does not exist"),
        (f"report {LONG}", "cannot be a path: File name too long"),
        ("report 'a\0b'", r"a\x00b"),
        ("report 'no\nne'", r"'no\nne' does not exist"),
        (f"report {NO_TEXT}", "does not exist"),
        ("report", "results/runs"),
        ("report a b --out x.html", "--out: 'x.html' is one file, for 2 runs"),
        ("report folder none", "folder"),
        ("report folder --quality blur", "--quality: 'blur' is not one of"),
        ("report folder --quality ''", "--quality: '' is not one of"),
        ("report folder --quality phase_riple", "did you mean 'phase_ripple'?"),
        ("report folder --quality phase_ripple,", "--quality: '' is not one of"),
        ("report folder --results nowhere", "results: 'nowhere' is not a folder"),
        ("report folder --results file", "results: 'file' is not a folder"),
        (f"report folder --results {LONG}", "cannot be a path: File name too long"),
        ("report folder --results folder", "'folder' holds no results of deconvbench train"),
        ("report folder --json", "--json"),
        ("report --out", "--out"),
    ],
    "compare": [
        ("compare", "Missing argument 'BASE'"),
        ("compare base.json", "Missing argument 'NEW'"),
        ("compare base.json slow.json two.json", "two.json"),
        ("compare base.json none", "run folder: 'none' does not exist"),
        ("compare none base.json", "run folder: 'none' does not exist"),
        ("compare folder base.json", "run folder: 'folder' has no journal.jsonl"),
        ("compare base.json file", "'file' is neither a run folder nor what pytest-benchmark saves of our bench"),
        ("compare base.json other.json", "'other.json' is neither a run folder nor what pytest-benchmark saves"),
        ("compare base.json torn.toml", "'torn.toml' is neither"),
        (
            "compare base.json two.json",
            "two.json: nearest_conv-k3-s2-c4x2-8x8 has 2 replicates; a comparison needs",
        ),
        ("compare base.json elsewhere.json", "machines differ: base.json is from here, elsewhere.json from there"),
        ("compare base.json no_case.json", "base.json and no_case.json have no measured case in common"),
        ("compare base.json gone", "'gone'"),
        (f"compare base.json {LONG}", "'xxx"),
        ("compare base.json 'a\0b'", r"a\x00b"),
        (f"compare base.json {NO_TEXT}", "does not exist"),
        ("compare base.json slow.json --margin 120%", "--margin: '120%' is not a share between 0 and 1"),
        ("compare base.json slow.json --margin 100%", "--margin: '100%' is not a share"),
        ("compare base.json slow.json --margin -5%", "--margin: '-5%' is not a share"),
        ("compare base.json slow.json --margin nan", "--margin: 'nan' is not a share"),
        ("compare base.json slow.json --margin inf", "--margin: 'inf' is not a share"),
        ("compare base.json slow.json --margin ''", "--margin: '' is not a share"),
        ("compare base.json slow.json --margin five", "--margin: 'five' is not a share"),
        ("compare base.json slow.json --margin 5,5%", "--margin: '5,5%' is not a share"),
        ("compare base.json slow.json --margin '٥%'", "--margin: '٥%' is not a share"),
        ("compare base.json slow.json --margin", "--margin"),
        ("compare base.json slow.json --htlm x.html", "--html"),
        ("compare base.json slow.json --level 0.9", "--level"),
    ],
    "compare-commits": [
        ("compare-commits", "Missing argument 'BASE'"),
        ("compare-commits no-such", "is not a git checkout"),
        ("compare-commits ''", "is not a git checkout"),
        ("compare-commits HEAD", "is not a git checkout"),
        ("compare-commits -- --help", "is not a git checkout"),
        (f"compare-commits {LONG}", "is not a git checkout"),
        ("compare-commits 'a\0b'", r"a\x00b"),
        ("compare-commits HEAD --margin much", "--margin: 'much' is not a share"),
        ("compare-commits HEAD --preset no", "--preset: 'no' is not one of"),
        ("compare-commits HEAD --replicates 0", "--replicates: 0 is not"),
        ("compare-commits HEAD --replicates x", "'--replicates'"),
        ("compare-commits HEAD -k nothing_like_it", "-k: 'nothing_like_it' matches none"),
        ("compare-commits HEAD --set height=x", "--set height: 'x' is not"),
        ("compare-commits HEAD HEAD HEAD", "HEAD"),
        ("compare-commits HEAD --grid g.toml", "--grid"),
    ],
    "claims": [
        ("claims none", "run folder: 'none' does not exist"),
        ("claims file", "run folder: 'file' is a file, not a folder"),
        ("claims folder", "run folder: 'folder' has no journal.jsonl"),
        ("claims --results none", "results: 'none' is not a folder"),
        ("claims --results file", "results: 'file' is not a folder"),
        ("claims --results folder", "results: 'folder' holds no results of deconvbench train"),
        ("claims --result folder", "--result"),
        ("claims folder folder", "folder"),
        (f"claims {LONG}", "cannot be a path: File name too long"),
        ("claims 'a\0b'", r"a\x00b"),
        ("claims --out", "--out"),
    ],
    "train": [
        ("train --upsampler deconv", "upsampler: 'deconv' is unknown"),
        ("train --upsampler subpixl", "did you mean 'subpixel'?"),
        ("train --upsampler ''", "upsampler: '' is unknown"),
        ("train --upsampler transposed-k1", "--upsampler: 'transposed-k1'"),
        ("train --upsampler transposed-k", "--upsampler: 'transposed-k' is not NAME-kN"),
        ("train --upsampler transposed-kx", "--upsampler: 'transposed-kx' is not NAME-kN"),
        ("train --upsampler transposed-k-3", "--upsampler: 'transposed-k-3' is not NAME-kN"),
        ("train --upsampler transposed-k٣", "--upsampler: 'transposed-k٣' is not NAME-kN"),
        (f"train --upsampler transposed-k{'9' * 5000}", "--upsampler: 'transposed-k999"),
        ("train --upsampler dysample-k3", "it has no kernel"),
        ("train --upsampler nearest_conv,subpixel", "upsampler: 'nearest_conv,subpixel' is unknown"),
        ("train --task style", "task: 'style' is not one of reconstruction, super-resolution"),
        ("train --task superresolution", "did you mean 'super-resolution'?"),
        ("train --task ''", "task: '' is not one of"),
        ("train --task reconstruction,", "task: '' is not one of"),
        ("train --norm batch", "norm: 'batch' is not one of instance, none"),
        ("train --norm None", "norm: 'None'"),
        ("train --norm ''", "norm: ''"),
        ("train --seeds 0", "--seeds: 0 is not"),
        ("train --seeds -1", "--seeds: -1 is not"),
        ("train --seeds 1000000000000", "--seeds: 1000000000000 is too large; at most 10000"),
        ("train --seeds x", "'--seeds'"),
        ("train --jobs 0", "--jobs: 0 is not"),
        ("train --jobs -4", "--jobs: -4 is not"),
        ("train --jobs all", "'--jobs'"),
        ("train --steps 0", "steps: 0 is not"),
        ("train --steps -5", "steps: -5 is not"),
        ("train --steps x", "'--steps'"),
        ("train --steps 1e3", "'--steps'"),
        ("train --steps 99999999999999999999", "steps: 99999999999999999999 is too large"),
        ("train --batch 0", "batch: 0 is not"),
        ("train --batch 10000000", "batch: 10000000 is too large"),
        ("train --width 0", "width: 0 is not"),
        ("train --width 1000000", "width: 1000000 is too large"),
        ("train --crop-size 0", "crop_size: 0 is not"),
        ("train --crop-size 15", "crop_size: 15 is not"),
        ("train --crop-size 30", "crop_size: 30 is not a multiple of 4"),
        ("train --crop-size 4096", "crop_size: no image has 4096×4096 pixels"),
        ("train --crop-size 1000000000000", "crop_size: 1000000000000 is too large"),
        ("train --device cuda:77", "device: 'cuda:77' is not on this machine"),
        ("train --device gpu", "device: 'gpu' is not cpu"),
        ("train --device cpu,cuda", "device: 'cpu,cuda' is not cpu"),
        ("train --device ''", "device: '' is not cpu"),
        ("train --article --device cuda:77", "device: 'cuda:77' is not on this machine"),
        ("train --images missing", "images: missing is not a folder"),
        ("train --images file", "images: file is not a folder"),
        ("train --images folder", "images: folder has 0 readable images"),
        ("train --images gone", "images: gone is not a folder"),
        (f"train --images {LONG}", "cannot be a path: File name too long"),
        ("train --images 'a\0b'", r"a\x00b"),
        ("train --out new --crop-size 4096", "crop_size: no image"),
        ("train --imges folder", "--images"),
        ("train transposed", "transposed"),
    ],
    "validate": [
        ("validate --seeds 0", "seeds: 0 is not a whole number of at least 1"),
        ("validate --seeds -1", "seeds: -1 is not"),
        ("validate --seeds 1000000000000", "seeds: 1000000000000 is too large"),
        ("validate --seeds x", "'--seeds'"),
        ("validate --seeds 1.5", "'--seeds'"),
        ("validate --out file", "--out: 'file' is a file, not a folder"),
        ("validate --out 'a\0b'", r"a\x00b"),
        ("validate folder", "folder"),
        ("validate --out", "--out"),
    ],
    "selftest": [
        ("selftest --replicates 2", "--replicates: 2 is too few to compare; at least 3"),
        ("selftest --replicates 0", "--replicates: 0 is not"),
        ("selftest --replicates x", "'--replicates'"),
        ("selftest --slowdown 0", "--slowdown: '0' is not a share between 0 and 1"),
        ("selftest --slowdown 100%", "--slowdown: '100%' is not a share"),
        ("selftest --slowdown -1%", "--slowdown: '-1%' is not a share"),
        ("selftest --slowdown nan", "--slowdown: 'nan' is not a share"),
        ("selftest --preset quik", "--preset: 'quik' is not one of"),
        ("selftest -k nothing_like_it", "-k: 'nothing_like_it' matches none of the"),
        ("selftest --set device=cuda", "--set device: 'cuda' cannot be made slower by a busy loop"),
        ("selftest --set upsampler=deconv", "--set upsampler: 'deconv' is unknown"),
        ("selftest --conditions cosy", "--conditions: 'cosy' is not one of"),
        ("selftest --out file", "--out: 'file' is a file, not a folder"),
        ("selftest --grid g.toml", "--grid"),
        ("selftest extra", "extra"),
    ],
    "native and env": [
        ("native now", "now"),
        ("native --force", "--force"),
        ("env all", "all"),
        ("env --json", "--json"),
    ],
}

# grid files, and what the line must name beside the file
GRID_FILES: list[tuple[str | bytes, str]] = [
    ("", "axes.upsampler: missing"),
    ("[axes", "not TOML"),
    ("axes", "not TOML"),
    ("axes = 3", "axes: 3 is not a table of axes"),
    ("axes = []", "axes: [] is not a table of axes"),
    ("[[axes]]\nheight = 3", "axes: [{'height': 3}] is not a table"),
    (b"\x00\x01\x02\x7fELF", "not TOML"),
    (b"\xff\xfe[\x00a\x00", "cannot read"),
    (b"\x89PNG\r\n\x1a\n", "cannot read"),
    ("a = " + "9" * 9999, "not TOML"),
    ("a = " + "[" * 9999, "not TOML"),
    ("a = 1\na = 2", "not TOML"),
    (GRID + "hight = [8]", "axes.hight: unknown axis"),
    (GRID + "height = [0]", "axes.height: 0 is not a whole number of at least 1"),
    (GRID + "height = [8, 8]", "axes.height: 8 is given twice"),
    (GRID + "height = []", "axes.height: an axis needs at least one value"),
    (GRID + "height = [[8]]", "axes.height: [8] is not"),
    (GRID + "height = {min = 8}", "axes.height: {'min': 8} is not"),
    (GRID + "height = [true]", "axes.height: True is not"),
    (GRID + "height = [8.0]", "axes.height: 8.0 is not"),
    (GRID + "height = [nan]", "axes.height: nan is not"),
    (GRID + "height = [inf]", "axes.height: inf is not"),
    (GRID + "height = ['8']", "axes.height: '8' is not"),
    (GRID + "height = [2026-11-28]", "axes.height: datetime.date"),
    (GRID + "height = [4294967296]", "axes.height: 4294967296 is too large; at most 2147483647 is allowed"),
    (GRID + "height = [0x" + "f" * 9999 + "]", "axes.height: int of 39996 bits is too large"),
    (GRID + "height = [8]\ndtype = [[]]", "axes.dtype: [] is not one of float32"),
    (GRID + "height = [8]\nupsampler = ['x']", "not TOML"),
    (GRID.replace("subpixel", "deconv") + "height = [8]", "axes.upsampler: 'deconv' is unknown; known are"),
    (GRID.replace("'subpixel'", "3") + "height = [8]", "axes.upsampler: 3 is not a name"),
    (GRID.replace("kernel_size = [3]\n", "") + "height = [8]", "axes.kernel_size: missing; subpixel has a kernel"),
    (GRID.replace("scale_factor = [2]\n", "") + "height = [8]", "axes.scale_factor: missing"),
    (GRID + f"height = {[*range(1, 3001)]}\nwidth = {[*range(1, 3001)]}", "9,000,000 combinations"),
    (GRID + "".join(f"{axis} = {[*range(1, 1001)]}\n" for axis in ("height", "width", "batch", "threads")),
     "1,000,000,000,000 combinations"),
    ("constraints = ['height == 1']\n" + GRID
     + "".join(f"{axis} = {[*range(1, 1001)]}\n" for axis in ("height", "width", "batch", "threads")),
     "1,000,000,000,000 combinations, before constraints; at most 4,000,000 are allowed"),
    ("axis = {}\n" + GRID + "height = [8]", "axis: unknown key"),
    ("replicate = 3\n" + GRID + "height = [8]", "did you mean 'replicates'?"),
    ("name = 3\n" + GRID + "height = [8]", "name: 3 is not text"),
    ("description = ['a']\n" + GRID + "height = [8]", "description: ['a'] is not text"),
    ("replicates = 0\n" + GRID + "height = [8]", "replicates: 0 is not"),
    ("replicates = 1.0\n" + GRID + "height = [8]", "replicates: 1.0 is not"),
    ("replicates = true\n" + GRID + "height = [8]", "replicates: True is not"),
    ("replicates = 1000000000000\n" + GRID + "height = [8]", "replicates: 1000000000000 is too large"),
    ("timeout_s = 0\n" + GRID + "height = [8]", "timeout_s: 0 is not a number of seconds above 0"),
    ("timeout_s = nan\n" + GRID + "height = [8]", "timeout_s: nan is not"),
    ("timeout_s = inf\n" + GRID + "height = [8]", "timeout_s: inf is not"),
    ("timeout_s = 1e10\n" + GRID + "height = [8]", "timeout_s: 10000000000.0 is too long"),
    ("time_cap_s = -1\n" + GRID + "height = [8]", "time_cap_s: -1 is not"),
    ("time_cap_s = '1'\n" + GRID + "height = [8]", "time_cap_s: '1' is not"),
    ("constraints = 'height > 1'\n" + GRID + "height = [8]", "constraints: 'height > 1' is not a list"),
    ("constraints = [3]\n" + GRID + "height = [8]", "constraints: [3] is not a list"),
    ("constraints = ['height > 9']\n" + GRID + "height = [8]", "no case is left"),
    ("constraints = ['hight > 9']\n" + GRID + "height = [8]", "did you mean 'height'?"),
    ("constraints = ['']\n" + GRID + "height = [8]", "constraints: '' is not a condition"),
    ("constraints = ['height ** 9 > 1']\n" + GRID + "height = [8]", "constraints: 'height ** 9 > 1' uses Pow"),
    ("constraints = ['height << 9 > 1']\n" + GRID + "height = [8]", "uses LShift"),
    ("""constraints = ["'a' * 99999999999 == 'b'"]\n""" + GRID + "height = [8]", "* takes a number, not text"),
    ("""constraints = ["'%9999999d' % height == 'b'"]\n""" + GRID + "height = [8]", "% takes a number, not text"),
    ("constraints = ['height in [8] * 999999999']\n" + GRID + "height = [8]", "* takes a number, not a list"),
    ("constraints = ['height % 0 == 1']\n" + GRID + "height = [8]", "constraints: 'height % 0 == 1' cannot be evaluated"),
    ("constraints = ['open(\"x\")']\n" + GRID + "height = [8]", "'open'"),
    ("constraints = ['height.real == 8']\n" + GRID + "height = [8]", "uses Attribute"),
    ("constraints = ['" + "not " * 900 + "height']\n" + GRID + "height = [8]", "nested too deeply"),
    ("constraints = ['" + "9" * 9999 + " > height']\n" + GRID + "height = [8]", "a condition has at most 4000"),
    ("constraints = [\"height == '8'\"]\n" + GRID + "height = [8]", "a number == takes a number, not text"),
    ("quality = 3\n" + GRID + "height = [8]", "quality: 3 is not a table"),
    (GRID + "height = [8]\n[quality]\nkernel_size = [3]", "quality: needs all of upsampler, kernel_size, scale_factor"),
    (GRID + "height = [8]\n[quality]\nseeds = 0", "quality.seeds: 0 is not"),
    (GRID + "height = [8]\n[quality]\nseeds = 1000000", "quality.seeds: 1000000 is too large"),
    (GRID + "height = [8]\n[quality]\nchannels = 'all'", "quality.channels: 'all' is not"),
    (GRID + "height = [8]\n[quality]\nheight = [8]", "quality.height: unknown axis"),
    ("speedup = 3\n" + GRID + "height = [8]", "speedup: 3 is not a table"),
    (GRID + "height = [8]\n[speedup]\nrivals = {upsampler = ['transposed']}", "speedup.baseline: missing"),
    (GRID + "height = [8]\n[speedup]\nbaseline = 'subpixel'", "speedup: needs twins or rivals"),
    (GRID + "height = [8]\n[speedup]\nbaseline = 'deconv'\ntwins = ['subpixel']\nkernel_size = 3", "'deconv' is unknown"),
    (GRID + "height = [8]\n[speedup]\nbaseline = ['subpixel']\ntwins = ['carafe']", "speedup.baseline: ['subpixel'] is not text"),
    (GRID + "height = [8]\n[speedup]\nbaseline = 'subpixel'\ntwins = ['carafe']\nweights = [3]", "speedup.weights: [3] is not"),
    (GRID + "height = [8]\n[speedup]\nbaseline = 'subpixel'\ntwins = ['carafe']\nbase = 1", "speedup.base: unknown key"),
]  # fmt: skip

INFO: dict[str, Any] = {
    "case_id": "nearest_conv-k3-s2-c4x2-8x8",
    "status": "ok",
    "replicate_latency_s": [1e-3] * 3,
}


def save_infos(**changes: Any) -> str:
    """What pytest-benchmark saves of one case, changed."""
    return json.dumps({"machine_info": {}, "benchmarks": [{"extra_info": {**INFO, **changes}}]})


# files in the place of what pytest-benchmark saved
SAVED_FILES: list[str | bytes] = [
    "",
    "{",
    "null",
    "3",
    "[]",
    '"benchmarks"',
    "{}",
    '{"benchmarks": 3}',
    '{"benchmarks": {}}',
    '{"benchmarks": [3], "machine_info": {}}',
    '{"benchmarks": [], "machine_info": {}}',
    '{"benchmarks": [{"extra_info": null}], "machine_info": {}}',
    b"\xff\xfe\x00",
    b"\x89PNG\r\n\x1a\n",
    "[" * 100_000,
    save_infos(case_id=3),
    save_infos(case_id="nearest_conv"),
    save_infos(case_id="nearest_conv-k٣-s2-c4x2-8x8"),
    save_infos(case_id="nearest_conv-k3-s2-c4x2-" + "9" * 9999 + "x8"),
    save_infos(replicate_latency_s="fast"),
    save_infos(replicate_latency_s=["fast"] * 3),
    save_infos(replicate_latency_s=[0.0] * 3),
    save_infos(replicate_latency_s=[-1.0] * 3),
    save_infos(replicate_latency_s=[math.nan] * 3),
    save_infos(replicate_latency_s=[math.inf] * 3),
    save_infos(replicate_latency_s=[None] * 3),
    save_infos(replicate_latency_s=[10**400] * 3),
    save_infos(peak_memory_bytes="much"),
]

# of these the reader of the file takes care

ALL_INPUTS = [
    *((line, named) for lines in LINES.values() for line, named in lines),
    *((f"grid --grid tried-{number}.toml", named) for number, (_, named) in enumerate(GRID_FILES)),
    *((f"compare base.json tried-{number}.json", f"tried-{number}.json") for number in range(len(SAVED_FILES))),
]


def test_there_are_three_hundred_and_none_twice() -> None:
    assert len({line for line, _ in ALL_INPUTS}) == len(ALL_INPUTS) >= 300


# where work would begin, that of hours included
BEGINNINGS = (
    (workflows_run, "run_plan"),
    (workflows_selftest, "measure_pairs"),
    (workflows_commits, "run_tasks"),
    (training_workflow, "TrainingPool"),
    (validation_workflow, "run_study"),
)


@pytest.fixture
def tried(here: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder `here`, with the files of the lists, a link that ends nowhere, and a module that leaves."""
    for module, name in BEGINNINGS:
        monkeypatch.setattr(module, name, lambda *_, **__: pytest.fail("it was not refused: work began"))
    for suffix, contents in (("toml", [text for text, _ in GRID_FILES]), ("json", SAVED_FILES)):
        for number, content in enumerate(contents):
            data = content.encode() if isinstance(content, str) else content
            (here / f"tried-{number}.{suffix}").write_bytes(data)
    (here / "gone").symlink_to("nowhere")
    (here / "leaves.py").write_text("raise SystemExit(0)")
    return here


def list_files(folder: Path) -> dict[str, int]:
    """All that lies in a folder, with its size; what Python compiled on the way does not count."""
    return {
        str(path.relative_to(folder)): os.lstat(path).st_size
        for path in folder.rglob("*")
        if "__pycache__" not in path.parts
    }


@pytest.mark.parametrize(
    ("line", "named"),
    [
        pytest.param(
            *(line, named),
            id=ascii(line)[1:60] + str(len(line)),
        )
        for line, named in ALL_INPUTS
    ],
)
def test_a_bad_input_is_one_line_that_names_it_and_writes_nothing(
    tried: Path, line: str, named: str, capsys: pytest.CaptureFixture[str]
) -> None:
    before = list_files(tried)
    assert main(shlex.split(line)) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("deconvbench: ")
    assert err.endswith("\n")
    assert len(err.splitlines()) == 1
    assert "Traceback" not in err
    assert named in err
    assert len(err) < 2600
    assert list_files(tried) == before
