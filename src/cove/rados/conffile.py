"""The grammar of ceph.conf and of keyring files: sections, options, quotes, comments and continued lines.

    [client.admin]              ; a comment, also after #
    mon host = 10.0.0.1, \\
               10.0.0.2         an unquoted value goes on behind a backslash at the end of the line
    log file = "a; b.log"       quotes keep comment characters; a backslash keeps any character

Blanks, `_` and `-` in the names of options are the same. Options before the first section belong to [global].

Source: Ceph's doc/rados/configuration/ceph-conf; forms compared with what `ceph-conf --lookup` takes.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from .errors import InvalidArgument, ObjectNotFound, PermissionDenied

FILE_BYTES_MAX = 16 << 20


@dataclass(frozen=True, slots=True)
class Setting:
    """One line of a file: where it stands, the normalized name of the option, its value without quotes."""

    source: str
    line: int
    section: str
    name: str
    value: str = field(repr=False)  # it may be a key

    @property
    def place(self) -> str:
        """For messages: file, line and section."""
        return f"{self.source}, line {self.line}, [{self.section}]"


def option_name(text: str) -> str:
    """`mon host`, `mon-host` and `mon_host` are the same option."""
    return re.sub(r"[\s_-]+", "_", text.strip()).strip("_")


def shown_name(name: str) -> str:
    """An option's name for messages. A line with nothing but a key looks like an option, too, as it ends in `=`."""
    return f"option {name}" if re.fullmatch(r"[a-z0-9_]+", name) else "an option whose name is none"


def read_text(path: str | os.PathLike[str], what: str) -> str:
    """The content of a small text file. Raises ObjectNotFound, PermissionDenied, InvalidArgument: `what` it is, why."""
    try:
        with open(path, "rb") as file:
            data = file.read(FILE_BYTES_MAX + 1)
    except (FileNotFoundError, NotADirectoryError):
        raise ObjectNotFound(f"{what} {str(path)!r} does not exist; check the path") from None
    except PermissionError:
        raise PermissionDenied(
            f"{what} {str(path)!r} is not readable for this user; check its owner and mode"
        ) from None
    except (OSError, ValueError) as error:
        raise InvalidArgument(f"{what} {str(path)!r} can't be read: {error}") from None
    if len(data) > FILE_BYTES_MAX:
        raise InvalidArgument(f"{what} {str(path)!r} is larger than {FILE_BYTES_MAX} bytes; is it the right file?")
    try:
        return data.decode("utf-8").removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        raise InvalidArgument(f"{what} {str(path)!r} is no text in UTF-8 (byte {error.start})") from None


def parse_settings(text: str, source: str) -> list[Setting]:
    """All settings of a file, in order. Raises InvalidArgument, naming the line and what is wrong with it."""
    section = "global"
    found: list[Setting] = []
    for number, line in _logical_lines(text):
        content = line.strip()
        if not content or content[0] in "#;":
            continue
        if content[0] == "[":
            section = _section(content, source, number)
            continue
        name, equals, rest = content.partition("=")
        if not equals or not option_name(name):
            # The line itself is not shown: in a keyring it may be a key.
            raise InvalidArgument(f"{source}, line {number}: neither `option = value` nor a [section] nor a comment")
        name = option_name(name)
        value = _value(rest.strip(), f"{source}, line {number}, {shown_name(name)}")
        found.append(Setting(source, number, section, name, value))
    return found


def _logical_lines(text: str) -> Iterator[tuple[int, str]]:
    """Lines with what continues them, and the number of the first. Comments are not continued."""
    started, pieces = 0, list[str]()
    for number, line in enumerate(text.split("\n"), 1):
        line = line.removesuffix("\r")
        started = started or number
        trailing = len(line) - len(line.rstrip("\\"))
        if trailing % 2 and not _ends_in_comment(line[:-1]):
            pieces.append(line[:-1])
            continue
        yield started, "".join(pieces) + line
        started = 0
        pieces.clear()
    if pieces:
        yield started, "".join(pieces)


def _ends_in_comment(text: str) -> bool:
    """Whether a comment has begun in this line (none had before it, or it would not be continued).

    Quoted values are not continued, so quotes don't matter here.
    """
    return re.match(r"(?:[^#;\\]|\\.)*[#;]", text, re.DOTALL) is not None


def _section(content: str, source: str, number: int) -> str:
    match = re.fullmatch(r"\[([^\]]*)\]\s*([#;].*)?", content, re.DOTALL)
    name = match[1].strip() if match else ""
    if not name:
        raise InvalidArgument(f"{source}, line {number}: {content[:60]!r} is no section; write [name]")
    return name


def _value(text: str, place: str) -> str:
    """The value without quotes, escapes and comment."""
    quote = text[:1] if text[:1] in ("'", '"') else ""
    characters: list[str] = []
    at = len(quote)
    while at < len(text):
        character = text[at]
        if character == "\\" and at + 1 < len(text):
            at += 1
            characters.append(text[at])
        elif quote and character == quote:
            rest = text[at + 1 :].strip()
            if rest and rest[0] not in "#;":
                raise InvalidArgument(f"{place}: text follows the closing quote; quote the whole value or nothing")
            return "".join(characters).strip()
        elif not quote and character in "#;":
            break
        else:
            characters.append(character)
        at += 1
    if quote:
        raise InvalidArgument(f"{place}: the quote {quote} is not closed")
    return "".join(characters).strip()


def quoted(value: str) -> str:
    """A value in double quotes, as it is written into a file."""
    return '"' + re.sub(r'(["\\#;])', r"\\\1", value) + '"'
