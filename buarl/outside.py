"""Code of your own, from outside the package: a method, a network or a rule in your own file.

A row of data stores a name, `my_method.py:MyMethod` or `package.module:MyMethod`, never code. A
name alone is never imported, because a run folder may come from anyone. Whoever loads the run says
where the code lies: `--code FOLDER/my_method.py:MyMethod`, or `code=[MyMethod]` in Python.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
import sysconfig
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from types import ModuleType
from typing import Any

Code = Sequence[Callable[..., Any] | str]
"""What a caller allows: classes and functions, or where they lie, as `load_code` takes it."""
_ROOTS: list[Path] = []
"""Folders and files from which `load_code` has imported; their lines are a person's own."""


def load_code(place: str) -> Callable[..., Any]:
    """Import the class or function that a person named.

    Args:
        place: "FOLDER/file.py:NAME" or "package.module:NAME". What the file imports is searched in
            its own folder first, what a module imports in the working folder, as Python does.
    Returns:
        The class or function; the same object for the same file, unless the file has changed.
    Raises:
        ValueError: no such file, module or name, or an error while importing it; the message says
            which error, in which file and line.

    >>> load_code("fractions:Fraction")(1, 3)
    Fraction(1, 3)
    """
    where, name = _parts(place)
    module = _from_file(Path(where)) if where.endswith(".py") else _from_package(where)
    if (root := _root(module)) not in _ROOTS:
        _ROOTS.append(root)
    if not callable(found := getattr(module, name, None)):
        theirs = [key for key, value in vars(module).items() if _is_defined_in(value, module)]
        raise ValueError(f"{place}: {where} has no class or function {name!r}; it has {theirs}")
    return found


def own_line(error: BaseException) -> traceback.FrameSummary | None:
    """The innermost line of code from outside that an error passed through, if it did.

    Args:
        error: What was raised, by that code or by what it called.
    Returns:
        File, line number and function, of code that `load_code` has imported and of files beside
        it; None where the error arose without it.
    """
    for each in (error, error.__cause__):
        frames = traceback.extract_tb(each.__traceback__) if each is not None else []
        if own := [frame for frame in frames if _is_own(Path(frame.filename))]:
            return own[-1]
    return None


def code_name(code: Callable[..., Any] | str) -> str:
    """The name under which a row stores a class or function, or a place without its folder.

    Args:
        code: A class, a function, or a string as `load_code` takes it.

    >>> code_name("projects/my_method.py:MyMethod")
    'my_method.py:MyMethod'
    >>> from json.decoder import JSONDecoder
    >>> code_name(JSONDecoder)
    'json.decoder:JSONDecoder'
    """
    return _names(code)[0]


def code_digests(code: Code) -> dict[str, str]:
    """What the files held that code from outside was read from; what they import is not looked at.

    Args:
        code: What a caller allows.
    Returns:
        By name the first 12 hexadecimal digits of the file's SHA-256; "unknown" of what was written
        in a notebook.
    """
    found = {}
    for item in loaded(code):
        file = getattr(sys.modules.get(item.__module__), "__file__", None)
        known = file is not None and Path(file).is_file()
        digest = sha256(Path(file).read_bytes()).hexdigest()[:12] if known else "unknown"
        found[code_name(item)] = digest
    return found


def is_outside(name: object) -> bool:
    """Whether a name in a row means code from outside; names of the package have no colon.

    >>> is_outside("my_method.py:MyMethod"), is_outside("bcp")
    (True, False)
    """
    return isinstance(name, str) and ":" in name


def find_code(name: str, code: Code, what: str) -> Callable[..., Any]:
    """The class or function that a row names, among those the caller allows. Nothing else is read.

    Args:
        name: As a row stores it.
        code: What the caller allows.
        what: "method", for the message.
    Raises:
        ValueError: it is not among them; the message says what to name.

    >>> from fractions import Fraction
    >>> find_code("fractions:Fraction", [Fraction], "method")(1, 2)
    Fraction(1, 2)
    """
    allowed = loaded(code)
    require_code({what: name}, allowed)
    for item in allowed:
        if _is_named(item, name):
            return item
    raise ValueError(
        f"{what} must name code from outside, FILE.py:NAME or PACKAGE.MODULE:NAME, got "
        f"{name!r:.200}"
    )


def require_code(names: Mapping[str, object], code: Code) -> None:
    """Stop unless the caller allows everything from outside that a row names.

    Args:
        names: Names as a row stores them, by what they are; those of the package itself pass.
        code: What the caller allows.
    Raises:
        ValueError: something is not allowed; the message says everything that must be named.

    >>> require_code({"method": "bcp", "network": "my_network.py:Net"}, [])
    Traceback (most recent call last):
    ValueError: network 'my_network.py:Net' comes from outside buarl, where nothing is imported \
unless you name it: add --code FOLDER/my_network.py:Net, in Python code=[Net]; named so far: []
    """
    allowed, missing = loaded(code), {}
    for what, name in names.items():
        if is_outside(name) and not any(_is_named(item, name) for item in allowed):
            missing[what] = name
    if missing:
        who = ", ".join(f"{what} {name!r}" for what, name in missing.items())
        parts = [_parts(name) for name in dict.fromkeys(missing.values())]
        places = [f"FOLDER/{w}:{n}" if w.endswith(".py") else f"{w}:{n}" for w, n in parts]
        raise ValueError(
            f"{who} {'come' if len(missing) > 1 else 'comes'} from outside buarl, where nothing is "
            f"imported unless you name it: add {' '.join(f'--code {place}' for place in places)}, "
            f"in Python code=[{', '.join(name for _, name in parts)}]; "
            f"named so far: {[code_name(item) for item in allowed]}"
        )


