"""The text of a data file, whatever it is packed and encoded in; what is no text is named for what it is."""

from __future__ import annotations

import gzip
import hashlib
import io
import re
import zlib
from dataclasses import dataclass
from pathlib import Path

from db.input_files import LARGEST, read_regular
from job.errors import DataError

SAVE = "save the table as CSV"
SIGNATURES = (
    (b"PK\x03\x04", "a ZIP archive", "unpack it"),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an old Excel workbook (xls)", SAVE),
    (b"PAR1", "a Parquet file", SAVE),
    (b"ARROW1", "an Arrow file", SAVE),
    (b"\x93NUMPY", "a NumPy array", SAVE),
    (b"\x89HDF", "an HDF5 file", SAVE),
    (b"SQLite format 3\0", "a SQLite database", SAVE),
    (b"%PDF", "a PDF document", SAVE),
    (b"{\\rtf", "an RTF document", SAVE),
    (b"BZh", "packed by bzip2", "unpack it"),
    (b"\xfd7zXZ", "packed by xz", "unpack it"),
    (b"\x28\xb5\x2f\xfd", "packed by zstd", "unpack it"),
)
TEXTS = (
    (r"<!doctype html|<html", "an HTML page, not the table that it shows", "download the file itself"),
    (r"<", "an XML or HTML document", SAVE),
    (r"version https://git-lfs", "a Git LFS pointer, not the file itself", "run `git lfs pull`"),
    (r"\{\s*(\"|\}|$)|\[\s*[\[{]", "JSON", SAVE),
    (r"(%[^\n]*\n\s*)*@relation\b", "an ARFF file", SAVE),
)
WORKBOOKS = ((b"xl/", "an Excel workbook"), (b"opendocument.spreadsheet", "an OpenDocument spreadsheet"))
MARKS = (
    (b"\xff\xfe\0\0", "utf-32"),
    (b"\0\0\xfe\xff", "utf-32"),
    (b"\xff\xfe", "utf-16"),
    (b"\xfe\xff", "utf-16"),
    (b"\xef\xbb\xbf", "utf-8-sig"),
)
"""byte order marks and their encodings; the longer ones first"""


@dataclass(frozen=True, slots=True, eq=False)
class Content:
    """A data file."""

    path: Path
    sha256: str
    """of the file's bytes, in hexadecimal"""
    text: bytes
    """its text as UTF-8, without a byte order mark; there are line feeds, unless it is one line"""


def sha256_of(path: Path) -> str:
    """The hash of a data file's bytes, in hexadecimal. Raises DataError if it cannot be read."""
    return hashlib.sha256(bytes_of(path)).hexdigest()


def bytes_of(path: Path) -> bytes:
    """The bytes of a data file. Raises DataError if it cannot be read, or is larger than the limit."""
    try:
        return read_regular(path)
    except FileNotFoundError:
        raise DataError(f"{path}: there is no such file") from None
    except IsADirectoryError:
        raise DataError(f"{path}: this is a directory, not a data file") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}") from None


def read_content(path: Path) -> Content:
    """The text of a file. Raises DataError, naming the file, if it is none, or too large."""
    if not str(path).isprintable():  # the store keeps the name, as UTF-8
        raise DataError(f"{str(path)!a}: the file's name is not printable UTF-8; rename it")
    raw = bytes_of(path)
    sha256 = hashlib.sha256(raw).hexdigest()
    if raw.startswith(b"\x1f\x8b"):
        raw = unpacked(path, raw)
    for signature, kind, remedy in SIGNATURES:
        if raw.startswith(signature):
            books = [name for mark, name in WORKBOOKS if signature == b"PK\x03\x04" and mark in raw]
            raise DataError(f"{path}: {f'{books[0]}; {SAVE}' if books else f'{kind}; {remedy}'}")
    if raw[257:262] == b"ustar":
        raise DataError(f"{path}: a tar archive; unpack it")
    text = decoded(path, raw)
    if not text.strip():
        raise DataError(f"{path}: the file is empty")
    start = text[:4096].decode(errors="replace").lstrip()
    for pattern, kind, remedy in TEXTS:
        if re.match(pattern, start, re.IGNORECASE):
            raise DataError(f"{path}: line 1: {kind}; {remedy}")
    return Content(path, sha256, text)


def unpacked(path: Path, raw: bytes) -> bytes:
    """What gzip has packed. Raises DataError if it is damaged, or larger than the limit."""
    try:
        text = gzip.GzipFile(fileobj=io.BytesIO(raw)).read(LARGEST + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path}: packed by gzip, and damaged: {error}") from None
    if len(text) > LARGEST:
        raise DataError(f"{path}: cannot be read: more than 1 GB once unpacked, which is the limit")
    return text


def decoded(path: Path, raw: bytes) -> bytes:
    """The text as UTF-8, without what editors add to it. Raises DataError if it is not text."""
    encoding = next((name for mark, name in MARKS if raw.startswith(mark)), None) or wide_encoding(raw)
    if encoding == "utf-8-sig":
        raw = raw[3:]
    elif encoding is not None:
        try:
            raw = raw.decode(encoding).removeprefix("\ufeff").encode()
        except UnicodeError as error:
            raise DataError(f"{path}: {encoding.upper()} text, and damaged: {error}") from None
    raw = raw.rstrip(b"\x1a")  # DOS ended files with Ctrl-Z
    if (nul := raw.find(b"\0")) >= 0:
        line = raw.count(b"\n", 0, nul) + 1
        raise DataError(f"{path}: line {line}: a binary file, not a table of numbers")
    if not raw.isascii():
        try:
            raw.decode()
        except UnicodeDecodeError as error:
            line = raw.count(b"\n", 0, error.start) + 1
            column = error.start - raw.rfind(b"\n", 0, error.start)
            raise DataError(
                f"{path}: line {line}, byte {column}: not UTF-8 text; it seems to be {seeming(raw)}: "
                "save the table as UTF-8"
            ) from None
    return raw if b"\n" in raw else raw.replace(b"\r", b"\n")


def wide_encoding(raw: bytes) -> str | None:
    """UTF-16 without a byte order mark, known by its zeros."""
    start = raw[:4096]
    for name, zeros in (("utf-16-le", start[1::2]), ("utf-16-be", start[::2])):
        if len(zeros) > 1 and 2 * zeros.count(0) > len(zeros):
            return name
    return None


def seeming(raw: bytes) -> str:
    """The encoding that other text than UTF-8 seems to have: of common Chinese characters, or Western."""
    try:
        raw.decode("gb18030")
    except UnicodeDecodeError:
        return "CP1252 or another 8-bit encoding"
    high = re.findall(rb"[\x80-\xff][\x30-\xff]", raw[:1_000_000])
    common = sum(0xA1 <= pair[0] <= 0xA3 or 0xB0 <= pair[0] <= 0xD7 for pair in high)
    return "GB18030 (GBK)" if 2 * common > len(high) else "CP1252 or another 8-bit encoding"
