"""What is recorded about machine and software.

A number without its machine is not a measurement. Everything here is read, never set; what the system does not
tell is None. torch is only asked when the record is collected, never on import.
"""

import hashlib
import os
import platform
import subprocess
import sys
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

_PACKAGES = ("deconvbench", "torch", "numpy", "scipy", "pandas", "pyarrow", "memray", "pytest-benchmark")
# what decides whether a large buffer is kept or mapped anew, which makes layers two-speed
_ALLOCATOR_VARIABLES = (
    "GLIBC_TUNABLES",
    "MALLOC_MMAP_THRESHOLD_",
    "MALLOC_TRIM_THRESHOLD_",
    "MALLOC_TOP_PAD_",
    "MALLOC_ARENA_MAX",
    "LD_PRELOAD",
)
_RELEVANT_VARIABLES = (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "KMP_AFFINITY",
    "GOMP_CPU_AFFINITY",
    "CUDA_VISIBLE_DEVICES",
    "PYTORCH_CUDA_ALLOC_CONF",
    "ONEDNN_MAX_CPU_ISA",
    *_ALLOCATOR_VARIABLES,
)

# what images of systems have in the place of the machine's id
_NOT_INSTALLED = "uninitialized"


def collect_environment() -> dict[str, Any]:
    """Record machine and software as plain data.

    Returns
    -------
    dict
        With at least `machine_id`, `torch_version` and `code_version`, the keys by which runs are compared.
        Sizes in bytes, frequencies in hertz.
    """
    import torch

    return {
        "machine_id": identify_machine(),
        "cpu": _read_cpu_model(),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "cores": os.cpu_count(),
        "usable_cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "cpu_quota_cores": _read_cpu_quota(),
        "cpu_governor": _read_text(Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")),
        "memory_bytes": _read_memory_bytes(),
        "platform": platform.platform(),
        "libc": "-".join(platform.libc_ver()),
        "python_version": platform.python_version(),
        "torch_version": torch.__version__,
        "torch_threads": torch.get_num_threads(),
        "onednn": torch.backends.mkldnn.is_available(),  # type: ignore[no-untyped-call] # torch has no types here
        "mkl": torch.backends.mkl.is_available(),  # type: ignore[no-untyped-call] # nor here
        "float32_matmul_precision": torch.get_float32_matmul_precision(),
        "code_version": identify_code(),
        "project_commit": identify_project(),
        "load_average": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
        "packages": {name: _read_package_version(name) for name in _PACKAGES},
        "variables": {name: os.environ[name] for name in _RELEVANT_VARIABLES if name in os.environ},
    }


def identify_machine() -> str:
    """Name this machine by twelve hexadecimal digits that stay the same between boots.

    Made from the id that the system was given when it was installed, the processor and the cores; without such an
    id, as in most containers, from the hardware and the system alone, so that equal machines share one. No name of
    a host or user goes into it, and nothing can be read back.
    """
    hardware = [platform.machine(), _read_cpu_model(), str(os.cpu_count())]
    system = _read_text(Path("/etc/machine-id"))
    if not system or system == _NOT_INSTALLED:
        # what the kernel keeps for itself differs by a little from boot to boot
        hardware.append(f"{round(_read_memory_bytes() / 2**30)} GiB")
        system = platform.system()
    return hashlib.sha256("|".join((system, *hardware)).encode()).hexdigest()[:12]


def identify_code() -> str:
    """Name the version of this package that is running.

    Returns
    -------
    str
        ``0.1.0`` for an installed package; ``0.1.0+g1a2b3c4`` in a git checkout; with ``.d5e6f708`` behind it, a
        hash of the sources, where they differ from that commit.
    """
    package = Path(__file__).parents[1]
    release = _read_package_version("deconvbench") or "0"
    commit = _ask_git(package, "rev-parse", "--short=7", "HEAD")
    tracked = _ask_git(package, "ls-files", "--error-unmatch", Path(__file__).relative_to(package).as_posix())
    if not commit or not tracked:
        return release
    if not _ask_git(package, "status", "--porcelain", "--", "."):
        return f"{release}+g{commit}"
    digest = hashlib.sha256()
    for source in sorted(package.rglob("*.py")):
        digest.update(source.read_bytes())
    return f"{release}+g{commit}.d{digest.hexdigest()[:7]}"


def identify_project() -> str | None:
    """Name the commit of the project in whose checkout this process runs.

    Returns
    -------
    str or None
        Twelve digits of its hash, with ``+dirty`` behind them where tracked files differ from it; None outside
        of a git checkout.
    """
    folder = Path()
    commit = _ask_git(folder, "rev-parse", "--short=12", "--verify", "--quiet", "HEAD")
    if not commit:
        return None
    is_changed = _ask_git(folder, "status", "--porcelain", "--untracked-files=no")
    return f"{commit}+dirty" if is_changed else commit


def name_differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Name what differs between two environments so that their numbers should not be mixed.

    Parameters
    ----------
    before, now : mapping
        Two results of `collect_environment`.

    Returns
    -------
    list of str
        One line for each of machine, torch, code and what sets the allocator that differs; empty where all agree.
    """
    watched = {
        "machine_id": "machine",
        "torch_version": "torch",
        "code_version": "code",
        "python_version": "python",
    }
    values = [(word, before.get(key), now.get(key)) for key, word in watched.items()]
    variables = [environment.get("variables") or {} for environment in (before, now)]
    values += [(name, *(found.get(name, "unset") for found in variables)) for name in _ALLOCATOR_VARIABLES]
    return [f"{word} was {earlier}, is {present}" for word, earlier, present in values if earlier != present]


def _ask_git(folder: Path, *arguments: str) -> str:
    try:
        answer = subprocess.run(
            ["git", "-C", str(folder), *arguments], capture_output=True, text=True, timeout=10, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return answer.stdout.strip() if answer.returncode == 0 else ""


def _read_package_version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _read_text(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8").strip()
    except OSError:
        return None


def _read_cpu_model() -> str:
    for line in (_read_text(Path("/proc/cpuinfo")) or "").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    if sys.platform == "darwin":
        answer = subprocess.run(
            ["sysctl", "-n", "machdep.cpu.brand_string"], capture_output=True, text=True, check=False
        )
        return answer.stdout.strip()
    return platform.processor() or platform.machine()


def _read_cpu_quota() -> float | None:
    """Cores that the control group allows, None where it sets no limit."""
    quota, _, period = (_read_text(Path("/sys/fs/cgroup/cpu.max")) or "max").partition(" ")
    return None if quota == "max" else int(quota) / int(period)


def _read_memory_bytes() -> int:
    import psutil

    return int(psutil.virtual_memory().total)