def loaded(code: Code) -> list[Callable[..., Any]]:
    """What a caller allows, with every place imported."""
    found = [load_code(item) if isinstance(item, str) else item for item in code]
    for item in found:
        if not (callable(item) and hasattr(item, "__name__")):
            raise ValueError(f"code must hold classes and functions, got {item!r}")
    return found


def _parts(place: str) -> tuple[str, str]:
    where, _, name = place.rpartition(":") if isinstance(place, str) else ("", "", "")
    if not where or not name.isidentifier():
        given = " ".join(repr(place).split())
        raise ValueError(
            f"code must be named FOLDER/file.py:NAME or package.module:NAME, got {given:.200}"
        )
    return where, name


def _is_named(code: Callable[..., Any], name: str) -> bool:
    where, attribute = _parts(name)
    if name in _names(code):
        return True
    return getattr(sys.modules.get(where), attribute, None) is code  # from the parent package


def _names(code: Callable[..., Any] | str) -> list[str]:
    """The names that code has in rows, by its module and by its file; the first is written."""
    if isinstance(code, str):
        where, name = _parts(code)
        return [f"{Path(where).name if where.endswith('.py') else where}:{name}"]
    module = sys.modules.get(code.__module__)
    names = [f"{code.__module__}:{code.__name__}"]
    if file := getattr(module, "__file__", None):  # a notebook has none
        names.append(f"{Path(file).name}:{code.__name__}")
        if not module.__package__:  # a script, or a module in no package
            names.reverse()
    return names


def _root(module: ModuleType) -> Path:
    """The folder of a file or of a whole package, or a module that stands alone."""
    top = sys.modules.get(module.__name__.partition(".")[0], module)
    file = Path(getattr(top, "__file__", None) or getattr(module, "__file__", None) or ".")
    alone = file.name != "__init__.py" and "site-packages" in file.parts
    return file.resolve() if alone else file.resolve().parent


def _is_own(file: Path) -> bool:
    if file.is_relative_to(Path(__file__).parent) or _is_pythons(file):
        return False
    roots = (root for root in _ROOTS if file.is_relative_to(root))
    return any("site-packages" not in file.relative_to(root).parts for root in roots)


def _is_pythons(file: Path) -> bool:
    """Whether a file is of Python itself, which may lie in a person's own folder."""
    folders = {Path(sysconfig.get_path(name)) for name in ("stdlib", "platstdlib")}
    folders |= {folder.resolve() for folder in folders}
    below = (file.relative_to(each).parts for each in folders if file.is_relative_to(each))
    return any("site-packages" not in parts for parts in below)


def _is_defined_in(value: Any, module: ModuleType) -> bool:
    return callable(value) and getattr(value, "__module__", None) == module.__name__


def _from_file(path: Path) -> ModuleType:
    try:
        path = path.resolve(strict=True)
        content = path.read_bytes()
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        reason = getattr(error, "strerror", None) or error
        raise ValueError(f"{_printable(path)}: cannot be read ({reason})") from error
    digest = sha256(str(path).encode() + b"\n" + content).hexdigest()[:12]
    name = f"{path.stem}_{digest}"  # two files of one name, or of two contents, are two modules
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their module up there
    try:
        with _importing(str(path), path.parent):
            spec.loader.exec_module(module)
    except ValueError:
        del sys.modules[name]
        raise
    return module


def _printable(path: Path) -> str:
    return str(path) if str(path).isprintable() else ascii(str(path))


def _from_package(where: str) -> ModuleType:
    with _importing(where, Path.cwd()):
        return importlib.import_module(where)


@contextmanager
def _importing(where: str, folder: Path) -> Iterator[None]:
    """Search a folder first meanwhile; any error becomes one line with its cause."""
    sys.path.insert(0, str(folder))
    try:
        yield
    except (Exception, SystemExit) as error:
        said = error.msg if isinstance(error, SyntaxError) else error
        cause = " ".join(f"{type(error).__name__}: {said}".split())
        raise ValueError(f"{where}: importing it failed, {cause}{_line(error, where)}") from error
    finally:
        sys.path.remove(str(folder))


def _line(error: BaseException, where: str) -> str:
    """Where an import failed: the last line of the named file, else of any file of a person."""
    if isinstance(error, SyntaxError) and error.filename:
        return f" ({error.filename}, line {error.lineno})"
    frames = traceback.extract_tb(error.__traceback__)
    frames = [f for f in frames if f.filename != __file__ and "importlib" not in f.filename]
    ours = [frame for frame in frames if frame.filename == where] or frames
    return f" ({ours[-1].filename}, line {ours[-1].lineno})" if ours else ""
