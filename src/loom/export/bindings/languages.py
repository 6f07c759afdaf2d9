"""The languages that bindings are written in: their files, types, words, and where libraries go. A row each.

Layer: export. Invariant: what a language's package holds is said here and in its templates, and nowhere else.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from importlib.resources import files as resources

from loom.core.late.dataclass import dataclass

__all__ = ["LANGUAGES", "Language", "Library"]


@dataclass(frozen=True, slots=True)
class Library:
    """A library in a package: ``kind`` of the C export (``header``, ``static`` or ``shared``), and its place.

    ``shim``: a file of the package in C, which is compiled and linked with the static library instead.

    ``systems``: those it is copied for, all if there are none.
    """

    kind: str
    path: str
    systems: tuple[str, ...] = ()
    shim: str = ""


@dataclass(frozen=True, slots=True)
class Language:
    """A language: ``files`` of a package (path: template), both with Mustache's tags; ``types`` of elements by dtype.

    ``training``: files that only a network that is trained has. ``arches`` and ``systems``: what the language calls
    those of ``PLATFORMS``, the only ones it runs on; its packages ask for the machine themselves where none are named.
    """

    name: str
    files: Mapping[str, str]
    types: Mapping[str, str]
    libraries: tuple[Library, ...]
    training: frozenset[str] = frozenset()
    arches: Mapping[str, str] = field(default_factory=dict[str, str])
    systems: Mapping[str, str] = field(default_factory=dict[str, str])
    views: Mapping[str, str] = field(default_factory=dict[str, str])
    """How a buffer of bytes is seen as elements, by their type."""

    @property
    def keywords(self) -> frozenset[str]:
        """Names that nothing may have: the first paragraph of ``words.txt``."""
        return frozenset(self.text("words.txt").split("\n\n")[0].split())

    @property
    def words(self) -> frozenset[str]:
        """Names that no argument may have: keywords, and what templates use beside arguments."""
        return frozenset(self.text("words.txt").split())

    def text(self, file: str) -> str:
        """Return a file of the language's folder."""
        return resources("loom.export.bindings").joinpath(self.name, file).read_text(encoding="utf-8")


def _types(words: str) -> dict[str, str]:
    """Return types by dtype; what holds f16, bf16 and bool are u16, u16 and u8."""
    names = ("f64", "f32", "i64", "i32", "i16", "i8", "u64", "u32", "u16", "u8")
    found = dict(zip(names, words.split(), strict=True))
    return found | {"f16": found["u16"], "bf16": found["u16"], "bool": found["u8"]}


_PYTHON = Language(
    "python",
    {
        "pyproject.toml": "pyproject.toml",
        "README.md": "README.md",
        "{{name}}/__init__.py": "module.py",
        "{{name}}/py.typed": "py.typed",
        "train.py": "train.py",
        "tests/test_{{name}}.py": "test.py",
    },
    _types("float float int int int int int int int int"),
    (Library("shared", "{{name}}/native/{{target}}/{{file}}"),),
    training=frozenset({"train.py"}),
)

_RUST = Language(
    "rust",
    {
        "Cargo.toml": "Cargo.toml",
        "build.rs": "build.rs",
        "README.md": "README.md",
        "src/lib.rs": "lib.rs",
        "examples/train.rs": "train.rs",
        "tests/net.rs": "net.rs",
    },
    _types("f64 f32 i64 i32 i16 i8 u64 u32 u16 u8"),
    (
        Library("static", "native/{{target}}/lib{{name}}.a"),
        Library("static", "native/{{target}}/{{name}}.lib", ("windows",)),  # as Microsoft's linker looks for it
    ),
    training=frozenset({"examples/train.rs"}),
)

_GO = Language(
    "go",
    {
        "go.mod": "go.mod",
        "README.md": "README.md",
        "{{name}}.go": "net.go",
        "{{name}}_test.go": "net_test.go",
        "train/main.go": "train.go",
    },
    _types("float64 float32 int64 int32 int16 int8 uint64 uint32 uint16 uint8"),
    (Library("header", "{{file}}"), Library("static", "native/{{target}}/lib{{name}}.a")),
    training=frozenset({"train/main.go"}),
    arches={"x86_64": "amd64", "aarch64": "arm64", "armv7": "arm"},
    systems={"linux": "linux,!android", "windows": "windows", "macos": "darwin", "android": "android"},
)

_JAVA = Language(
    "java",
    {
        "pom.xml": "pom.xml",
        "README.md": "README.md",
        "src/main/c/{{name}}_jni.c": "jni.c",
        "src/main/java/loom/{{name}}/Net.java": "Net.java",
        "src/main/java/loom/{{name}}/NetException.java": "NetException.java",
        "src/main/java/loom/{{name}}/Train.java": "Train.java",
        "src/main/resources/loom/{{name}}/tensors.txt": "tensors",
        "src/test/java/loom/{{name}}/NetTest.java": "NetTest.java",
    },
    _types("double float long int short byte long int short byte"),
    (
        Library(
            "shared",
            "src/main/resources/loom/{{name}}/native/{{target}}/lib{{name}}_jni.{{suffix}}",
            shim="src/main/c/{{name}}_jni.c",
        ),
    ),
    training=frozenset({"src/main/java/loom/{{name}}/Train.java"}),
    views={"byte": ""} | {t: f".as{t.capitalize()}Buffer()" for t in ("double", "float", "long", "int", "short")},
)

_CSHARP = Language(
    "csharp",
    {
        "Loom.{{Name}}.csproj": "net.csproj",
        "README.md": "README.md",
        "Net.cs": "Net.cs",
        "examples/Train.cs": "Train.cs",
        "tests/NetTest.cs": "NetTest.cs",
    },
    _types("double float long int short sbyte ulong uint ushort byte"),
    (Library("shared", "runtimes/{{os}}-{{arch}}/native/{{dll}}"),),
    training=frozenset({"examples/Train.cs"}),
    arches={"x86_64": "x64", "aarch64": "arm64", "armv7": "arm"},
    systems={"linux": "linux", "windows": "win", "macos": "osx", "android": "android"},
)

LANGUAGES = {language.name: language for language in (_PYTHON, _RUST, _GO, _JAVA, _CSHARP)}
