"""Names that an export may not have: a type and files are called so, in C and in C++.

Layer: export. Invariant: what is accepted can be the name of a type in every header that is written.

Source: the keywords of ISO C17 and C++20; stdio.h, stdlib.h and string.h of C17 and POSIX, as glibc has them.
"""

from __future__ import annotations

from loom.core.errors import ArgumentError

__all__ = ["TAKEN", "is_taken", "require_identifier"]

_KEYWORDS = """
alignas alignof and and_eq asm auto bitand bitor bool break case catch char char8_t char16_t char32_t class co_await
co_return co_yield compl concept const const_cast consteval constexpr constinit continue decltype default delete do
double dynamic_cast else enum explicit export extern false float for friend goto if inline int long mutable namespace
new noexcept not not_eq nullptr operator or or_eq private protected public register reinterpret_cast requires restrict
return short signed sizeof static static_assert static_cast struct switch template this thread_local throw true try
typedef typeid typename union unsigned using virtual void volatile wchar_t while xor xor_eq
"""
_OTHERS = """
main std NULL size_t int8_t int16_t int32_t int64_t uint8_t uint16_t uint32_t uint64_t loom_json
"""
"""What the headers, the example and the file beside them call something."""
TAKEN = frozenset((_KEYWORDS + _OTHERS).split())
_OF_LIBRARY = """
a64l abort abs aligned_alloc alloca arc4random at_quick_exit atexit atof atoi atol atoll bcmp bcopy bsearch bzero calloc
clearenv clearerr clock_t clockid_t ctermid dev_t div div_t dprintf drand48 ecvt erand48 exit fclose fcvt fdopen feof
ferror fflush ffs fgetc fgetpos fgets fileno flockfile fmemopen fopen fpos_t fprintf fputc fputs fread free freopen
fscanf fseek fseeko fsetpos ftell ftello ftrylockfile funlockfile fwrite gcvt getc getchar getdelim getenv getline
getloadavg getsubopt getw gid_t id_t index initstate ino_t intmax_t intptr_t jrand48 key_t l64a labs lcong48 ldiv ldiv_t
llabs lldiv lldiv_t locale_t lrand48 malloc max_align_t mblen mbstowcs mbtowc memccpy memchr memcmp memcpy memmove
memset mkdtemp mkstemp mktemp mode_t mrand48 nlink_t nrand48 off_t on_exit open_memstream pclose perror pid_t popen
posix_memalign printf pselect ptrdiff_t putc putchar putenv puts putw qsort quick_exit rand random realloc reallocarray
realpath remove rename renameat rewind rindex rpmatch scanf seed48 select setbuf setbuffer setenv setlinebuf setstate
setvbuf sigset_t snprintf sprintf srand srand48 srandom sscanf ssize_t stderr stdin stdout stpcpy stpncpy strcasecmp
strcat strchr strcmp strcoll strcpy strcspn strdup strerror strlen strncasecmp strncat strncmp strncpy strndup strnlen
strpbrk strrchr strsep strsignal strspn strstr strtod strtof strtok strtol strtold strtoll strtoul strtoull strxfrm
system tempnam time_t timer_t tmpfile tmpnam uid_t uint uintmax_t uintptr_t ulong ungetc unsetenv ushort va_list valloc
vdprintf vfprintf vfscanf vprintf vscanf vsnprintf vsprintf vsscanf wcstombs wctomb
"""
"""What headers of the library call something: no type of an export's header can be called so beside them."""
_LIBRARY = frozenset(_OF_LIBRARY.split())


def is_taken(name: str) -> bool:
    """Tell whether C or C++, its library, or a file of the export, has a name already."""
    return name in TAKEN or name in _LIBRARY


def require_identifier(name: str, *, is_type: bool = True) -> None:
    """ArgumentError for a name that C functions cannot begin with, or that a type cannot have where there is one."""
    if is_type and name in _LIBRARY:
        remedy = f"Choose another name, such as net_{name}"
        what = "the library of C has this name for itself"
        raise ArgumentError("loom.export, name", what, expected="another name", got=name, remedy=remedy)
    if not (name.isascii() and name.isidentifier()) or name in TAKEN:
        raise ArgumentError("loom.export, name", "functions cannot be called so",
                            expected="letters, digits and _, no word of C or C++",
                            got=repr(name), remedy="Choose another name")  # fmt: skip
