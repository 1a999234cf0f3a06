"""Commands as a person may paste them: an argument vector written so that a shell reads the same one back.

A command that is logged with its words joined by blanks is another command: in `docker exec NODE sh -c rm -rf /x && ls`
the reader's own shell runs what stands behind `&&`, on the reader's machine.
"""

import re
import shlex
from collections.abc import Sequence

_ESCAPED = re.compile(r"['\\\x00-\x1f\x7f-\x9f\u2028\u2029]")
_NAMED = {"\n": r"\n", "\t": r"\t", "\r": r"\r", "'": r"\'", "\\": r"\\"}


def command_line(argv: Sequence[object]) -> str:
    r"""Write an argument vector as one line that a shell reads back as the same words.

    Words are quoted as POSIX shells quote (`shlex`). A word with control characters, such as a script of several lines,
    stands as `$'first\nsecond'`, which POSIX.1-2024, bash, zsh, ksh and BusyBox read: so a command is one line always.
    """
    words = [_quoted(str(word)) for word in argv]
    if words and re.match(r"\w+=", words[0]):  # as a first word a shell would take it for an assignment
        words[0] = f"'{words[0]}'"
    return " ".join(words)


def _quoted(word: str) -> str:
    if not any(ord(c) < 0x20 or 0x7F <= ord(c) <= 0x9F or c in "\u2028\u2029" for c in word):
        return shlex.quote(word)
    return f"$'{_ESCAPED.sub(lambda found: _escape(found[0]), word)}'"


def _escape(character: str) -> str:
    code = ord(character)
    if character in _NAMED:
        return _NAMED[character]
    # Three octal digits end by themselves; \x may swallow digits that follow. Beyond ASCII it is its UTF-8 bytes.
    return f"\\{code:03o}" if code < 0x80 else "".join(f"\\{byte:03o}" for byte in character.encode())
