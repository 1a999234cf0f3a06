"""Exceptions of clients that we do not know: what a probe or a store of a team's own raises about its target.

Each client library has exceptions of its own (redis.ConnectionError, httpx.ReadTimeout, grpc.RpcError), and few of
them are an OSError. Raised by a probe they say that the target gave no good answer, which is what is measured. A typo
in the probe says nothing about the target, and must not count as an outage. The line between them: exceptions that
Python raises itself for wrong code are defects; all others are the client's word about its target.
"""

from __future__ import annotations

from collections.abc import Iterator

from drills.errors import DrillError, EnvironmentFailed, Inconclusive, UsageError

_WRONG_CODE = (
    TypeError, AttributeError, NameError, LookupError, ImportError, SyntaxError, NotImplementedError, RecursionError,
    MemoryError, SystemError, ReferenceError, BufferError, StopIteration, StopAsyncIteration,
)  # fmt: skip
_OF_THE_HARNESS = (UsageError, EnvironmentFailed, Inconclusive)


def is_about_the_target(error: BaseException) -> bool:
    """Whether an exception says something about what was asked, and not about the code that asked.

    A library's subclass of KeyError is the library's word; KeyError itself is a typo, or an answer that nobody checked.
    """
    if isinstance(error, BaseExceptionGroup):
        return all(is_about_the_target(one) for one in _leaves(error))
    if isinstance(error, DrillError):
        return not isinstance(error, _OF_THE_HARNESS)
    if not isinstance(error, Exception):
        return False  # pytest.fail, sys.exit, an interrupt
    return type(error).__module__ != "builtins" or not isinstance(error, _WRONG_CODE)


def is_a_librarys(error: BaseException) -> bool:
    """Whether it is of a class of a library's own, and none of the language or of ours."""
    return isinstance(error, Exception) and type(error).__module__ != "builtins" and not isinstance(error, DrillError)


def in_words(error: BaseException) -> str:
    """Say in one line what was raised: class and message, of each one in a group."""
    return "; ".join(f"{type(one).__name__}: {' '.join(str(one).split())}".removesuffix(": ") for one in _leaves(error))


def _leaves(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for one in error.exceptions:
            yield from _leaves(one)
    else:
        yield error
