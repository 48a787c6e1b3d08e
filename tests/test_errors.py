import errno

import pytest

from deconvbench import errors
from deconvbench.errors import (
    DeconvbenchError,
    FusionError,
    GridError,
    RunFolderError,
    SurroundingsError,
    UnsupportedError,
    UsageError,
    explain_os_error,
)


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        (DeconvbenchError, 1),
        (UnsupportedError, 1),
        (FusionError, 1),
        (UsageError, 2),
        (GridError, 2),
        (RunFolderError, 2),
        (SurroundingsError, 3),
    ],
)
def test_each_kind_of_error_has_its_exit_code(kind: type[DeconvbenchError], code: int) -> None:
    with pytest.raises(DeconvbenchError, match="what is wrong") as caught:
        raise kind("what is wrong")
    assert caught.value.exit_code == code


def test_every_error_of_the_module_is_in_the_one_tree() -> None:
    kinds = [value for value in vars(errors).values() if isinstance(value, type) and issubclass(value, Exception)]
    assert len(kinds) == 7
    assert all(issubclass(kind, DeconvbenchError) for kind in kinds)


@pytest.mark.parametrize(
    ("code", "explanation"),
    [
        (errno.ENOSPC, "the disk is full"),
        (errno.EDQUOT, "the disk quota is used up"),
        (errno.EROFS, "the file system is read-only"),
        (errno.EACCES, "permission denied"),
        (errno.EPERM, "permission denied"),
        (errno.EIO, "the disk reports an error"),
    ],
    ids=errno.errorcode.get,
)
def test_known_refusals_are_explained(code: int, explanation: str) -> None:
    assert explain_os_error(OSError(code, "as the system says it")) == explanation


def test_unknown_refusals_keep_the_words_of_the_system() -> None:
    assert explain_os_error(OSError(errno.EISDIR, "Is a directory", "/some/path")) == "Is a directory"
    assert explain_os_error(OSError("no number at all")) == "no number at all"
