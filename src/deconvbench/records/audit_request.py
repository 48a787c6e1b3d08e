"""What an audit of a target is asked for: plain data, from the command to the process that runs the target."""

from dataclasses import dataclass

from deconvbench.records.inputs import InputDescription


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditRequest:
    """An audit that is to be made.

    Parameters
    ----------
    target : str
        ``pkg.mod:factory``, ``file.py:factory`` or the path of an ``.onnx`` file.
    folder : str
        From which modules are imported and paths are read; empty: the current one.
    state_dict : str
        File of the weights; empty: those that the factory leaves.
    inputs : tuple of InputDescription
        All named or none; empty: they are guessed.
    images : tuple of str
        Picture files that take the place of the photographs.
    output_range : tuple of float, or None
        Black and white in the output; None: guessed.
    device : str
        As torch names it.
    dtype : str
        To which network and inputs are converted; empty: as they are.
    threads : int or None
        Of torch on the CPU; None: as many as torch takes.
    measure_fuse : bool
        Whether what `deconvbench.fuse` would gain is timed.
    ignore : tuple of str
        Codes of findings that do not count.
    evidence : bool
        Whether what a page shows beside the numbers is kept.
    max_memory_bytes : int
        How much memory the audit may take beyond what torch itself does.
    """

    target: str
    folder: str = ""
    state_dict: str = ""
    inputs: tuple[InputDescription, ...] = ()
    images: tuple[str, ...] = ()
    output_range: tuple[float, float] | None = None
    device: str = "cpu"
    dtype: str = ""
    threads: int | None = None
    measure_fuse: bool = False
    ignore: tuple[str, ...] = ()
    evidence: bool = False
    max_memory_bytes: int = 2**62
