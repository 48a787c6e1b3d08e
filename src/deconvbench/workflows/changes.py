"""Which modules' code differs between two commits, with all that they import within the repository.

Read from the sources, without importing anything: comments, docstrings and layout do not count. What is imported
by a name that only exists at run time is not seen.
"""

import ast
import hashlib
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

Imported = tuple[str, str | None]  # a module, and a name taken from it


class SourceTree:
    """The modules of a checkout, each parsed once.

    Parameters
    ----------
    folders : sequence of Path
        In which top-level modules are looked for.
    is_counted : callable
        Says of a module's full name whether its code counts; others are as if they were not there.
    """

    def __init__(self, folders: Sequence[Path], is_counted: Callable[[str], bool] = lambda _: True) -> None:
        self._folders = folders
        self._is_counted = is_counted
        self._modules: dict[str, _Module | None] = {}

    def __contains__(self, name: str) -> bool:
        return self._find(name) is not None

    def digest_code(self, name: str) -> dict[str, str]:
        """Digest the code of a module and of all that it imports, directly or not, within this tree.

        Parameters
        ----------
        name : str
            The module's full name.

        Returns
        -------
        dict of str to str
            By module; empty where there is no such module. Of packages that are only passed through, what they do
            beside importing counts.
        """
        found: dict[str, str] = {}
        waiting: list[Imported] = [(name, None)]
        seen: set[Imported] = set()
        while waiting:
            wanted = waiting.pop()
            if wanted in seen:
                continue
            seen.add(wanted)
            for parent in _list_parents(wanted[0]):
                if (package := self._find(parent)) is not None:
                    found.setdefault(f"{parent}.__init__", package.digest_beside)
            waiting += self._follow(*wanted, found)
        return found

    def _follow(self, name: str, attribute: str | None, found: dict[str, str]) -> list[Imported]:
        """Count a module, or of a package the part that an attribute comes from, and list what that imports."""
        module = self._find(name)
        if attribute is not None and self._find(f"{name}.{attribute}") is not None:
            return [(f"{name}.{attribute}", None)]
        if module is None:
            return []
        if module.is_package and attribute is not None and attribute in module.taken:
            found.setdefault(f"{name}.__init__", module.digest_beside)
            return [module.taken[attribute]]
        found[name] = module.digest
        return module.imported

    def _find(self, name: str) -> "_Module | None":
        if name not in self._modules:
            self._modules[name] = self._read(name)
        return self._modules[name]

    def _read(self, name: str) -> "_Module | None":
        if not name or name.partition(".")[0] in sys.stdlib_module_names or not self._is_counted(name):
            return None
        for folder in self._folders:
            place = folder.joinpath(*name.split("."))
            for path in (place / "__init__.py", place.with_name(f"{place.name}.py")):
                if path.is_file():
                    return _Module(path.read_bytes(), name, is_package=path.name == "__init__.py")
        return None


class _Module:
    """What one source file says: digests of its code, and what it imports."""

    def __init__(self, source: bytes, name: str, *, is_package: bool) -> None:
        self.is_package = is_package
        self.imported: list[Imported] = []
        # names of a package that it has from another module
        self.taken: dict[str, Imported] = {}
        try:
            tree = ast.parse(source)
        except (SyntaxError, ValueError):
            self.digest = self.digest_beside = _digest(source)
            return
        _strip_docstrings(tree)
        self.digest = _digest(ast.dump(tree).encode())
        beside = [node for node in tree.body if not _only_imports(node)]
        self.digest_beside = _digest("".join(map(ast.dump, beside)).encode())
        package = name if is_package else name.rpartition(".")[0]
        for node in _walk(tree):
            if isinstance(node, ast.Import):
                self.imported += [(alias.name, None) for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                source_name = _resolve(node, package)
                for alias in node.names:
                    entry = (source_name, None if alias.name == "*" else alias.name)
                    self.imported.append(entry)
                    self.taken[alias.asname or alias.name] = entry


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]


def _list_parents(name: str) -> list[str]:
    parts = name.split(".")
    return [".".join(parts[:length]) for length in range(1, len(parts))]


def _resolve(node: ast.ImportFrom, package: str) -> str:
    """Name the module that something is imported from, also where that is said relative to a package."""
    if not node.level:
        return node.module or ""
    parts = package.split(".")
    parts = parts[: len(parts) - node.level + 1]
    return ".".join([*parts, *([node.module] if node.module else [])])


def _walk(tree: ast.AST) -> Iterator[ast.AST]:
    """Walk over all code that runs: what is there for type checkers alone does not."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            for other in node.orelse:
                yield other
                yield from _walk(other)
            continue
        yield node
        yield from _walk(node)


def _strip_docstrings(tree: ast.AST) -> None:
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and node.body:
            match node.body[0]:
                case ast.Expr(value=ast.Constant(value=str())):
                    node.body = node.body[1:]


def _only_imports(node: ast.stmt) -> bool:
    """Say whether a statement of a package only passes on names."""
    if isinstance(node, ast.Import | ast.ImportFrom):
        return True
    return isinstance(node, ast.Assign) and any(
        isinstance(target, ast.Name) and target.id == "__all__" for target in node.targets
    )


def list_differences(base: SourceTree, head: SourceTree, name: str) -> list[str]:
    """List the modules by which the code of one differs between two commits.

    Parameters
    ----------
    base, head : SourceTree
        The commits.
    name : str
        The module.

    Returns
    -------
    list of str
        Itself and those that it imports, as far as they differ or are there in one commit only.
    """
    before, after = base.digest_code(name), head.digest_code(name)
    changed = [part for part in {**before, **after} if before.get(part) != after.get(part)]
    return sorted(changed, key=lambda part: (part != name, part))
